//! Runs fills, their readers and purges in many orders.
//!
//! A thread that waits for something that never comes fails the test, and the message has the order to repeat.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use shuttle::future::block_on;
use shuttle::thread;

use crate::budget::Budget;
use crate::cache::entry::{CacheEntry, EntryKind};
use crate::cache::segments::Segments;
use crate::cache::{
    Admission, CacheCounters, CacheKey, KeyRef, ObjectCache, Page, Position, Purge, Selector, Usage,
};
use crate::caching::freshness::FreshnessTerms;
use crate::clock::{Moment, SystemClock};
use crate::gateway::fill::reader::{FillReader, Opened};
use crate::gateway::fill::receive::Unfinished;
use crate::gateway::fill::state::{Fill, Head};
use crate::gateway::fill::table::{Claim, FillTable, Join};
use crate::gateway::store::Storage;
use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::source::SourceRequest;
use crate::source::error::SourceError;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Number of orders that each test tries.
const ORDERS: usize = 5000;

/// Number of bytes of an object, and of the pieces in which it arrives.
const LENGTH: u64 = 4;
const PIECE: usize = 2;

fn check(scenario: fn()) {
    shuttle::check_random(scenario, ORDERS);
    // Orders with few switches between threads, at the places that matter.
    shuttle::check_pct(scenario, ORDERS, 3);
}

/// A bucket with one object, whose bytes all are its version.
struct Bucket {
    fills: FillTable,
    storage: Storage,
    budget: Arc<Budget>,
    version: AtomicU64,
    key: CacheKey,
}

impl Bucket {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            fills: FillTable::default(),
            storage: Storage::new(Arc::new(Stored::default())),
            budget: Arc::new(Budget::new(2 * LENGTH)),
            version: AtomicU64::new(1),
            key: CacheKey::new(ObjectKey::parse("a").unwrap(), None),
        })
    }

    /// Returns a reader of the object, or `None` if it is stored, with its version.
    fn join(self: &Arc<Self>) -> Result<FillReader, u64> {
        let claim = || {
            let permit = self.storage.permit(self.key.clone());
            let is_stored = self.storage.lookup(permit.key().borrowed()).is_some();
            (!is_stored).then(|| Claim { permit, asked: SourceRequest::default(), known: None })
        };
        match self.fills.join(&self.key, |_| false, claim) {
            Join::Begun(reader, claim) => {
                let (bucket, fill) = (Arc::clone(self), reader.fill());
                thread::spawn(move || bucket.fetch(&fill, *claim));
                Ok(reader)
            }
            Join::Running(reader) => Ok(reader),
            Join::Stored => {
                let stored = self.storage.lookup(self.key.borrowed());
                Err(stored.map_or(0, |stored| version_of(&[stored.slice(&(0..LENGTH))])))
            }
        }
    }

    /// Does what the task of a fill does.
    fn fetch(&self, fill: &Arc<Fill>, claim: Claim) {
        let _unfinished = Unfinished(Arc::clone(fill));
        let version = self.version.load(Ordering::SeqCst);
        if self.fills.remove_deserted(fill) {
            return;
        }
        let Some(reservation) = self.budget.reserve(LENGTH) else {
            self.fills.remove(fill);
            return fill.release_all(None);
        };
        let exchange = claim.permit.exchange(Moment::START, &SystemClock);
        let terms = FreshnessTerms::fresh_for(Duration::from_secs(60));
        let entry =
            move |content| CacheEntry::new(ObjectMeta::default(), EntryKind::Full(content), exchange, terms);
        let object = entry(Segments::default());
        let head =
            Head { received: Mutex::default(), length: LENGTH, is_part: false, object, selecting: None };
        fill.receive(Arc::new(head), reservation);
        let content = vec![u8::try_from(version).unwrap(); usize::try_from(LENGTH).unwrap()];
        for piece in content.chunks(PIECE) {
            fill.push(piece);
        }
        let stored = fill.finish(|_, bytes| Arc::new(entry(bytes.finish())));
        if claim.permit.store(&self.storage, stored) {
            fill.unreserve();
        }
        self.fills.remove(fill);
    }

    /// Reads the object as a client does. Returns its version, or `None` if there was no memory for a fill.
    fn read(self: &Arc<Self>) -> Option<u64> {
        let mut reader = match self.join() {
            Ok(reader) => reader,
            Err(version) => return Some(version),
        };
        match block_on(reader.opened()) {
            Opened::Released(_) => return None,
            Opened::Receiving(_) | Opened::Complete(_) => {}
            other => panic!("{other:?}"),
        }
        reader.select(0..LENGTH);
        Some(version_of(&block_on(content(&mut reader)).unwrap()))
    }

    fn purge(&self) {
        let purge = self.storage.purge(&Selector::All, Purge::Drop, Moment::START, || {
            self.fills.detach(&Selector::All);
        });
        block_on(purge);
    }
}

async fn content(reader: &mut FillReader) -> Result<Vec<Bytes>, SourceError> {
    let mut content = Vec::new();
    while let Some(bytes) = poll_fn(|cx| reader.poll_next(cx)).await {
        content.push(bytes?);
    }
    Ok(content)
}

/// Returns the version that all bytes of an object are.
fn version_of(content: &[Bytes]) -> u64 {
    let content = content.concat();
    assert_eq!(content.len() as u64, LENGTH);
    assert!(content.iter().all(|byte| *byte == content[0]), "{content:?}");
    u64::from(content[0])
}

#[test]
fn whoever_joins_gets_the_whole_object_though_others_leave() {
    check(|| {
        let bucket = Bucket::new();
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let bucket = Arc::clone(&bucket);
                thread::spawn(move || match number {
                    0 | 1 => drop(bucket.join()),
                    _ => assert_eq!(bucket.read(), Some(1)),
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        // Nothing is left for the next one to join.
        assert_eq!(bucket.read(), Some(1));
    });
}

#[test]
fn whoever_asks_after_a_purge_gets_what_the_source_has_then() {
    check(|| {
        let bucket = Bucket::new();
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let bucket = Arc::clone(&bucket);
                thread::spawn(move || bucket.read())
            })
            .collect();
        bucket.version.store(2, Ordering::SeqCst);
        bucket.purge();
        assert!(matches!(bucket.read(), Some(2) | None));
        for client in clients {
            client.join().unwrap();
        }
        assert!(matches!(bucket.read(), Some(2) | None));
    });
}

#[test]
fn reservations_never_exceed_the_budget_and_come_back() {
    check(|| {
        let budget = Arc::new(Budget::new(10));
        let users: Vec<_> = [3, 5, 7]
            .into_iter()
            .map(|bytes| {
                let budget = Arc::clone(&budget);
                thread::spawn(move || {
                    let Some(mut reservation) = budget.reserve(bytes) else { return };
                    assert!(budget.reserved() <= 10);
                    reservation.grow(2);
                    assert!((bytes..=10).contains(&budget.reserved()));
                })
            })
            .collect();
        for user in users {
            user.join().unwrap();
        }
        assert_eq!(budget.reserved(), 0);
    });
}

/// A cache of one object.
#[derive(Debug, Default)]
struct Stored(Mutex<Option<Arc<CacheEntry>>>);

#[async_trait]
impl ObjectCache for Stored {
    fn lookup(&self, _: KeyRef<'_>) -> Option<Arc<CacheEntry>> {
        self.0.lock().unwrap().clone()
    }

    fn store(&self, _: CacheKey, object: Arc<CacheEntry>) -> Admission {
        *self.0.lock().unwrap() = Some(object);
        Admission::Stored
    }

    fn remove(&self, _: &CacheKey) {
        *self.0.lock().unwrap() = None;
    }

    async fn purge(&self, _: &Selector) -> u64 {
        u64::from(self.0.lock().unwrap().take().is_some())
    }

    async fn expire(&self, _: &Selector, _: Moment) -> u64 {
        unreachable!("no test marks entries stale")
    }

    fn usage(&self) -> Usage {
        unreachable!("no test asks for it")
    }

    fn page(&self, _: &Selector, _: Option<&Position>) -> Page {
        unreachable!("no test asks for it")
    }

    fn counters(&self) -> CacheCounters {
        unreachable!("no test asks for it")
    }
}
