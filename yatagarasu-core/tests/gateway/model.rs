use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use yatagarasu_core::testing::{MemorySource, cache_key};
use yatagarasu_core::{Purge, Selector, SourceError};

use crate::bed::{Bed, ITEM_MAX, body, settle};

/// What may happen, in any order.
#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    Change(u8, u16),
    Wait(u8),
    PurgeKey(u8),
    PurgeAll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6u8).prop_map(Step::Get),
        2 => (0..6u8, 0..1500u16).prop_map(|(key, length)| Step::Change(key, length)),
        1 => (0..40u8).prop_map(Step::Wait),
        1 => (0..6u8).prop_map(Step::PurgeKey),
        1 => Just(Step::PurgeAll),
    ]
}

/// What a cache with a lifetime of 60 s serves: what the source had when it was asked last.
#[derive(Default)]
struct Model {
    source: HashMap<u8, Vec<u8>>,
    stored: HashMap<u8, (u64, Vec<u8>)>,
    now: u64,
    gets: u64,
}

impl Model {
    fn get(&mut self, key: u8) -> Option<Vec<u8>> {
        if let Some((stored_at, content)) = self.stored.get(&key)
            && self.now < stored_at + 60
        {
            return Some(content.clone());
        }
        self.gets += 1;
        let content = self.source.get(&key)?;
        // One too large to store leaves what was stored before: stale, and never served.
        if content.len() as u64 <= ITEM_MAX {
            self.stored.insert(key, (self.now, content.clone()));
        }
        Some(content.clone())
    }
}

async fn follow(steps: Vec<Step>) {
    let source = MemorySource::default();
    let bed = Bed::over(Arc::new(source.clone()));
    let mut model = Model::default();
    for (version, step) in steps.into_iter().enumerate() {
        match step {
            Step::Get(key) => {
                let answer = body(bed.get(&key.to_string()).await).await;
                match (answer, model.get(key)) {
                    (Ok(content), Some(expected)) => assert!(content == expected, "key {key}"),
                    (Err(SourceError::NotFound { .. }), None) => {}
                    (answer, expected) => panic!("key {key}: {answer:?} instead of {expected:?}"),
                }
                settle().await;
                assert_eq!(source.gets(), model.gets, "one GET for each miss, none for a hit");
            }
            Step::Change(key, length) => {
                let content = vec![version.to_le_bytes()[0]; usize::from(length)];
                source.insert(&key.to_string(), &[], content.clone());
                model.source.insert(key, content);
            }
            Step::Wait(seconds) => {
                bed.clock.advance(Duration::from_secs(seconds.into()));
                model.now += u64::from(seconds);
            }
            Step::PurgeKey(key) => {
                let purged =
                    bed.gateway.purge(&Selector::Key(cache_key(&key.to_string()).object), Purge::Drop).await;
                assert_eq!(purged, u64::from(model.stored.remove(&key).is_some()));
            }
            Step::PurgeAll => {
                assert_eq!(
                    bed.gateway.purge(&Selector::All, Purge::Drop).await,
                    model.stored.drain().count() as u64
                );
            }
        }
        assert_eq!(bed.gateway.usage().objects, model.stored.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_sequence_of_requests_gets_what_the_model_says(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without I/O");
        runtime.block_on(follow(steps));
    }
}
