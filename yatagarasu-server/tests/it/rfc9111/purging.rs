//! RFC 9111 4.4: purges by the operator. Nothing that began before a purge restores an old object.

use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::Connection;
use yatagarasu_testing::origin::{Gate, Reply};

use super::{Bed, Object, aged, says, stale, summary, with_fields};

/// Selectors for an object with the key `KEY` that is `tagged`.
const SELECTORS: [&str; 4] = ["\"key\":\"KEY\"", "\"prefix\":\"KEY\"", "\"tag\":\"tag\"", "\"all\":true"];

fn tagged(reply: Reply) -> Reply {
    reply.with("surrogate-key", "tag")
}

async fn purge(bed: &Bed, object: &Object<'_>, selector: &str) -> u64 {
    bed.purge(&selector.replace("KEY", &object.key)).await
}

/// Empties the bucket, so that `prefix`, `tag` and `all` select nothing of earlier cases.
async fn empty(bed: &Bed) {
    bed.purge("\"all\":true").await;
}

#[tokio::test]
async fn a_purge_forgets_the_object_and_its_validators() {
    let bed = Bed::start("", "").await;
    for selector in SELECTORS {
        empty(&bed).await;
        let old = tagged(Reply::ok("old").with("etag", "\"e\""));
        let object = bed.object([old, Reply::ok("new")]);
        object.store().await;
        assert_eq!(purge(&bed, &object, selector).await, 1, "{selector}");
        assert_eq!(summary(&object.get().await), (200, "MISS", "new"), "{selector}");
        assert_eq!(object.asked(1).field("if-none-match"), "", "{selector}");
    }
}

#[tokio::test]
async fn a_soft_purge_has_the_object_validated() {
    let bed = Bed::start("", "").await;
    for selector in SELECTORS {
        empty(&bed).await;
        let object = bed.object([tagged(Reply::ok("x").with("etag", "\"e\"")), Reply::status(304)]);
        object.store().await;
        assert_eq!(summary(&object.get().await), (200, "HIT", "x"), "{selector}");
        let softly = format!("{selector},\"soft\":true");
        assert_eq!(purge(&bed, &object, &softly).await, 1, "{selector}");
        let answer = object.get().await;
        assert_eq!(summary(&answer), (200, "REVALIDATED", "x"), "{selector}");
        assert!(says(&answer, "fwd=stale"), "{selector}: {}", answer.field("cache-status"));
        assert_eq!(object.asked(1).field("if-none-match"), "\"e\"", "{selector}");
        assert_eq!(
            (summary(&object.get().await), object.times_asked()),
            ((200, "HIT", "x"), 2),
            "{selector}"
        );
    }
}

/// A soft purge makes an object stale. It is still served if a stale object may be.
#[tokio::test]
async fn what_was_softly_purged_is_served_where_a_stale_object_may_be() {
    const SOFTLY: &str = "\"key\":\"KEY\",\"soft\":true";
    let bed = Bed::start("", "stale_if_error: 600").await;
    let object = bed.object([Reply::ok("old").with("etag", "\"e\""), Reply::status(500)]);
    object.store().await;
    assert_eq!(purge(&bed, &object, SOFTLY).await, 1);
    assert_eq!(summary(&object.get().await), (200, "STALE", "old"));

    let bed = Bed::start("", "stale_while_revalidate: 600").await;
    let object = bed.object([Reply::ok("old").with("etag", "\"e\""), Reply::ok("new")]);
    object.store().await;
    assert_eq!(purge(&bed, &object, SOFTLY).await, 1);
    let answer = object.get().await;
    assert_eq!(summary(&answer), (200, "HIT", "old"));
    assert!(says(&answer, "detail=stale-while-revalidate"), "{}", answer.field("cache-status"));
    assert_eq!(object.until("new").await.field("x-cache"), "HIT");
}

#[tokio::test]
async fn objects_are_purged_by_any_of_their_tags() {
    let bed = Bed::start("", "").await;
    let cases: [(&str, &[(&str, &str)]); 7] = [
        ("b", &[("surrogate-key", "a b c")]),
        ("b", &[("surrogate-key", "a"), ("surrogate-key", "b")]),
        ("b", &[("cache-tag", "a,b, c")]),
        ("two words", &[("cache-tag", "a, two words ,c")]),
        ("b", &[("x-amz-meta-cache-tag", "a,b")]),
        ("b", &[("x-amz-meta-cache-tag", "a b")]),
        ("b", &[("surrogate-key", "a"), ("cache-tag", "b")]),
    ];
    for (purged, fields) in cases {
        empty(&bed).await;
        let object = bed.object([with_fields(Reply::ok("old"), fields), Reply::ok("new")]);
        object.store().await;
        assert_eq!(bed.purge(&format!("\"tag\":{purged:?}")).await, 1, "{purged}: {fields:?}");
        assert_eq!(summary(&object.get().await), (200, "MISS", "new"), "{purged}: {fields:?}");
    }
}

#[tokio::test]
async fn objects_are_not_purged_by_what_is_no_tag_of_theirs() {
    let bed = Bed::start("", "").await;
    let of = |name: &str, value: &str| Reply::ok("old").with(name, value);
    let others: Vec<Object<'_>> = [
        of("surrogate-key", "bb b,c"),
        of("surrogate-key", "B"),
        of("cache-tag", "b c"),
        of("x-amz-meta-cache-tag", "a-b"),
        of("x-amz-meta-tag", "b"),
        of("etag", "\"b\""),
        Reply::ok("old"),
    ]
    .into_iter()
    .map(|reply| bed.object([reply]))
    .collect();
    for object in &others {
        object.store().await;
    }
    assert_eq!(bed.purge("\"tag\":\"b\"").await, 0);
    for object in &others {
        assert_eq!(object.get().await.field("x-cache"), "HIT", "{}", object.key);
    }
}

/// Checks that requests after the purge get the new object, even once the suspended operation has ended.
async fn stays_new(object: &Object<'_>, case: &str) {
    for _ in 0..3 {
        assert_eq!(summary(&object.get().await), (200, "HIT", "new"), "{case}");
    }
}

#[tokio::test]
async fn a_fill_whose_head_comes_after_a_purge_is_not_stored() {
    let bed = Bed::start("", "").await;
    for selector in SELECTORS {
        let gate = Gate::default();
        let object = bed.object([tagged(Reply::ok("old")).head_at(&gate), tagged(Reply::ok("new"))]);
        let client = object.begin();
        bed.site.origin.wait_asked(&object.key, 1).await;
        purge(&bed, &object, selector).await;
        gate.open();
        assert_eq!(client.await.unwrap().body, "old", "{selector}");
        assert_eq!(summary(&object.get().await), (200, "MISS", "new"), "{selector}");
        stays_new(&object, selector).await;
    }
}

#[tokio::test]
async fn a_fill_whose_bytes_come_after_a_purge_is_not_stored() {
    let bed = Bed::start("", "").await;
    for selector in SELECTORS {
        let gate = Gate::default();
        let object = bed.object([tagged(Reply::ok("old")).rest_at(1, &gate), tagged(Reply::ok("new"))]);
        let mut client = Connection::begin(bed.site.address, &object.path()).await;
        purge(&bed, &object, selector).await;
        gate.open();
        assert_eq!(client.take(3).await, b"old", "{selector}");
        assert_eq!(summary(&object.get().await), (200, "MISS", "new"), "{selector}");
        stays_new(&object, selector).await;
    }
}

/// A request after a purge does not wait for a fill that began before it, and that fill replaces nothing.
#[tokio::test]
async fn a_fill_that_began_before_a_purge_is_not_joined_after_it() {
    let bed = Bed::start("", "").await;
    let suspended: [fn(Reply, &Gate) -> Reply; 2] =
        [|reply, gate| reply.head_at(gate), |reply, gate| reply.rest_at(1, gate)];
    for suspend in suspended {
        for selector in SELECTORS {
            let gate = Gate::default();
            let old = suspend(tagged(Reply::ok("old")), &gate);
            let object = bed.object([old, tagged(Reply::ok("new"))]);
            let client = object.begin();
            bed.site.origin.wait_asked(&object.key, 1).await;
            purge(&bed, &object, selector).await;
            let second = timeout(PATIENCE, object.get()).await.expect("it does not wait");
            assert_eq!(summary(&second), (200, "MISS", "new"), "{selector}");
            gate.open();
            assert_eq!(client.await.unwrap().body, "old", "{selector}");
            stays_new(&object, selector).await;
        }
    }
}

/// RFC 9111 4.3.4: a 304 confirms a stored object, and there is none.
#[tokio::test]
async fn a_validation_that_began_before_a_purge_brings_nothing_back() {
    let bed = Bed::start("", "").await;
    for selector in SELECTORS {
        empty(&bed).await;
        let gate = Gate::default();
        let object = bed.object([
            tagged(stale("old", "\"e\"")),
            Reply::status(304).with("etag", "\"e\"").head_at(&gate),
            tagged(Reply::ok("new").with("etag", "\"f\"")),
        ]);
        object.store().await;
        let client = object.begin();
        bed.site.origin.wait_asked(&object.key, 2).await;
        assert_eq!(purge(&bed, &object, selector).await, 1, "{selector}");
        gate.open();
        assert_eq!(client.await.unwrap().status, 200, "{selector}");
        assert_eq!(object.get().await.body, "new", "{selector}");
        assert_eq!(object.asked(2).field("if-none-match"), "", "{selector}");
        stays_new(&object, selector).await;
    }
}

/// RFC 5861 3
#[tokio::test]
async fn a_background_validation_that_began_before_a_purge_brings_nothing_back() {
    let bed = Bed::start("", "stale_while_revalidate: 600").await;
    for selector in SELECTORS {
        empty(&bed).await;
        let (gate, old) = (Gate::default(), Reply::ok("old").with("etag", "\"e\""));
        let object = bed.object([
            tagged(aged(old, "max-age=60")),
            tagged(Reply::ok("old").with("etag", "\"e2\"")).head_at(&gate),
            tagged(Reply::ok("new").with("etag", "\"f\"")),
        ]);
        object.get().await;
        assert_eq!(summary(&object.get().await), (200, "HIT", "old"), "{selector}");
        bed.site.origin.wait_asked(&object.key, 2).await;
        assert_eq!(purge(&bed, &object, selector).await, 1, "{selector}");
        let second = timeout(PATIENCE, object.get()).await.expect("it does not wait");
        assert_eq!(summary(&second), (200, "MISS", "new"), "{selector}");
        assert_eq!(object.asked(2).field("if-none-match"), "", "{selector}");
        gate.open();
        stays_new(&object, selector).await;
    }
}

/// RFC 9111 4.3.5
#[tokio::test]
async fn a_head_that_began_before_a_purge_brings_nothing_back() {
    let bed = Bed::start("", "").await;
    let gate = Gate::default();
    let object = bed.object([
        stale("old", "\"e\""),
        Reply::ok("old").with("etag", "\"e\"").with("cache-control", "max-age=300").head_at(&gate),
        Reply::ok("new"),
    ]);
    object.store().await;
    let (client, path) = (bed.site.client.clone(), object.path());
    let head = tokio::spawn(async move { client.head(&path).await });
    bed.site.origin.wait_asked(&object.key, 2).await;
    assert_eq!(purge(&bed, &object, SELECTORS[0]).await, 1);
    gate.open();
    assert_eq!(head.await.unwrap().status, 200);
    assert_eq!(summary(&object.get().await), (200, "MISS", "new"));
    stays_new(&object, "head").await;
}
