//! Random numbers of the model test.

use std::collections::VecDeque;

/// Pseudo-random numbers (`SplitMix64`): the same for the same seed, on every machine. Bytes may give the first ones.
#[derive(Debug, Clone)]
pub(super) struct Dice {
    state: u64,
    bytes: VecDeque<u8>,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, bytes: VecDeque::new() }
    }

    /// Returns dice that roll each pair of `bytes` as one number, then numbers of seed 0.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { state: 0, bytes: bytes.iter().copied().collect() }
    }

    /// Returns `true` if no bytes are left.
    pub(super) fn are_spent(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn roll(&mut self) -> u64 {
        if let Some(low) = self.bytes.pop_front() {
            return u64::from(u16::from_le_bytes([low, self.bytes.pop_front().unwrap_or_default()]));
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }
}
