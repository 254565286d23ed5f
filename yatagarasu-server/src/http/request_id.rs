use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::metrics::Tally;

/// The field that carries it.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id taken over from a client.
const BYTES_MAX: usize = 128;

/// Hexadecimal digits of an id that is made here.
const DIGITS: usize = 2 * size_of::<u128>();

/// Names a request, so that a client's complaint can be found in the log.
#[derive(Debug, Clone)]
pub(crate) enum RequestId {
    /// By a client, or a proxy before the gateway.
    Given(HeaderValue),
    /// By the gateway. Written out only where it is read.
    Made(u128),
}

/// Names the requests of one thread.
#[derive(Debug)]
pub(super) struct RequestIds {
    /// What tells this thread from others, and this process from others.
    thread: u64,
    last: Tally,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        Self { thread: RandomState::new().build_hasher().finish(), last: Tally::default() }
    }

    /// Takes the id a client or a proxy before the gateway gave, where it is one, or makes one that no other request
    /// of this thread has, and hardly one of any other.
    pub(super) fn of(&self, headers: &HeaderMap) -> RequestId {
        match headers.get(X_REQUEST_ID) {
            Some(given) if is_id(given.as_bytes()) => RequestId::Given(given.clone()),
            _ => self.make(),
        }
    }

    /// Makes one.
    pub(super) fn make(&self) -> RequestId {
        let number = self.last.add(1);
        RequestId::Made((u128::from(self.thread) << 64) | u128::from(number))
    }
}

impl RequestId {
    /// The id as a field's value.
    pub(super) fn field(&self) -> HeaderValue {
        match self {
            Self::Given(value) => value.clone(),
            Self::Made(id) => HeaderValue::from_bytes(&digits(*id)).expect("hexadecimal digits are a value"),
        }
    }

    /// Shows the id as it is written to `look`.
    pub(super) fn written<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Given(value) => look(value.as_bytes()),
            Self::Made(id) => look(&digits(*id)),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(value) => f.write_str(value.to_str().expect("an id is printable")),
            Self::Made(id) => write!(f, "{id:0DIGITS$x}"),
        }
    }
}

fn digits(id: u128) -> [u8; DIGITS] {
    let mut digits = [0; DIGITS];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(id.to_be_bytes()) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 0xf)];
    }
    digits
}

fn is_id(given: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    !given.is_empty() && given.len() <= BYTES_MAX && given.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_and_the_log_say_the_same() {
        let ids = RequestIds::new();
        let (one, other) = (ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
        assert_ne!(one.to_string(), other.to_string());
        for id in [one, other, RequestId::Made(0x0f), RequestId::Given(HeaderValue::from_static("a-b"))] {
            assert_eq!(id.to_string(), id.field().to_str().unwrap());
        }
        assert_eq!(RequestId::Made(0xa0f).to_string(), format!("{}a0f", "0".repeat(29)));
    }
}
