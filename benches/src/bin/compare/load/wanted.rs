//! Requests, ready to be sent.

use http::Uri;

use crate::source::{BUCKET, Object};

/// A request and the object it asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) request: Vec<u8>,
    /// The URL, for HTTP/2.
    pub(crate) url: Uri,
    pub(crate) object: Object,
}

impl Wanted {
    /// Makes a request for an object of the source. Panics if the source has no object with this key.
    pub(crate) fn new(key: &str) -> Self {
        let object = Object::of(key).expect("the source has what is asked for");
        let request = format!("GET /{BUCKET}/{key} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
        let url = format!("http://localhost/{BUCKET}/{key}").parse().expect("keys are plain");
        Self { request, url, object }
    }
}

/// Picks elements in a pseudo-random order: xorshift.
#[derive(Debug)]
pub(crate) struct Pick(usize);

impl Pick {
    /// Starts an order that depends on `seed`.
    pub(crate) fn new(seed: usize) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9).wrapping_add(0x7f4a_7c15))
    }

    /// Returns an element of `from`, which must not be empty.
    pub(crate) fn of<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        &from[(self.0 >> 8) % from.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picking_leaves_nothing_out() {
        let from: Vec<usize> = (0..100).collect();
        for seed in 0..64 {
            let mut pick = Pick::new(seed);
            let mut times = vec![0; from.len()];
            for _ in 0..10_000 {
                times[*pick.of(&from)] += 1;
            }
            assert!(times.iter().all(|times| (40..200).contains(times)), "{seed}: {times:?}");
        }
    }
}
