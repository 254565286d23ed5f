//! RFC 5861: stale objects served while they are validated (section 3), and while the source fails (section 4).

use tokio::task::yield_now;
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::{Gate, Reply};

use crate::rfc9111::{Bed, Object, aged, near, says, stale, summary, ttl};
use crate::site::Site;

/// Returns an object that is stale by 40 seconds on arrival, with windows of its own.
fn windowed(control: &str) -> Reply {
    aged(Reply::ok("old").with("etag", "\"e\""), control)
}

/// Directives that forbid serving an object stale, whatever allows it (RFC 9111 4.2.4).
const FORBIDDING: [&str; 7] = [
    "max-age=60, must-revalidate",
    "max-age=60, Must-Revalidate, stale-while-revalidate=600, stale-if-error=600",
    "max-age=60, proxy-revalidate",
    "max-age=60, proxy-revalidate, stale-while-revalidate=600, stale-if-error=600",
    "s-maxage=60, stale-while-revalidate=600, stale-if-error=600",
    "max-age=900, s-maxage=60",
    "no-cache, stale-while-revalidate=600, stale-if-error=600",
];

#[track_caller]
fn check_meanwhile(answer: &Response, case: &str) {
    assert_eq!(summary(answer), (200, "HIT", "old"), "{case}");
    assert!(near(ttl(answer), -40), "{case}: {}", answer.field("cache-status"));
    assert!(says(answer, "detail=stale-while-revalidate"), "{case}: {}", answer.field("cache-status"));
    assert!(
        (100..200).contains(&answer.field("age").parse::<u64>().unwrap_or(0)),
        "{case}: {}",
        answer.field("age")
    );
}

/// RFC 5861 3
#[tokio::test]
async fn a_stale_object_is_served_at_once_while_it_is_validated() {
    let bed = Bed::start("", "").await;
    for control in ["max-age=60, stale-while-revalidate=600", "Stale-While-Revalidate=\"600\", max-age=60"] {
        let gate = Gate::default();
        let new = Reply::ok("new").with("etag", "\"f\"").head_at(&gate);
        let object = bed.object([windowed(control), new]);
        object.get().await;
        check_meanwhile(&object.get().await, control);
        bed.site.origin.wait_asked(&object.key, 2).await;
        let asked = object.asked(1);
        assert_eq!((asked.method.as_str(), asked.field("if-none-match")), ("GET", "\"e\""), "{control}");
        check_meanwhile(&object.get().await, control);
        gate.open();
        assert_eq!(summary(&object.until("new").await), (200, "HIT", "new"), "{control}");
        assert_eq!(object.times_asked(), 2, "{control}");
    }
}

/// RFC 5861 3
#[tokio::test]
async fn a_304_in_the_background_makes_it_fresh() {
    let bed = Bed::start("", "").await;
    let update = Reply::status(304).with("cache-control", "max-age=300").with("x-new", "1");
    let object = bed.object([windowed("max-age=60, stale-while-revalidate=600"), update]);
    object.get().await;
    check_meanwhile(&object.get().await, "stale");
    bed.site.origin.wait_asked(&object.key, 2).await;
    let fresh = async {
        loop {
            let answer = object.get().await;
            assert_eq!(summary(&answer), (200, "HIT", "old"));
            if !says(&answer, "detail=stale-while-revalidate") {
                return answer;
            }
            yield_now().await;
        }
    };
    let fresh = timeout(PATIENCE, fresh).await.expect("it is fresh in the end");
    assert!(near(ttl(&fresh), 300), "{}", fresh.field("cache-status"));
    assert_eq!((fresh.field("x-new"), object.times_asked()), ("1", 2));
}

/// RFC 5861 3
#[tokio::test]
async fn the_buckets_window_counts_where_the_object_has_none() {
    let bed = Bed::start("", "stale_while_revalidate: 600").await;
    let object = bed.object([windowed("max-age=60"), Reply::ok("new")]);
    object.get().await;
    check_meanwhile(&object.get().await, "the bucket's");
    assert_eq!(summary(&object.until("new").await), (200, "HIT", "new"));
}

/// RFC 5861 3: this also holds for an object without a validator.
#[tokio::test]
async fn an_object_without_a_validator_is_fetched_in_the_background() {
    let bed = Bed::start("", "").await;
    let old = aged(Reply::ok("old"), "max-age=60, stale-while-revalidate=600");
    let object = bed.object([old, Reply::ok("new")]);
    object.get().await;
    check_meanwhile(&object.get().await, "no validator");
    assert_eq!(summary(&object.until("new").await), (200, "HIT", "new"));
    assert_eq!(
        (object.asked(1).field("if-none-match"), object.asked(1).field("if-modified-since")),
        ("", "")
    );
}

/// Checks that an object is validated before it is served.
async fn check_validated_first(object: &Object<'_>, case: &str) {
    object.get().await;
    let answer = object.get().await;
    assert_eq!(summary(&answer), (200, "REVALIDATED", "old"), "{case}");
    assert!(says(&answer, "fwd=stale"), "{case}: {}", answer.field("cache-status"));
    assert_eq!(object.asked(1).field("if-none-match"), "\"e\"", "{case}");
}

/// RFC 5861 3
#[tokio::test]
async fn without_a_window_or_after_it_the_client_waits() {
    let bed = Bed::start("", "").await;
    for control in [
        "max-age=60",
        "max-age=60, stale-while-revalidate=30",
        "max-age=60, stale-while-revalidate=soon",
        "max-age=60, stale-if-error=600",
    ] {
        check_validated_first(&bed.object([windowed(control), Reply::status(304)]), control).await;
    }
}

/// RFC 5861 3
#[tokio::test]
async fn the_objects_window_counts_before_the_buckets() {
    let bed = Bed::start("", "stale_while_revalidate: 600").await;
    for control in ["max-age=60, stale-while-revalidate=0", "max-age=60, stale-while-revalidate=30"] {
        check_validated_first(&bed.object([windowed(control), Reply::status(304)]), control).await;
    }
}

/// RFC 5861 3, RFC 9111 4.2.4
#[tokio::test]
async fn what_forbids_stale_answers_is_validated_first() {
    let bed = Bed::start("", "stale_while_revalidate: 600, stale_if_error: 600").await;
    for control in FORBIDDING {
        check_validated_first(&bed.object([windowed(control), Reply::status(304)]), control).await;
    }
    // `override` changes lifetimes only.
    let bed = Bed::start("", "ttl: 60, cache_control: override, stale_while_revalidate: 600").await;
    for control in ["must-revalidate", "proxy-revalidate", "no-cache"] {
        check_validated_first(&bed.object([windowed(control), Reply::status(304)]), control).await;
    }
}

/// RFC 9111 5.2.1.4, 5.2.1.1
#[tokio::test]
async fn a_client_may_ask_for_a_fresh_object() {
    let bed = Bed::start("", "stale_while_revalidate: 600").await;
    for directives in ["no-cache", "max-age=50", "min-fresh=1"] {
        let object = bed.object([windowed("max-age=60"), Reply::status(304)]);
        object.get().await;
        let answer = object.get_with(&[("cache-control", directives)]).await;
        assert_eq!(summary(&answer), (200, "REVALIDATED", "old"), "{directives}");
    }
}

/// RFC 5861 3: requests during the validation start no other one.
#[tokio::test]
async fn there_is_one_background_request_for_each_object() {
    let bed = Bed::start("", "stale_while_revalidate: 600").await;
    let gate = Gate::default();
    let new = || Reply::ok("new").with("etag", "\"f\"").head_at(&gate);
    let objects = [bed.object([windowed("max-age=60"), new()]), bed.object([windowed("max-age=60"), new()])];
    for object in &objects {
        object.get().await;
        check_meanwhile(&object.get().await, &object.key);
        let clients: Vec<_> = (0..10).map(|_| object.begin()).collect();
        for client in clients {
            check_meanwhile(&client.await.unwrap(), &object.key);
        }
        bed.site.origin.wait_asked(&object.key, 2).await;
        check_meanwhile(&object.get().await, &object.key);
    }
    gate.open();
    for object in &objects {
        assert_eq!(summary(&object.until("new").await), (200, "HIT", "new"));
        assert_eq!(object.times_asked(), 2);
    }
}

/// RFC 5861 3: a failure in the background reaches no client, and the next request tries again.
#[tokio::test]
async fn a_background_request_that_fails_is_made_again() {
    let bed = Bed::start("", "stale_while_revalidate: 600").await;
    for failure in [Reply::status(500), Reply::closes()] {
        let object = bed.object([windowed("max-age=60"), failure]);
        object.get().await;
        check_meanwhile(&object.get().await, "before the failure");
        bed.site.origin.wait_asked(&object.key, 2).await;
        check_meanwhile(&object.get().await, "after the failure");
        object.answers([Reply::ok("new")]);
        assert_eq!(summary(&object.until("new").await), (200, "HIT", "new"));
    }
}

/// Checks that a stale object is served instead of the source's failure.
#[track_caller]
fn check_instead(answer: &Response, case: &str) {
    assert_eq!(summary(answer), (200, "STALE", "old"), "{case}");
    assert!(says(answer, "fwd=stale"), "{case}: {}", answer.field("cache-status"));
    assert!(says(answer, "detail=stale-if-error"), "{case}: {}", answer.field("cache-status"));
    assert!(answer.field("age").parse::<u64>().unwrap_or(0) >= 100, "{case}: {}", answer.field("age"));
}

/// Checks that the source's failure reaches the client.
#[track_caller]
fn check_failed(answer: &Response, case: &str) {
    assert!((500..=504).contains(&answer.status), "{case}: {}", answer.status);
    assert_eq!(answer.field("content-type"), "application/problem+json", "{case}");
    assert_eq!(answer.field("x-cache"), "MISS", "{case}");
}

/// RFC 5861 4: the window comes from the object or from the bucket.
#[tokio::test]
async fn a_stale_object_is_served_instead_of_a_failure() {
    for (cache, control) in [
        ("", "max-age=60, stale-if-error=600"),
        ("", "max-age=60, Stale-If-Error=\"600\""),
        ("stale_if_error: 600", "max-age=60"),
    ] {
        let bed = Bed::start("", cache).await;
        for status in [500, 502, 503, 504] {
            let object = bed.object([windowed(control), Reply::status(status), Reply::status(304)]);
            object.get().await;
            let answer = object.get().await;
            check_instead(&answer, control);
            let said = answer.field("cache-status");
            assert!(says(&answer, &format!("fwd-status={status}")), "{said}");
            assert_eq!(object.asked(1).field("if-none-match"), "\"e\"");
            assert_eq!(summary(&object.get().await), (200, "REVALIDATED", "old"), "once {status} is over");
        }
    }
}

/// RFC 5861 4: a source that cannot be reached has failed.
#[tokio::test]
async fn a_stale_object_is_served_when_the_connection_is_closed() {
    let bed = Bed::start("", "stale_if_error: 600").await;
    let object = bed.object([windowed("max-age=60"), Reply::closes()]);
    object.get().await;
    let answer = object.get().await;
    check_instead(&answer, "closed");
    assert!(!answer.field("cache-status").contains("fwd-status"), "{}", answer.field("cache-status"));
}

/// RFC 5861 4
#[tokio::test]
async fn a_stale_object_is_served_when_the_connection_is_refused() {
    let mut site = Site::by_hand("").await;
    let asked = site.begin("/static/k");
    let mut exchange = site.origin.next().await;
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nage: 100\r\nconnection: close\r\ncache-control: max-age=60, \
                stale-if-error=600\r\n\r\n";
    exchange.write(format!("{head}old")).await;
    assert_eq!(asked.await.unwrap().body, "old");
    let storing = async {
        let stored = [("cache-control", "only-if-cached, max-stale")];
        while site.client.get_with("/static/k", &stored).await.status == 504 {
            yield_now().await;
        }
    };
    timeout(PATIENCE, storing).await.expect("it is stored in the end");
    drop(exchange);
    site.origin.refuse().await;
    check_instead(&site.client.get("/static/k").await, "refused");
}

/// RFC 5861 4: the client's conditions are compared with the stale object.
#[tokio::test]
async fn conditions_are_decided_by_the_stale_object() {
    let bed = Bed::start("", "stale_if_error: 600").await;
    let object = bed.object([windowed("max-age=60"), Reply::status(500)]);
    object.get().await;
    for (condition, status) in [("\"e\"", 304), ("\"f\"", 200)] {
        let answer = object.get_with(&[("if-none-match", condition)]).await;
        assert_eq!((answer.status, answer.field("x-cache")), (status, "STALE"), "{condition}");
    }
}

/// RFC 5861 4
#[tokio::test]
async fn without_a_window_or_after_it_the_failure_is_passed_on() {
    let bed = Bed::start("", "").await;
    for control in [
        "max-age=60",
        "max-age=60, stale-if-error=30",
        "max-age=60, stale-if-error=soon",
        "max-age=60, stale-if-error",
    ] {
        let object = bed.object([windowed(control), Reply::status(500)]);
        object.get().await;
        check_failed(&object.get().await, control);
    }
}

/// RFC 5861 4
#[tokio::test]
async fn the_objects_window_for_errors_counts_before_the_buckets() {
    let bed = Bed::start("", "stale_if_error: 600").await;
    for control in ["max-age=60, stale-if-error=0", "max-age=60, stale-if-error=30"] {
        let object = bed.object([windowed(control), Reply::status(500)]);
        object.get().await;
        check_failed(&object.get().await, control);
    }
}

/// RFC 5861 4: a source that refuses a request has not failed.
#[tokio::test]
async fn refusals_are_no_failures() {
    let bed = Bed::start("", "stale_if_error: 600").await;
    for status in [404, 403] {
        let object = bed.object([windowed("max-age=60"), Reply::status(status)]);
        object.get().await;
        assert_eq!(object.get().await.status, status);
    }
}

/// RFC 5861 4, RFC 9111 4.2.4
#[tokio::test]
async fn what_forbids_stale_answers_is_not_served_instead_of_a_failure() {
    let bed = Bed::start("", "stale_while_revalidate: 600, stale_if_error: 600").await;
    for control in FORBIDDING {
        for failure in [Reply::status(500), Reply::status(503), Reply::closes()] {
            let object = bed.object([windowed(control), failure]);
            object.get().await;
            check_failed(&object.get().await, control);
        }
    }
}

/// RFC 5861 4: a client may allow a stale object itself, but not against the object's directives.
#[tokio::test]
async fn a_client_may_accept_a_stale_object_instead_of_a_failure() {
    let accepting = [("cache-control", "stale-if-error=600")];
    let bed = Bed::start("", "").await;
    let object = bed.object([stale("old", "\"e\""), Reply::status(500)]);
    object.get().await;
    check_failed(&object.get().await, "not accepted");
    check_failed(&object.get_with(&[("cache-control", "stale-if-error=30")]).await, "stale for longer");
    check_instead(&object.get_with(&accepting).await, "accepted");
    let object = bed.object([windowed("max-age=60, must-revalidate"), Reply::status(500)]);
    object.get().await;
    check_failed(&object.get_with(&accepting).await, "forbidden");
}
