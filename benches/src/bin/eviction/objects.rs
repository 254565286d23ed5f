//! The objects that are requested.

use std::iter::successors;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};
use yatagarasu_core::cache::entry::EntryKind;
use yatagarasu_core::cache::segments::SegmentsBuilder;
use yatagarasu_core::caching::freshness::{Exchange, FreshnessTerms};
use yatagarasu_core::http::response_fields::ResponseFields;
use yatagarasu_core::object::meta::Shape;
use yatagarasu_core::{CacheEntry, CacheKey, ObjectKey, ObjectMeta};

use yatagarasu_benches::random::Random;

/// Length of the shortest object, in bytes.
pub(crate) const LENGTH_MIN: usize = 1024;

/// Upper bound on the length of an object, in bytes.
pub(crate) const LENGTH_MAX: usize = 256 * 1024;

const FIELDS: [(&str, &str); 6] = [
    ("content-type", "text/css"),
    ("etag", "\"0123456789abcdef0123456789abcdef\""),
    ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("accept-ranges", "bytes"),
    ("cache-control", "max-age=3600"),
    ("x-amz-meta-colour", "green"),
];

/// An object and its key.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) key: CacheKey,
    pub(crate) object: Arc<CacheEntry>,
}

/// All objects, by their place.
#[derive(Debug)]
pub(crate) struct Objects(Vec<Named>);

impl Objects {
    /// Makes `count` objects.
    ///
    /// Objects of one length share their bytes in memory. The cache still weighs each of them by itself.
    pub(crate) fn new(count: u32) -> Self {
        let lengths: Vec<_> = lengths().map(|length| Arc::new(stored(length))).collect();
        let named = (0..count).map(|place| {
            let text = format!("some/folder/object-{place}");
            let object = Arc::clone(&lengths[drawn(&text, lengths.len())]);
            let key = ObjectKey::parse(&text).expect("letters, digits and dashes are a key");
            Named { key: CacheKey::new(key, None), object }
        });
        Self(named.collect())
    }

    /// Returns the object at `place`, which must exist.
    pub(crate) fn at(&self, place: u32) -> &Named {
        &self.0[usize::try_from(place).expect("an index has 32 bits")]
    }

    /// Returns the bytes of the first `count` objects, without the cache's bookkeeping.
    pub(crate) fn bytes(&self, count: u32) -> u64 {
        (0..count).map(|place| self.at(place).object.length()).sum()
    }
}

/// Returns all lengths. Each is longer than the previous one by the same fraction.
fn lengths() -> impl Iterator<Item = usize> {
    successors(Some(LENGTH_MIN), |length| Some(length * 46 / 45)).take_while(|&length| length <= LENGTH_MAX)
}

/// Returns the index of an object's length among `count` lengths. It depends on the key only, so that popular objects
/// are as long as others.
fn drawn(key: &str, count: usize) -> usize {
    let seed = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3) // FNV-1a
    });
    usize::try_from(Random::new(seed).bits() % count as u64).expect("less than a usize")
}

fn stored(length: usize) -> CacheEntry {
    let fields = FIELDS.into_iter();
    let headers = fields
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let mut bytes = SegmentsBuilder::new(Some(length as u64));
    bytes.push(&vec![0; length]);
    CacheEntry::new(
        ObjectMeta::new(headers).to_store(
            &[],
            SystemTime::UNIX_EPOCH,
            &Shape { fields: &ResponseFields::default(), key: "" },
        ),
        EntryKind::Full(bytes.finish()),
        Exchange::at(SystemTime::UNIX_EPOCH),
        FreshnessTerms::fresh_for(Duration::from_secs(3600)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_depend_on_nothing_but_the_key() {
        let (few, many) = (Objects::new(100), Objects::new(1_000));
        for place in 0..100 {
            assert_eq!(few.at(place).key, many.at(place).key);
            assert_eq!(few.at(place).object.length(), many.at(place).object.length());
        }
        assert_eq!(few.bytes(100), many.bytes(100));
        assert!(few.bytes(100) < many.bytes(101));
    }

    #[test]
    fn every_doubling_of_the_length_is_as_likely() {
        let objects = Objects::new(40_000);
        let mut octaves = [0; 8];
        for place in 0..40_000 {
            let length = objects.at(place).object.length();
            let octave = (1_u32..8).take_while(|&octave| length >= (LENGTH_MIN as u64) << octave).count();
            octaves[octave] += 1;
        }
        assert!(octaves.iter().all(|count| (4_500..5_500).contains(count)), "{octaves:?}");
    }

    #[test]
    fn popular_objects_are_as_long_as_others() {
        let objects = Objects::new(40_000);
        let (first, all) = (objects.bytes(4_000), objects.bytes(40_000) / 10);
        assert!(first.abs_diff(all) < all / 10, "{first} of the first, {all} of as many anywhere");
    }
}
