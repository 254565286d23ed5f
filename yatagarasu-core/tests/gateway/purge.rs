//! Tests of purges that meet fills, revalidations and stores in progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header;
use yatagarasu_core::caching::freshness::Freshness;
use yatagarasu_core::{
    BucketPolicy, CachePolicy, CacheStatus, ForwardedFields, Gateway, Method, Negative, Purge, Request,
    Selector,
};
use yatagarasu_core::{Budget, Common};
use yatagarasu_testing::{ManualClock, MemoryCache, MemorySource, cache_key, request};

use crate::bed::{Bed, body, cache_policy, handling, idle, settle};
use crate::turnstile::{Lengths, PURGE, PURGED, Stop, Turnstile, TurnstileCache, TurnstileSource};

const ONE: [(&str, &str); 1] = [("content-length", "1")];

#[tokio::test]
async fn a_fill_that_began_before_a_purge_does_not_bring_the_object_back() {
    for selector in [
        Selector::Key(cache_key("dir/k").object),
        Selector::Prefix("dir/".into()),
        Selector::Tag("unknown yet".into()),
        Selector::All,
    ] {
        let (bed, mut scripts) = Bed::scripted();
        let client = bed.begin("dir/k");
        let asked = scripts.recv().await.unwrap();
        assert_eq!(bed.gateway.purge(&selector, Purge::Drop).await, 0);

        // A request after the purge gets the source's present object.
        let later = bed.begin("dir/k");
        scripts.recv().await.unwrap().open(&ONE).send("N");
        assert_eq!(body(later.await.unwrap()).await.unwrap(), b"N");
        asked.open(&ONE).send("O");
        assert_eq!(body(client.await.unwrap()).await.unwrap(), b"O");

        settle().await;
        let hit = bed.get("dir/k").await;
        assert_eq!(handling(&hit), "hit; ttl=60");
        assert_eq!(body(hit).await.unwrap(), b"N", "{selector:?}");
    }
}

#[tokio::test]
async fn a_purge_between_the_bytes_of_a_fill_wins() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&[("content-length", "2")]);
    source.send("O");
    settle().await;
    bed.gateway.purge(&Selector::All, Purge::Drop).await;
    source.send("O");
    assert_eq!(body(client.await.unwrap()).await.unwrap(), b"OO");
    settle().await;
    assert_eq!(bed.gateway.usage().objects, 0);
}

#[tokio::test]
async fn a_purge_of_other_objects_leaves_a_fill_alone() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&ONE);
    bed.gateway.purge(&Selector::Prefix("other/".into()), Purge::Drop).await;
    source.send("x");
    body(client.await.unwrap()).await.unwrap();
    settle().await;
    assert_eq!(bed.gateway.usage().objects, 1);
}

#[tokio::test]
async fn very_many_purges_beside_a_fill_are_kept_as_one_of_everything() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&ONE);
    for number in 0..2000 {
        bed.gateway.purge(&Selector::Prefix(format!("other/{number}/")), Purge::Drop).await;
    }
    source.send("O");
    body(client.await.unwrap()).await.unwrap();
    settle().await;
    assert_eq!(bed.gateway.usage().objects, 0, "it may have been selected, for all that is known");
    let later = bed.begin("k");
    scripts.recv().await.unwrap().open(&ONE).send("N");
    body(later.await.unwrap()).await.unwrap();
    settle().await;
    assert_eq!(bed.gateway.usage().objects, 1);
}

#[tokio::test]
async fn a_copy_kept_while_streaming_loses_to_a_purge_too() {
    let (bed, mut scripts) = Bed::scripted();
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&[]);
    source.send("O");
    let outcome = client.await.unwrap();
    bed.gateway.purge(&Selector::All, Purge::Drop).await;
    drop(source);
    assert_eq!(body(outcome).await.unwrap(), b"O");
    settle().await;
    assert_eq!(bed.gateway.usage().objects, 0);
}

/// Header fields: names and values.
type Fields = &'static [(&'static str, &'static str)];

/// Fields and content of an object at the source.
type Version = (Fields, &'static str);

const KEY: &str = "dir/k";
const TAG: (&str, &str) = ("surrogate-key", "tag");
const MINUTE: (&str, &str) = ("cache-control", "max-age=60");
const WINDOW: (&str, &str) = ("cache-control", "max-age=60, stale-while-revalidate=1000");
const PAST: Version = (&[("etag", "\"past\""), TAG, MINUTE], "past");
const PAST_IN_WINDOW: Version = (&[("etag", "\"past\""), TAG, WINDOW], "past");
const OLD: Version = (&[("etag", "\"old\""), TAG, MINUTE], "old!");
const OLD_IN_WINDOW: Version = (&[("etag", "\"old\""), TAG, WINDOW], "old!");
const OLD_IN_GERMAN: Version = (&[("etag", "\"old\""), TAG, MINUTE, ("vary", "accept-language")], "old!");
const OLD_AND_PRIVATE: Version = (&[("etag", "\"old\""), TAG, ("cache-control", "private")], "old!");
const NEW: Version = (&[("etag", "\"new\""), TAG, MINUTE], "new!");
const BEGINNING: Fields = &[("range", "bytes=0-1")];
const END: Fields = &[("range", "bytes=2-3")];

/// An operation that is in progress when a purge comes.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    name: &'static str,
    /// The object that a client got a hundred seconds ago, and the fields of its request.
    before: Option<(Version, Fields)>,
    /// The source's object when it is asked, if there is one.
    old: Option<Version>,
    lengths: Lengths,
    method: Method,
    fields: Fields,
}

const FILL: Scenario = Scenario {
    name: "a fill",
    before: None,
    old: Some(OLD),
    lengths: Lengths::Said,
    method: Method::Get,
    fields: &[],
};

const SCENARIOS: [Scenario; 15] = [
    FILL,
    Scenario { name: "a copy of unknown length", lengths: Lengths::Unknown, ..FILL },
    Scenario { name: "a revalidation, confirmed", before: Some((OLD, &[])), ..FILL },
    Scenario { name: "a revalidation, replaced", before: Some((PAST, &[])), ..FILL },
    Scenario {
        name: "a background refresh, confirmed",
        before: Some((OLD_IN_WINDOW, &[])),
        old: Some(OLD_IN_WINDOW),
        ..FILL
    },
    Scenario { name: "a background refresh, replaced", before: Some((PAST_IN_WINDOW, &[])), ..FILL },
    Scenario {
        name: "a background refresh of unknown length",
        before: Some((PAST_IN_WINDOW, &[])),
        lengths: Lengths::Unknown,
        ..FILL
    },
    Scenario { name: "a HEAD that freshens", before: Some((OLD, &[])), method: Method::Head, ..FILL },
    Scenario { name: "a HEAD of another", before: Some((PAST, &[])), method: Method::Head, ..FILL },
    Scenario { name: "a part", fields: BEGINNING, ..FILL },
    Scenario { name: "a part beside another", before: Some((OLD, END)), fields: BEGINNING, ..FILL },
    Scenario { name: "several ranges", fields: &[("range", "bytes=0-0,3-3")], ..FILL },
    Scenario { name: "a variant", old: Some(OLD_IN_GERMAN), fields: &[("accept-language", "de")], ..FILL },
    Scenario { name: "an object that is not stored", old: Some(OLD_AND_PRIVATE), ..FILL },
    Scenario { name: "a negative answer", old: None, ..FILL },
];

impl Scenario {
    /// Stops the operation at its `nth` await, purges, lets it go on, and checks the next client's answer.
    ///
    /// Returns whether the operation has that many awaits.
    async fn play(&self, nth: usize, selector: &Selector, purge: Purge) -> bool {
        let (source, clock, turnstile) = (MemorySource::default(), ManualClock::default(), Turnstile::new());
        let gateway = self.begin(&source, &clock, &turnstile).await;
        turnstile.set(Stop::Nth(nth));
        let client = tokio::spawn(read(gateway.clone(), asking(self.method, self.fields)));
        settle().await;
        let reached = turnstile.is_reached();
        source.insert(KEY, NEW.0, NEW.1);
        let purging = tokio::spawn({
            let (gateway, selector) = (gateway.clone(), selector.clone());
            async move { gateway.purge(&selector, purge).await }
        });
        settle().await;
        turnstile.open();
        purging.await.unwrap();
        client.await.unwrap();
        idle().await;

        let scene = format!("{}, {purge:?} {selector:?}, at {nth}: {:?}", self.name, turnstile.passed());
        self.look(&gateway, purge, &scene).await;
        reached
    }

    /// Stops a purge at `place`, lets the operation run, lets the purge go on, and checks the next client's answer.
    async fn play_within(&self, place: &'static str, selector: &Selector, purge: Purge) {
        let (source, clock, turnstile) = (MemorySource::default(), ManualClock::default(), Turnstile::new());
        let gateway = self.begin(&source, &clock, &turnstile).await;
        turnstile.set(Stop::At(place));
        let purging = tokio::spawn({
            let (gateway, selector) = (gateway.clone(), selector.clone());
            async move { gateway.purge(&selector, purge).await }
        });
        settle().await;
        assert!(turnstile.is_reached());
        read(gateway.clone(), asking(self.method, self.fields)).await;
        settle().await;
        source.insert(KEY, NEW.0, NEW.1);
        turnstile.open();
        purging.await.unwrap();
        idle().await;
        self.look(&gateway, purge, &format!("{}, {purge:?} {selector:?}, {place}", self.name)).await;
    }

    /// Returns a gateway over the old object, with what is stored before the operation.
    async fn begin(&self, source: &MemorySource, clock: &ManualClock, turnstile: &Arc<Turnstile>) -> Gateway {
        let gateway = self.gateway(source, clock, turnstile);
        if let Some(((fields, content), asked)) = self.before {
            source.insert(KEY, fields, content);
            read(gateway.clone(), asking(Method::Get, asked)).await;
            idle().await;
            clock.advance(Duration::from_secs(100));
        }
        match self.old {
            Some((fields, content)) => source.insert(KEY, fields, content),
            None => source.remove(KEY),
        }
        gateway
    }

    fn gateway(&self, source: &MemorySource, clock: &ManualClock, turnstile: &Arc<Turnstile>) -> Gateway {
        let negative = Negative { ttl: Duration::from_secs(1000), missing: true, denied: false };
        let cache = CachePolicy { negative, ..cache_policy() };
        let forward_headers = ForwardedFields::Named(vec![header::ACCEPT_LANGUAGE]);
        let inner = source.clone();
        Gateway::new(
            Arc::new(TurnstileSource { inner, turnstile: Arc::clone(turnstile), lengths: self.lengths }),
            Arc::new(TurnstileCache { inner: MemoryCache::new(1 << 20), turnstile: Arc::clone(turnstile) }),
            BucketPolicy { cache: Some(cache), forward_headers, ..BucketPolicy::default() },
            Common::new(Arc::new(Budget::new(1 << 20)), Arc::new(clock.clone())),
        )
    }

    /// Checks that the next client gets the new object, and so does the one after it.
    async fn look(&self, gateway: &Gateway, purge: Purge, scene: &str) {
        let again = || asking(Method::Get, self.fields);
        let mut outcome = gateway.execute(&again()).await;
        if let CacheStatus::Hit { freshness: Freshness::Stale(_), .. } = outcome.handling {
            assert_eq!(purge, Purge::MarkStale, "a stale hit after {scene}");
            // A stale object may be served while it is revalidated, but it must be revalidated.
            drop(outcome);
            idle().await;
            outcome = gateway.execute(&again()).await;
        }
        let expected = if self.fields == BEGINNING { "ne" } else { "new!" };
        for _ in 0..2 {
            let handling = handling(&outcome);
            let content = body(outcome).await;
            let content = content.unwrap_or_else(|error| panic!("{handling} ({error}) after {scene}"));
            assert_eq!(String::from_utf8_lossy(&content), expected, "{handling} after {scene}");
            idle().await;
            outcome = gateway.execute(&again()).await;
        }
    }
}

#[tokio::test]
async fn nothing_brings_back_what_was_purged_wherever_it_is_suspended() {
    for scenario in &SCENARIOS {
        for selector in [
            Selector::Key(cache_key(KEY).object),
            Selector::Prefix("dir/".into()),
            Selector::Tag("tag".into()),
            Selector::All,
        ] {
            // A missing object carries no tag.
            if scenario.old.is_none() && matches!(selector, Selector::Tag(_)) {
                continue;
            }
            for purge in [Purge::Drop, Purge::MarkStale] {
                let mut nth = 1;
                while scenario.play(nth, &selector, purge).await {
                    nth += 1;
                }
                assert!(nth > 2, "{} has only {nth} awaits", scenario.name);
            }
        }
    }
}

#[tokio::test]
async fn nothing_that_ends_while_a_purge_is_at_work_survives_it() {
    for scenario in &SCENARIOS {
        for selector in [Selector::Key(cache_key(KEY).object), Selector::Tag("tag".into()), Selector::All] {
            if scenario.old.is_none() && matches!(selector, Selector::Tag(_)) {
                continue;
            }
            for (purge, place) in [Purge::Drop, Purge::MarkStale]
                .into_iter()
                .flat_map(|purge| [(purge, PURGE), (purge, PURGED)])
            {
                scenario.play_within(place, &selector, purge).await;
            }
        }
    }
}

/// The content of one version after another.
fn version(number: u32) -> String {
    format!("{number:08}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_purge_no_thread_gets_what_was_there_before() {
    const VERSIONS: u32 = 500;
    let source = MemorySource::default();
    let insert = |number: u32| {
        let tag = format!("\"{number}\"");
        source.insert(KEY, &[("etag", &tag), TAG, MINUTE], version(number));
    };
    insert(0);
    let bed = Bed::over(Arc::new(source.clone()));
    let ends = Arc::new(AtomicBool::new(false));
    let fields: [Fields; 3] = [&[], BEGINNING, &[("cache-control", "no-cache")]];
    let readers = fields.map(|fields| {
        let (gateway, ends) = (bed.gateway.clone(), Arc::clone(&ends));
        tokio::spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                read(gateway.clone(), asking(Method::Get, fields)).await;
                tokio::task::yield_now().await;
            }
        })
    });
    for number in 1..VERSIONS {
        insert(number);
        let (selector, purge) = match number % 4 {
            0 => (Selector::Key(cache_key(KEY).object), Purge::MarkStale),
            1 => (Selector::Key(cache_key(KEY).object), Purge::Drop),
            2 => (Selector::Tag("tag".into()), Purge::Drop),
            _ => (Selector::Prefix("dir/".into()), Purge::Drop),
        };
        bed.gateway.purge(&selector, purge).await;
        let outcome = bed.get(KEY).await;
        let handling = handling(&outcome);
        let content = body(outcome).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&content), version(number), "{handling} after {selector:?}");
    }
    ends.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn what_is_confirmed_while_a_purge_is_at_work_goes_too() {
    for purge in [Purge::Drop, Purge::MarkStale] {
        let (source, clock, turnstile) = (MemorySource::default(), ManualClock::default(), Turnstile::new());
        let gateway = FILL.gateway(&source, &clock, &turnstile);
        source.insert(KEY, OLD.0, OLD.1);
        read(gateway.clone(), asking(Method::Get, &[])).await;
        idle().await;
        clock.advance(Duration::from_secs(100));

        turnstile.set(Stop::At(PURGE));
        let purging = tokio::spawn({
            let gateway = gateway.clone();
            async move { gateway.purge(&Selector::All, purge).await }
        });
        settle().await;
        assert!(turnstile.is_reached());
        // The request finds the stored object and revalidates it.
        let validating = tokio::spawn({
            let gateway = gateway.clone();
            async move { gateway.execute(&asking(Method::Get, &[])).await }
        });
        settle().await;
        turnstile.open();
        assert_eq!(purging.await.unwrap(), 1);
        let confirmed = validating.await.unwrap();
        assert_eq!(handling(&confirmed), "fwd=stale; fwd-status=304; ttl=60");
        assert_eq!(body(confirmed).await.unwrap(), b"old!");
        idle().await;
        source.insert(KEY, NEW.0, NEW.1);
        FILL.look(&gateway, purge, "a purge").await;
    }
}

fn asking(method: Method, fields: Fields) -> Request {
    let mut request = request(method, KEY);
    for (name, value) in fields {
        request.headers.append(*name, value.parse().unwrap());
    }
    request
}

/// Sends a request and reads the answer, whatever it is.
async fn read(gateway: Gateway, request: Request) {
    // An error is an answer too, because the object may be missing.
    let _ = body(gateway.execute(&request).await).await;
}
