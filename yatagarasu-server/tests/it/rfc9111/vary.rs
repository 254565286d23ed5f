//! RFC 9111 4.1: the selection of the variant that answers a request.

use yatagarasu_testing::origin::Reply;

use super::{Bed, says, stale, summary};

type Fields<'a> = &'a [(&'a str, &'a str)];

/// Starts a gateway that forwards the fields these objects vary on.
async fn forwarding() -> Bed {
    let fields =
        "\"accept\", \"accept-charset\", \"accept-encoding\", \"accept-language\", \"x-device\", \"x-other\"";
    Bed::start(&format!("forward_headers: [{fields}]"), "").await
}

/// Returns a variant with its `Vary` fields.
fn variant(content: &'static str) -> Reply {
    Reply::ok(content)
        .with("vary", "Accept, accept-charset ,Accept-Encoding")
        .with("vary", "Accept-Language,X-Device")
}

/// Checks that two requests get the same variant.
async fn check_same(bed: &Bed, first: Fields<'_>, second: Fields<'_>) {
    let object = bed.object([variant("one"), variant("two")]);
    assert_eq!(summary(&object.get_with(first).await), (200, "MISS", "one"), "{first:?}");
    assert_eq!(summary(&object.get_with(second).await), (200, "HIT", "one"), "{first:?} {second:?}");
    assert_eq!(object.times_asked(), 1, "{first:?} {second:?}");
}

/// Checks that two requests get variants of their own, which are stored side by side.
async fn check_different(bed: &Bed, first: Fields<'_>, second: Fields<'_>) {
    let object = bed.object([variant("one"), variant("two")]);
    assert_eq!(summary(&object.get_with(first).await), (200, "MISS", "one"), "{first:?}");
    let other = object.get_with(second).await;
    assert_eq!(summary(&other), (200, "MISS", "two"), "{first:?} {second:?}");
    assert!(says(&other, "fwd=vary-miss"), "{second:?}: {}", other.field("cache-status"));
    assert_eq!(object.asked(1).field("if-none-match"), "", "{first:?} {second:?}");
    assert_eq!(summary(&object.get_with(first).await), (200, "HIT", "one"), "{first:?} {second:?}");
    assert_eq!(summary(&object.get_with(second).await), (200, "HIT", "two"), "{first:?} {second:?}");
}

#[tokio::test]
async fn requests_that_differ_in_a_field_named_get_their_own_variants() {
    let bed = forwarding().await;
    check_different(&bed, &[("accept-language", "de")], &[("accept-language", "en")]).await;
    check_different(&bed, &[("accept-encoding", "br")], &[("accept-encoding", "br, gzip")]).await;
    check_different(&bed, &[("accept", "a/b;q=0.5")], &[("accept", "a/b;q=0.6")]).await;
    check_different(&bed, &[("x-device", "a")], &[("x-device", "b")]).await;
    let both = [("x-device", "a"), ("accept-language", "de")];
    check_different(&bed, &both, &[("x-device", "a"), ("accept-language", "en")]).await;
    check_different(&bed, &both, &[("accept-language", "de")]).await;
}

/// A missing field matches only if it is missing in both requests.
#[tokio::test]
async fn a_field_that_is_missing_is_a_variant_of_its_own() {
    let bed = forwarding().await;
    check_different(&bed, &[], &[("accept-language", "de")]).await;
    check_different(&bed, &[("x-device", "a")], &[]).await;
    check_same(&bed, &[], &[]).await;
}

#[tokio::test]
async fn preferences_are_compared_whatever_their_case_order_and_spaces() {
    let bed = forwarding().await;
    check_same(&bed, &[("accept-language", "de, en;q=0.5")], &[("accept-language", "DE,EN; q=0.5")]).await;
    check_same(&bed, &[("accept-encoding", "gzip, br")], &[("accept-encoding", "br,GZIP")]).await;
    check_same(
        &bed,
        &[("accept-charset", "utf-8 , latin1;q=0.1")],
        &[("accept-charset", "latin1;q=0.1,UTF-8")],
    )
    .await;
    check_same(&bed, &[("accept", "text/html, */*;q=0.1")], &[("accept", "*/*;q=0.1,Text/HTML")]).await;
    let two_fields = [("accept-language", "de"), ("accept-language", "en")];
    check_same(&bed, &two_fields, &[("accept-language", "de, en")]).await;
}

/// RFC 9110 12.5.4: to some recipients the first language is the best.
#[tokio::test]
async fn the_order_of_languages_matters() {
    let bed = forwarding().await;
    check_different(&bed, &[("accept-language", "de, en")], &[("accept-language", "en, de")]).await;
}

/// For a field of unknown meaning, only the rules for all lists apply (RFC 9110 5.6.1).
#[tokio::test]
async fn other_fields_are_compared_without_the_spaces_at_commas() {
    let bed = forwarding().await;
    check_same(&bed, &[("x-device", "a , b")], &[("x-device", "a,b")]).await;
    check_same(&bed, &[("x-device", "a"), ("x-device", "b")], &[("x-device", "a, b")]).await;
    check_different(&bed, &[("x-device", "a, b")], &[("x-device", "b, a")]).await;
    check_different(&bed, &[("x-device", "a")], &[("x-device", "A")]).await;
    check_different(&bed, &[("x-device", "a b")], &[("x-device", "a  b")]).await;
}

#[tokio::test]
async fn fields_that_are_forwarded_but_not_named_do_not_matter() {
    let bed = forwarding().await;
    check_same(&bed, &[("x-other", "1")], &[("x-other", "2")]).await;
    let object = bed.object([Reply::ok("one"), Reply::ok("two")]);
    object.get_with(&[("x-device", "a")]).await;
    assert_eq!(summary(&object.get_with(&[("x-device", "b")]).await), (200, "HIT", "one"));
    assert_eq!(object.asked(0).field("x-device"), "a");
}

#[tokio::test]
async fn fields_that_never_reach_the_source_do_not_matter() {
    for s3 in ["", "forward_headers: [\"*\"]"] {
        let bed = Bed::start(s3, "").await;
        let object = bed.object([Reply::ok("one").with("vary", "Cookie"), Reply::ok("two")]);
        object.get_with(&[("cookie", "a=1")]).await;
        let answer = object.get_with(&[("cookie", "a=2")]).await;
        assert_eq!(summary(&answer), (200, "HIT", "one"), "{s3}");
        assert_eq!(answer.field("vary"), "Cookie", "other caches want to know: {s3}");
    }
    let bed = Bed::start("", "").await;
    let object = bed.object([Reply::ok("one").with("vary", "User-Agent"), Reply::ok("two")]);
    object.get_with(&[("user-agent", "a")]).await;
    assert_eq!(summary(&object.get_with(&[("user-agent", "b")]).await), (200, "HIT", "one"));
    assert_ne!(object.asked(0).field("user-agent"), "a");
}

#[tokio::test]
async fn a_star_never_matches() {
    let bed = forwarding().await;
    for vary in ["*", "Accept, *", " * ,X-Device", "no name"] {
        let object = bed.object([Reply::ok("x").with("etag", "\"e\"").with("vary", vary)]);
        object.is_never_stored(&[("x-device", "a")], vary).await;
    }
}

/// S3 names `Origin` in `Vary` only if the request has one.
#[tokio::test]
async fn every_origin_has_an_answer_of_its_own() {
    const METHOD: (&str, &str) = ("access-control-request-method", "GET");
    const HEADERS: (&str, &str) = ("access-control-request-headers", "x-a");
    const ORIGIN: (&str, &str) = ("origin", "https://a.example");
    let requests: [Fields<'_>; 3] = [&[], &[ORIGIN], &[("origin", "https://b.example")]];
    let vary = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
    let bed = Bed::start("", "").await;
    let allowing = |content: &'static str, origin: &str| {
        Reply::ok(content).with("access-control-allow-origin", origin).with("vary", vary)
    };
    let object = bed.object([Reply::ok("0"), allowing("1", ORIGIN.1), allowing("2", "https://b.example")]);
    for x_cache in ["MISS", "HIT"] {
        for (content, fields) in ["0", "1", "2"].into_iter().zip(requests) {
            let answer = object.get_with(fields).await;
            assert_eq!(summary(&answer), (200, x_cache, content), "{fields:?}");
            let origin = fields.first().map_or("", |(_, origin)| *origin);
            assert_eq!(answer.field("access-control-allow-origin"), origin, "{fields:?}");
        }
    }
    // What a preflight asks means nothing here, and S3 would leave the CORS fields out.
    let answer = object.get_with(&[ORIGIN, METHOD, HEADERS]).await;
    assert_eq!(summary(&answer), (200, "HIT", "1"));
    assert_eq!(object.times_asked(), 3);
    let asked = [0, 1, 2].map(|index| object.asked(index).field("origin").to_owned());
    assert_eq!(asked, ["", ORIGIN.1, "https://b.example"]);
}

#[tokio::test]
async fn forwarding_all_fields_leaves_out_who_the_client_is() {
    let bed = Bed::start("forward_headers: [\"*\"]", "").await;
    let object = bed.object([Reply::ok("x")]);
    let fields = [
        ("authorization", "Bearer of-the-client"),
        ("cookie", "session=1"),
        ("host", "client.example"),
        ("if-none-match", "\"of-the-client\""),
        ("accept-language", "de"),
        ("x-anything", "1"),
        ("x-anything", "2"),
        ("user-agent", "of-the-client"),
    ];
    assert_eq!(object.get_with(&fields).await.status, 200);
    let asked = object.asked(0);
    let language = asked.field("accept-language");
    assert_eq!(
        (language, asked.field("x-anything"), asked.field("user-agent")),
        ("de", "1, 2", "of-the-client")
    );
    assert_eq!((asked.field("cookie"), asked.field("if-none-match")), ("", ""));
    assert!(
        asked.field("authorization").starts_with("AWS4-HMAC-SHA256 "),
        "{}",
        asked.field("authorization")
    );
    assert!(asked.field("host").starts_with("127.0.0.1:"), "{}", asked.field("host"));
}

#[tokio::test]
async fn with_all_fields_forwarded_those_named_select_the_variant() {
    let bed = Bed::start("forward_headers: [\"*\"]", "").await;
    check_different(&bed, &[("x-device", "a")], &[("x-device", "b")]).await;
    check_same(&bed, &[("x-device", "a"), ("x-else", "1")], &[("x-device", "a"), ("x-else", "2")]).await;
}

/// RFC 9111 4.3.1: each variant is validated by its own validator.
#[tokio::test]
async fn every_variant_is_validated_by_itself() {
    let bed = forwarding().await;
    let vary = |reply: Reply| reply.with("vary", "X-Device");
    let object =
        bed.object([vary(stale("one", "\"1\"")), vary(stale("two", "\"2\"")), vary(Reply::status(304))]);
    for device in ["a", "b"] {
        object.get_with(&[("x-device", device)]).await;
    }
    for (index, device, tag, content) in [(2, "a", "\"1\"", "one"), (3, "b", "\"2\"", "two")] {
        let answer = object.get_with(&[("x-device", device)]).await;
        assert_eq!(summary(&answer), (200, "REVALIDATED", content), "{device}");
        let asked = object.asked(index);
        assert_eq!((asked.field("if-none-match"), asked.field("x-device")), (tag, device));
    }
}

#[tokio::test]
async fn a_purge_drops_all_variants() {
    let bed = forwarding().await;
    let object = bed.object([variant("one"), variant("two"), variant("new")]);
    for device in ["a", "b"] {
        object.get_with(&[("x-device", device)]).await;
        object.stored_only(&[("x-device", device)]).await;
    }
    assert_eq!(bed.purge(&format!("\"key\":{:?}", object.key)).await, 2);
    for device in ["a", "b"] {
        assert_eq!(
            summary(&object.get_with(&[("x-device", device)]).await),
            (200, "MISS", "new"),
            "{device}"
        );
    }
}
