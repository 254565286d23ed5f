//! The objects of the source, by name. None of them is held in memory.

use super::pattern::{Cursor, PERIOD};

/// Bucket of all objects.
pub(crate) const BUCKET: &str = "bucket";

/// Number of objects under `o/`.
pub(crate) const MIXED: u64 = 2_000;

const KIB: u64 = 1024;
/// Number of objects under `small/`, and their lengths.
pub(crate) const SMALL: u32 = 60_000;
const SMALL_SHORTEST: u64 = KIB / 2;
const SMALL_LONGEST: u64 = 8 * KIB;

const MIXED_SHORTEST: u64 = 4 * KIB;
const MIXED_LONGEST: u64 = 32 * KIB;

/// An object: a number of bytes of the pattern, from some position on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Object {
    /// Length of the body in bytes.
    pub(crate) length: u64,
    phase: usize,
}

impl Object {
    /// Returns the object with this key, if there is one.
    pub(crate) fn of(key: &str) -> Option<Self> {
        let number = |text: &str| text.parse::<u64>().ok();
        let length = match key {
            "1k" => KIB,
            "10k" => 10 * KIB,
            "100k" => 100 * KIB,
            "1m" => KIB * KIB,
            "large" => KIB * KIB * KIB,
            _ => match key.split_once('/')? {
                ("o", name) => {
                    spread(number(name).filter(|&number| number < MIXED)?, MIXED_SHORTEST, MIXED_LONGEST)
                }
                ("small", name) => {
                    let small = number(name).filter(|&number| number < u64::from(SMALL))?;
                    spread(small, SMALL_SHORTEST, SMALL_LONGEST)
                }
                ("miss", name) => number(name).map(|_| 10 * KIB)?,
                _ => return None,
            },
        };
        Some(Self { length, phase: phase(key) })
    }

    /// Returns a cursor at the first byte.
    pub(crate) fn bytes(self) -> Cursor {
        Cursor::new(self.phase, self.length)
    }

    /// Returns the entity tag, quotes included.
    pub(super) fn tag(self) -> String {
        format!("\"{:08x}{:016x}\"", self.phase, self.length)
    }
}

/// Returns the length of the object with this number. Numbers spread from the shortest to the longest, and close ones
/// get distant lengths.
fn spread(number: u64, shortest: u64, longest: u64) -> u64 {
    shortest + number * 7919 % (longest - shortest + 1)
}

/// Returns the position in the pattern for a key, by FNV-1a. Nearly every key has its own.
fn phase(key: &str) -> usize {
    let hash =
        key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    usize::try_from(hash).map_or(0, |hash| hash % PERIOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, length: Option<u64>) {
        assert_eq!(Object::of(key).map(|object| object.length), length, "{key}");
    }

    #[test]
    fn names_have_lengths() {
        check("1k", Some(1024));
        check("10k", Some(10_240));
        check("100k", Some(102_400));
        check("1m", Some(1_048_576));
        check("large", Some(1 << 30));
        check("miss/0", Some(10_240));
        check("miss/123456", Some(10_240));
        check("o/0", Some(4096));
        check("o/1", Some(4096 + 7919));
        check("small/0", Some(512));
        check("small/1", Some(512 + 7919 % 7681));
        check("small/60000", None);
        check("o/2000", None);
        check("o/x", None);
        check("miss/", None);
        check("2k", None);
        check("", None);
    }

    #[test]
    fn mixed_objects_are_4_to_32_kib() {
        let lengths: Vec<_> =
            (0..MIXED).map(|number| spread(number, MIXED_SHORTEST, MIXED_LONGEST)).collect();
        assert!(lengths.iter().all(|length| (4096..=32_768).contains(length)));
        let mean = lengths.iter().sum::<u64>() / MIXED;
        assert!((17_000..20_000).contains(&mean), "{mean}");
    }

    #[test]
    fn objects_of_one_length_differ() {
        let (one, other) = (Object::of("miss/1").unwrap(), Object::of("miss/2").unwrap());
        assert_ne!(one.tag(), other.tag());
    }
}
