//! The conformance suite of the `ObjectCache` trait.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderValue};

use crate::cache_key;
use yatagarasu_core::cache::entry::{CacheEntry, EntryKind};
use yatagarasu_core::cache::segments::SegmentsBuilder;
use yatagarasu_core::cache::{Admission, CacheKey, ObjectCache, Selector};
use yatagarasu_core::caching::freshness::{Exchange, Freshness, FreshnessTerms};
use yatagarasu_core::clock::Moment;
use yatagarasu_core::object::meta::ObjectMeta;

/// Runs every test of the [`ObjectCache`] contract. `make` returns a new cache with the given capacity in bytes.
pub async fn cache_conformance(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    what_is_stored_is_found(make);
    purges_drop_what_they_select(make).await;
    what_is_marked_stale_stays(make).await;
    notes_are_no_objects(make).await;
    tags_select_what_carries_them(make).await;
    pages_have_every_selected_entry_once(make);
    stored_and_declined_entries_are_counted(make);
    the_capacity_is_never_exceeded(make);
    too_large_objects_are_declined(make);
}

const MANY: u64 = 64 << 20;

fn what_is_stored_is_found(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    let cache = make(MANY);
    assert!(cache.lookup(cache_key("a").borrowed()).is_none());
    assert_eq!(cache.store(cache_key("a"), object(b"one")), Admission::Stored);
    assert_eq!(content(&*cache, &cache_key("a")).as_deref(), Some(&b"one"[..]));
    assert_eq!(cache.store(cache_key("a"), object(b"another")), Admission::Stored);
    assert_eq!(content(&*cache, &cache_key("a")).as_deref(), Some(&b"another"[..]));
    assert!(cache.lookup(cache_key("A").borrowed()).is_none());
    assert!(cache.lookup(queried("a", "v=1").borrowed()).is_none());
    assert_eq!(cache.usage().objects, 1);
    let full = CacheKey { origin: Some("o".into()), variant: Some("v".into()), ..queried("a", "v=1") };
    cache.store(full.clone(), object(b"full"));
    assert_eq!(content(&*cache, &full).as_deref(), Some(&b"full"[..]));

    let large: Vec<u8> = (0..1_000_000u32).map(|index| (index % 249) as u8).collect();
    cache.store(cache_key("large"), object(&large));
    assert!(content(&*cache, &cache_key("large")).as_ref() == Some(&large));
}

async fn purges_drop_what_they_select(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    let cache = make(MANY);
    let keys = ["a", "a/1", "a/2", "b"].map(cache_key);
    for key in keys.iter().cloned().chain([queried("a", "v=1")]) {
        cache.store(key, object(b"x"));
    }
    let held = cache.lookup(keys[0].borrowed()).expect("stored");
    assert_eq!(cache.purge(&Selector::Key(keys[0].object.clone())).await, 2, "with and without a query");
    assert_eq!(cache.purge(&Selector::Key(keys[0].object.clone())).await, 0);
    assert_eq!(held.length(), 1, "what is being served goes on being served");
    assert_eq!(cache.purge(&Selector::Prefix("a/".to_owned())).await, 2);
    assert!(cache.lookup(keys[1].borrowed()).is_none());
    assert!(cache.lookup(keys[3].borrowed()).is_some());
    assert_eq!(cache.purge(&Selector::All).await, 1);
    assert_eq!((cache.usage().objects, cache.usage().bytes), (0, 0), "a purge gives the room back");
    for index in 0..100 {
        cache.store(cache_key(&index.to_string()), object(&[0; 1000]));
    }
    assert_eq!(cache.usage().objects, 100, "and the room can be used");
}

async fn what_is_marked_stale_stays(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    let cache = make(MANY);
    let now = Moment::START + Duration::from_secs(5);
    for key in ["a", "b"] {
        cache.store(cache_key(key), object(b"x"));
    }
    assert_eq!(cache.expire(&Selector::Key(cache_key("a").object), now).await, 1);
    let freshness = |key| cache.lookup(cache_key(key).borrowed()).expect("stored").freshness(now);
    assert_eq!(freshness("a"), Freshness::Stale(Duration::ZERO));
    assert_eq!(freshness("b"), Freshness::Fresh(Duration::from_secs(55)));
    cache.store(cache_key("a"), object(b"y"));
    assert_eq!(freshness("a"), Freshness::Fresh(Duration::from_secs(55)), "it is another one now");
}

async fn notes_are_no_objects(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    let cache = make(MANY);
    let note = || {
        Arc::new(CacheEntry::note(
            EntryKind::HitForPass,
            Exchange::at(SystemTime::UNIX_EPOCH),
            Duration::from_secs(60),
        ))
    };
    cache.store(cache_key("note"), note());
    cache.store(cache_key("object"), object(b"x"));
    assert_eq!(cache.usage().objects, 1);
    cache.store(cache_key("object"), note());
    assert_eq!(cache.usage().objects, 0);
    cache.store(cache_key("object"), object(b"x"));
    cache.remove(&cache_key("note"));
    assert!(cache.lookup(cache_key("note").borrowed()).is_none());
    assert_eq!((cache.usage().objects, cache.purge(&Selector::All).await), (1, 1));
    cache.store(cache_key("object"), object(b"x"));
    cache.remove(&cache_key("object"));
    assert_eq!(cache.usage().objects, 0);
}

async fn tags_select_what_carries_them(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    let cache = make(MANY);
    cache.store(cache_key("a"), tagged(b"x", "red, round"));
    cache.store(cache_key("b"), tagged(b"x", "red"));
    cache.store(cache_key("c"), object(b"x"));
    assert_eq!(cache.purge(&Selector::Tag("round".to_owned())).await, 1);
    assert_eq!(cache.purge(&Selector::Tag("red".to_owned())).await, 1);
    assert_eq!(cache.usage().objects, 1);
}

fn pages_have_every_selected_entry_once(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    let cache = make(MANY);
    let mut stored: Vec<CacheKey> = (0..600).map(|index| cache_key(&format!("many/{index:03}"))).collect();
    stored.extend([cache_key("a"), queried("many/007", "v=1"), queried("many/007", "v=2"), cache_key("z")]);
    stored.sort();
    for key in &stored {
        cache.store(key.clone(), object(b"x"));
    }
    let check = |selector: &Selector, selects: &dyn Fn(&CacheKey) -> bool| {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = cache.page(selector, after.as_ref());
            assert!(page.entries.is_sorted_by_key(|(key, _)| key.object.as_str().to_owned()));
            seen.extend(page.entries.into_iter().map(|(key, entry)| {
                assert_eq!(entry.length(), 1);
                key
            }));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert!(seen.is_sorted_by_key(|key| key.object.as_str()));
        seen.sort();
        assert!(seen.iter().eq(stored.iter().filter(|key| selects(key))), "{selector:?}");
    };
    check(&Selector::All, &|_| true);
    check(&Selector::Prefix("many/".to_owned()), &|key| key.object.as_str().starts_with("many/"));
    let one = cache_key("many/007").object;
    check(&Selector::Key(one.clone()), &|key| key.object == one);
    check(&Selector::Tag("none".to_owned()), &|_| false);
}

fn stored_and_declined_entries_are_counted(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    let cache = make(1 << 20);
    cache.store(cache_key("a"), object(b"x"));
    cache.store(cache_key("a"), object(b"y"));
    cache.store(cache_key("b"), object(b"x"));
    cache.remove(&cache_key("b"));
    cache.store(cache_key("large"), object(&vec![0; 2 << 20]));
    let counters = cache.counters();
    let found = (counters.stored, counters.declined, counters.replaced, counters.removed, counters.evicted);
    assert_eq!(found, (3, 1, 1, 1, 0));
}

fn the_capacity_is_never_exceeded(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    let cache = make(4 << 20);
    let mut seed = 7u64;
    for index in 0..4000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = usize::try_from((seed >> 40) % 20_000).expect("small");
        cache.store(cache_key(&format!("key/{}", index % 1500)), object(&vec![0; length]));
        let usage = cache.usage();
        assert!(usage.bytes <= usage.capacity && usage.capacity <= 4 << 20, "{usage:?}");
    }
    assert!(cache.usage().bytes > 2 << 20, "and is made use of: {:?}", cache.usage());
}

fn too_large_objects_are_declined(make: &dyn Fn(u64) -> Arc<dyn ObjectCache>) {
    let cache = make(1 << 20);
    cache.store(cache_key("other"), object(b"x"));
    cache.store(cache_key("grown"), object(b"small"));
    assert_eq!(cache.store(cache_key("grown"), object(&vec![0; 2 << 20])), Admission::Declined);
    assert!(
        cache.lookup(cache_key("grown").borrowed()).is_none(),
        "the old object is not what the source has"
    );
    assert!(cache.lookup(cache_key("other").borrowed()).is_some(), "others stay");
}

fn queried(key: &str, query: &str) -> CacheKey {
    CacheKey { query: Some(query.into()), ..cache_key(key) }
}

fn object(content: &[u8]) -> Arc<CacheEntry> {
    tagged(content, "")
}

fn tagged(content: &[u8], tags: &str) -> Arc<CacheEntry> {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    headers.insert("cache-tag", HeaderValue::from_str(tags).expect("a test gives valid tags"));
    let mut bytes = SegmentsBuilder::new(Some(content.len() as u64));
    bytes.push(content);
    Arc::new(CacheEntry::new(
        ObjectMeta::new(headers),
        EntryKind::Full(bytes.finish()),
        Exchange::at(SystemTime::UNIX_EPOCH),
        FreshnessTerms::fresh_for(Duration::from_secs(60)),
    ))
}

fn content(cache: &dyn ObjectCache, key: &CacheKey) -> Option<Vec<u8>> {
    let stored = cache.lookup(key.borrowed())?;
    let mut rest = 0..stored.length();
    let mut content = Vec::new();
    while rest.start < rest.end {
        let slice = stored.slice(&rest);
        rest.start += slice.len() as u64;
        content.extend_from_slice(&slice);
    }
    Some(content)
}
