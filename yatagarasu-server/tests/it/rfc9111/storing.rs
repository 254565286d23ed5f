//! RFC 9111 3, 3.1, 3.5, 5.2.2: which responses may be stored, and for which clients.

use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::Reply;

use super::{Bed, summary, with_fields};

/// Returns an object with a validator, so that only `Cache-Control` can keep it from being stored.
fn controlled(control: &str) -> Reply {
    Reply::ok("x").with("etag", "\"e\"").with("cache-control", control)
}

/// RFC 9111 5.2.2.5
#[tokio::test]
async fn no_store_is_never_stored() {
    let bed = Bed::start("", "").await;
    for control in ["no-store", "No-STORE", "no-store, max-age=60", "public, s-maxage=60 , no-store"] {
        bed.object([controlled(control)]).is_never_stored(&[], control).await;
    }
    let in_a_second_field = controlled("max-age=60").with("cache-control", "no-store");
    bed.object([in_a_second_field]).is_never_stored(&[], "two fields").await;
}

/// RFC 9111 5.2.2.7
#[tokio::test]
async fn private_is_never_stored() {
    let bed = Bed::start("", "").await;
    for control in [
        "private",
        "Private, max-age=60",
        "s-maxage=60, private",
        "private=\"\"",
        "private=\"no name\"",
        "private=\"x-mine\", private",
    ] {
        bed.object([controlled(control)]).is_never_stored(&[], control).await;
    }
}

/// Checks that fields named by `control` reach the client that the source answered, and no other.
async fn check_withheld(bed: &Bed, control: &str) {
    let fields = [("x-mine", "1"), ("x-other", "2"), ("x-kept", "3"), ("cache-control", control)];
    let object = bed.object([with_fields(Reply::ok("x"), &fields)]);
    let first = object.get().await;
    for (name, value) in fields {
        assert_eq!(first.field(name), value, "{control}");
    }
    let second = object.get().await;
    assert_eq!(summary(&second), (200, "HIT", "x"), "{control}");
    assert_eq!((second.field("x-kept"), second.field("cache-control")), ("3", control));
    for name in ["x-mine", "x-other"] {
        assert!(!second.headers.contains_key(name), "{name}: {control}");
    }
}

/// RFC 9111 5.2.2.7
#[tokio::test]
async fn fields_that_private_names_reach_the_first_client_only() {
    let bed = Bed::start("", "").await;
    for control in [
        "private=\"x-mine, x-other\", max-age=60",
        "max-age=60, Private=\"X-Other , X-Mine\"",
        "private=x-mine, private=\"x-other\"",
    ] {
        check_withheld(&bed, control).await;
    }
}

/// RFC 9111 5.2.2.4
#[tokio::test]
async fn fields_that_no_cache_names_reach_the_first_client_only() {
    let bed = Bed::start("", "").await;
    for control in [
        "no-cache=\"x-mine,x-other\", max-age=60",
        "no-cache=X-MINE, private=x-other",
        "no-cache=\"x-other\", private=\"x-mine\"",
    ] {
        check_withheld(&bed, control).await;
    }
}

/// RFC 9111 5.2.2.4
#[tokio::test]
async fn no_cache_is_stored_and_validated_each_time() {
    let bed = Bed::start("", "").await;
    for control in ["no-cache", "No-Cache, max-age=60", "s-maxage=60, no-cache", "no-cache=\"\""] {
        let object = bed.object([controlled(control), Reply::status(304)]);
        object.get().await;
        for count in 1..=2 {
            assert_eq!(summary(&object.get().await), (200, "REVALIDATED", "x"), "{control}");
            assert_eq!(object.asked(count).field("if-none-match"), "\"e\"", "{control}");
        }
    }
    let without_validator = Reply::ok("x").with("cache-control", "no-cache");
    bed.object([without_validator]).is_never_stored(&[], "nothing to validate it with").await;
}

/// RFC 9111 5.2.2.3: the gateway understands status 200, so `no-store` does not apply to it.
#[tokio::test]
async fn must_understand_lifts_no_store() {
    let bed = Bed::start("", "").await;
    for control in ["must-understand, no-store, max-age=60", "no-store, Must-Understand", "must-understand"] {
        let object = bed.object([controlled(control)]);
        object.get().await;
        assert_eq!(summary(&object.get().await), (200, "HIT", "x"), "{control}");
    }
    let private = "must-understand, no-store, private";
    bed.object([controlled(private)]).is_never_stored(&[], private).await;
}

/// RFC 9111 7.3: a cookie belongs to one client.
#[tokio::test]
async fn objects_with_a_cookie_are_not_stored_unless_it_is_withheld() {
    let bed = Bed::start("", "").await;
    let cookie = controlled("max-age=60").with("set-cookie", "session=1");
    bed.object([cookie]).is_never_stored(&[], "a cookie").await;

    let withheld = controlled("max-age=60, private=\"set-cookie\"").with("set-cookie", "session=1");
    let object = bed.object([withheld]);
    assert_eq!(object.get().await.field("set-cookie"), "session=1");
    let second = object.get().await;
    assert_eq!(summary(&second), (200, "HIT", "x"));
    assert!(!second.headers.contains_key("set-cookie"));
}

const BEARER: [(&str, &str); 1] = [("authorization", "Bearer of-the-client")];

const ANYONE: [(&str, &str); 0] = [];

/// RFC 9111 3.5
#[tokio::test]
async fn what_an_authorized_request_brought_is_shared_only_where_it_says_so() {
    let bed = Bed::start("", "").await;
    for (control, shared) in [
        ("max-age=60", false),
        ("max-age=60, proxy-revalidate", false),
        ("max-age=60, x-public", false),
        ("max-age=60, public", true),
        ("Public", true),
        ("s-maxage=60", true),
        ("max-age=60, must-revalidate", true),
    ] {
        let object = bed.object([controlled(control)]);
        assert_eq!(summary(&object.get_with(&BEARER).await), (200, "MISS", "x"), "{control}");
        let second = object.get().await;
        if shared {
            assert_eq!((second.field("x-cache"), object.times_asked()), ("HIT", 1), "{control}");
        } else {
            assert_eq!((second.field("x-cache"), object.times_asked()), ("MISS", 2), "{control}");
            assert_eq!(object.asked(1).field("if-none-match"), "", "{control}");
        }
    }
}

/// RFC 9111 3.5: this is about responses to such requests, not about responses to others.
#[tokio::test]
async fn authorized_requests_neither_miss_what_is_stored_nor_keep_others_from_storing() {
    let bed = Bed::start("", "").await;
    let object = bed.object([controlled("max-age=60")]);
    for (headers, x_cache) in
        [(&BEARER[..], "MISS"), (&ANYONE[..], "MISS"), (&ANYONE[..], "HIT"), (&BEARER[..], "HIT")]
    {
        assert_eq!(object.get_with(headers).await.field("x-cache"), x_cache, "{headers:?}");
    }
    let asked = object.asked(0);
    assert!(
        asked.field("authorization").starts_with("AWS4-HMAC-SHA256 "),
        "{}",
        asked.field("authorization")
    );
}

fn values<'a>(answer: &'a Response, name: &str) -> Vec<&'a [u8]> {
    answer.headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect()
}

/// RFC 9111 3.1, 5.2.3
#[tokio::test]
async fn unknown_fields_are_stored_and_passed_unchanged() {
    const FIELDS: [(&str, &str); 8] = [
        ("cache-control", "max-age=60, community=\"UCI, no-store\""),
        ("x-unknown", "kept"),
        ("x-list", "b, a"),
        ("x-list", "a,,c"),
        ("x-odd", "\"a, b\" ;c=\\ (d)"),
        ("x-utf-8", "gr\u{fc}n"),
        ("x-empty", ""),
        ("content-foo", "bar"),
    ];
    let bed = Bed::start("", "").await;
    let object = bed.object([with_fields(Reply::ok("x"), &FIELDS)]);
    for x_cache in ["MISS", "HIT"] {
        let answer = object.get().await;
        assert_eq!(answer.field("x-cache"), x_cache);
        for (name, _) in FIELDS {
            let sent: Vec<&[u8]> = FIELDS
                .iter()
                .filter(|(other, _)| *other == name)
                .map(|(_, value)| value.as_bytes())
                .collect();
            assert_eq!(values(&answer, name), sent, "{x_cache} {name}");
        }
    }
}

/// RFC 9111 3.1
#[tokio::test]
async fn fields_of_one_connection_or_one_proxy_are_not_stored() {
    const FIELDS: [(&str, &str); 6] = [
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic realm=\"r\""),
        ("proxy-authentication-info", "rspauth=\"1\""),
        ("proxy-authorization", "Basic eDp5"),
    ];
    let bed = Bed::start("", "").await;
    let object = bed.object([with_fields(controlled("max-age=60"), &FIELDS)]);
    object.get().await;
    let hit = object.get().await;
    assert_eq!(summary(&hit), (200, "HIT", "x"));
    for (name, _) in FIELDS {
        assert!(!hit.headers.contains_key(name), "{name}");
    }
}

/// The gateway remembers that an object may not be stored. A later response may be stored all the same.
#[tokio::test]
async fn what_could_not_be_stored_may_be_stored_later() {
    let bed = Bed::start("", "").await;
    for control in ["no-store", "private"] {
        let object = bed.object([controlled(control), Reply::ok("new")]);
        object.get().await;
        assert_eq!(summary(&object.get().await), (200, "MISS", "new"), "{control}");
        assert_eq!(summary(&object.stored_only(&[]).await), (200, "HIT", "new"), "{control}");
        assert_eq!(object.times_asked(), 2, "{control}");
    }
}
