use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The field that carries it.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id taken over from a client.
const BYTES_MAX: usize = 128;

/// Names requests, so that a client's complaint can be found in the log.
#[derive(Debug)]
pub(super) struct RequestIds {
    /// What tells this process from others.
    process: u64,
    last: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        Self { process: RandomState::new().build_hasher().finish(), last: AtomicU64::new(0) }
    }

    /// Takes the id a client or a proxy before the gateway gave, where it is one, or makes a new one.
    pub(super) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(X_REQUEST_ID) {
            Some(given) if is_id(given.as_bytes()) => given.clone(),
            _ => self.next(),
        }
    }

    /// Makes an id that no other request of this process has, and hardly one of any other.
    fn next(&self) -> HeaderValue {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let mut id = [0; 2 * size_of::<u128>()];
        let parts = (u128::from(self.process) << 64) | u128::from(number);
        for (digit, shift) in id.iter_mut().rev().zip((0..u128::BITS).step_by(4)) {
            *digit = b"0123456789abcdef"[((parts >> shift) & 0xf) as usize];
        }
        HeaderValue::from_bytes(&id).expect("hexadecimal digits are a value")
    }
}

fn is_id(given: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    !given.is_empty() && given.len() <= BYTES_MAX && given.iter().all(plain)
}
