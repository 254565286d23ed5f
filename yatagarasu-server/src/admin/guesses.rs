//! Limits how fast tokens can be guessed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Number of wrong tokens that an address may show in a [`PERIOD`].
const GUESSES_MAX: u32 = 10;

/// Time after which an address may guess again.
pub(super) const PERIOD: Duration = Duration::from_secs(60);

/// Maximum number of addresses to remember. If there are more, the oldest half is forgotten.
const ADDRESSES_MAX: usize = 1024;

/// The addresses that have shown wrong tokens.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<HashMap<IpAddr, Guessed>>);

#[derive(Debug, Clone, Copy)]
struct Guessed {
    count: u32,
    /// The time of the first of them.
    since: Instant,
}

impl Guesses {
    /// Returns `true` if the address has shown too many wrong tokens. Its next one must not be looked at.
    pub(super) fn are_too_many(&self, address: IpAddr) -> bool {
        let guesses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guesses
            .get(&address)
            .is_some_and(|guessed| guessed.count >= GUESSES_MAX && guessed.since.elapsed() < PERIOD)
    }

    /// Records a wrong token.
    pub(super) fn note(&self, address: IpAddr) {
        let mut guesses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if guesses.len() >= ADDRESSES_MAX && !guesses.contains_key(&address) {
            let mut times: Vec<_> = guesses.values().map(|guessed| guessed.since).collect();
            times.sort_unstable();
            let middle = times[times.len() / 2];
            guesses.retain(|_, guessed| guessed.since > middle);
        }
        let guessed = guesses.entry(address).or_insert(Guessed { count: 0, since: Instant::now() });
        if guessed.since.elapsed() >= PERIOD {
            *guessed = Guessed { count: 0, since: Instant::now() };
        }
        guessed.count += 1;
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
        for _ in 0..GUESSES_MAX {
            assert!(!guesses.are_too_many(one));
            guesses.note(one);
        }
        assert!(guesses.are_too_many(one) && !guesses.are_too_many(other));
        tokio::time::advance(PERIOD).await;
        assert!(!guesses.are_too_many(one));
        guesses.note(one);
        assert!(!guesses.are_too_many(one), "the count begins again");
    }

    #[tokio::test(start_paused = true)]
    async fn few_addresses_are_remembered() {
        let guesses = Guesses::default();
        for index in 0..10_000 {
            tokio::time::advance(Duration::from_millis(1)).await;
            guesses.note(IpAddr::V4(Ipv4Addr::from_bits(index)));
        }
        let remembered = guesses.0.lock().expect("not poisoned").len();
        assert!((ADDRESSES_MAX / 2..=ADDRESSES_MAX).contains(&remembered), "{remembered}");
    }
}
