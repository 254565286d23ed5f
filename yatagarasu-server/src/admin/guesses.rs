//! Limits how fast tokens can be guessed. The same wrong token again is no guess: a monitor with the token of yesterday must not lock
//! out the operator at the same address.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Number of different wrong tokens that an address may show in a [`PERIOD`].
const GUESSES_MAX: usize = 10;

/// Time after which an address may guess again.
pub(super) const PERIOD: Duration = Duration::from_secs(60);

/// Maximum number of addresses to remember. If there are more, the oldest half is forgotten.
const ADDRESSES_MAX: usize = 1024;

/// The addresses that have shown wrong tokens.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    addresses: Mutex<HashMap<IpAddr, Guessed>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Guessed {
    /// The hashes of the tokens, at most [`GUESSES_MAX`].
    tokens: Vec<u64>,
    /// The time of the first of them.
    since: Instant,
}

impl Guesses {
    /// Returns `true` if the address has shown too many wrong tokens. Its next one must not be looked at.
    pub(super) fn are_too_many(&self, address: IpAddr) -> bool {
        let guesses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let guessed = guesses.get(&address);
        guessed.is_some_and(|guessed| guessed.tokens.len() >= GUESSES_MAX && guessed.since.elapsed() < PERIOD)
    }

    /// Records a wrong token.
    pub(super) fn note(&self, address: IpAddr, token: &[u8]) {
        let mut guesses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if guesses.len() >= ADDRESSES_MAX && !guesses.contains_key(&address) {
            let mut times: Vec<_> = guesses.values().map(|guessed| guessed.since).collect();
            times.sort_unstable();
            let middle = times[times.len() / 2];
            guesses.retain(|_, guessed| guessed.since > middle);
        }
        let none = || Guessed { tokens: Vec::new(), since: Instant::now() };
        let guessed = guesses.entry(address).or_insert_with(none);
        if guessed.since.elapsed() >= PERIOD {
            *guessed = none();
        }
        let token = self.hasher.hash_one(token);
        if guessed.tokens.len() < GUESSES_MAX && !guessed.tokens.contains(&token) {
            guessed.tokens.push(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_guesses_ten_times_a_minute() {
        let guesses = Guesses::default();
        let [one, other] = [1, 2].map(|last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)));
        for guess in 0..GUESSES_MAX {
            assert!(!guesses.are_too_many(one));
            guesses.note(one, guess.to_string().as_bytes());
        }
        assert!(guesses.are_too_many(one) && !guesses.are_too_many(other));
        tokio::time::advance(PERIOD).await;
        assert!(!guesses.are_too_many(one));
        (0..1000).for_each(|_| guesses.note(one, b"of yesterday"));
        assert!(!guesses.are_too_many(one), "the count begins again, and it is the same token");
    }

    #[tokio::test(start_paused = true)]
    async fn few_addresses_are_remembered() {
        let guesses = Guesses::default();
        for index in 0..10_000 {
            tokio::time::advance(Duration::from_millis(1)).await;
            guesses.note(IpAddr::V4(Ipv4Addr::from_bits(index)), b"x");
        }
        let remembered = guesses.addresses.lock().expect("not poisoned").len();
        assert!((ADDRESSES_MAX / 2..=ADDRESSES_MAX).contains(&remembered), "{remembered}");
    }
}
