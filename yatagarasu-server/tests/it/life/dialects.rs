//! S3's forms: what clients of S3 send, and S3 answers.

use yatagarasu_testing::origin::{Origin, Reply};

use crate::site::Site;

/// jamhall/s3rver#14: tags without quotes come from stores and from clients.
#[tokio::test]
async fn tags_without_quotes_are_understood_from_both_sides() {
    let site = Site::with("", "ttl: 0").await;
    site.origin.answer("k", [Reply::ok("0123456789").with("etag", "abc"), Reply::status(304)]);
    let first = site.client.get("/static/k").await;
    assert_eq!(first.field("etag"), "\"abc\"");
    crate::site::until(&site, |stats| stats["buckets"][0]["objects"] == 1).await;
    assert_eq!(site.client.get("/static/k").await.field("x-cache"), "REVALIDATED");
    assert_eq!(site.origin.asked("k")[1].field("if-none-match"), "\"abc\"");
    let get = |fields: &'static [(&str, &str)]| site.client.get_with("/static/k", fields);
    assert_eq!(get(&[("if-none-match", "abc")]).await.status, 304);
    assert_eq!(get(&[("if-none-match", "x, abc")]).await.status, 304);
    assert_eq!(get(&[("if-match", "abc")]).await.status, 200);
    assert_eq!(get(&[("if-match", "other")]).await.status, 412);
    assert_eq!(get(&[("range", "bytes=0-1"), ("if-range", "abc")]).await.status, 206);
    assert_eq!(get(&[("range", "bytes=0-1"), ("if-range", "other")]).await.status, 200);
}

#[tokio::test]
async fn tags_without_quotes_mean_the_same_where_s3_evaluates_them() {
    let site = Site::start().await;
    site.put("k", &[("etag", "\"abc\"")], "0123456789");
    let get = |fields: &'static [(&str, &str)]| site.client.get_with("/media/k", fields);
    assert_eq!(get(&[("if-none-match", "abc")]).await.status, 304);
    assert_eq!(get(&[("if-match", "abc")]).await.status, 200);
    assert_eq!(get(&[("if-match", "other")]).await.status, 412);
}

/// Some stores (moto, `MinIO`) compare one tag, and look at dates although there are tags.
#[tokio::test]
async fn conditions_mean_the_same_whatever_the_store_makes_of_them() {
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let origin = Origin::start().await;
    origin.decide(|request| {
        let field = |name| Some(request.field(name)).filter(|value| !value.is_empty());
        let status = if field("if-match").is_some_and(|tag| tag != "\"e\"")
            || field("if-unmodified-since").is_some_and(|at| at != MODIFIED)
        {
            412
        } else if field("if-none-match") == Some("\"e\"") || field("if-modified-since").is_some() {
            304
        } else {
            200
        };
        let body = if status == 200 { "0123456789" } else { "" };
        Some(Reply::ok(body).of_status(status).with("etag", "\"e\"").with("last-modified", MODIFIED))
    });
    let site = Site::over(origin, "", "", "").await;
    let since_2000 = "Sat, 01 Jan 2000 00:00:00 GMT";
    let since_1990 = "Mon, 01 Jan 1990 00:00:00 GMT";
    for (fields, status) in [
        (vec![("if-none-match", "\"x\""), ("if-modified-since", since_2000)], 200),
        (vec![("if-none-match", "\"e\""), ("if-modified-since", since_1990)], 304),
        (vec![("if-match", "\"e\""), ("if-unmodified-since", since_1990)], 200),
        (vec![("if-match", "*")], 200),
        (vec![("if-match", "\"x\", \"e\"")], 200),
        (vec![("if-match", "\"x\", \"y\"")], 412),
        (vec![("if-match", "W/\"e\"")], 412),
        (vec![("if-none-match", "\"x\", \"e\"")], 304),
        (vec![("if-none-match", "W/\"e\"")], 304),
        (vec![("if-none-match", "*")], 304),
        (vec![("if-match", "\"e\""), ("if-none-match", "\"e\"")], 304),
        (vec![("if-modified-since", since_2000)], 304),
        (vec![("if-none-match", "\"e\""), ("if-unmodified-since", since_1990)], 412),
        (vec![("if-modified-since", since_2000), ("if-unmodified-since", since_1990)], 412),
    ] {
        for path in ["/media/k", "/static/k"] {
            let answer = site.client.get_with(path, &fields).await;
            assert_eq!(answer.status, status, "{path} {fields:?}");
            let length = if status == 200 { 10 } else { 0 };
            assert!(status == 412 || answer.body.len() == length, "{path} {fields:?}");
            let head = site.client.send("HEAD", path, &fields, bytes::Bytes::new()).await;
            assert_eq!(head.status, status, "HEAD {path} {fields:?}");
        }
    }
}

/// moto answers the HEAD of a missing object with an empty page of HTML, which was taken for a proxy's.
#[tokio::test]
async fn an_empty_page_is_nobodys_page() {
    let site = Site::start().await;
    let missing = Reply::status(404).with("content-type", "text/html").with("content-length", "0");
    let page = Reply::ok("<html>").of_status(404).with("content-type", "text/html");
    site.origin.answer("k", [missing.clone(), missing]);
    assert_eq!(site.client.head("/static/k").await.status, 404);
    assert_eq!(site.client.get("/static/k").await.status, 404);
    let ours = page.clone().with("x-amzn-requestid", "A1");
    site.origin.answer("l", [page, ours]);
    assert_eq!(site.client.get("/static/l").await.status, 502);
    assert_eq!(site.client.get("/static/l").await.status, 404);
}

/// minio/minio#9789: a part of a multipart upload is a 206 that nobody asked for by `Range`.
#[tokio::test]
async fn a_part_by_its_number_is_neither_the_whole_nor_an_error() {
    let origin = Origin::start().await;
    origin.decide(|request| {
        let part = Reply::part("01234", 0, 10).with("x-amz-mp-parts-count", "2");
        Some(match request.query.as_str() {
            "" => Reply::ok("0123456789").with("etag", "\"e-2\""),
            "partNumber=1" => part.with("etag", "\"e-2\"").with("x-trans-id", "t1"),
            "partNumber=8" => Reply::status(416),
            _ => Reply::ok("<Error><Code>InvalidPartNumber</Code></Error>").of_status(416),
        })
    });
    let site = Site::of_bucket(origin, "", "forward_query: [\"partNumber\"]", "").await;
    for _ in 0..2 {
        let part = site.client.get("/static/k?partNumber=1").await;
        assert_eq!((part.status, &part.body[..]), (206, &b"01234"[..]));
        let fields = ["content-range", "x-amz-mp-parts-count", "content-length"];
        assert_eq!(part.field("x-trans-id"), "", "a number of the request, as Swift sends it");
        assert_eq!(fields.map(|name| part.field(name)), ["bytes 0-4/10", "2", "5"]);
        let head = site.client.head("/static/k?partNumber=1").await;
        assert_eq!((head.status, head.field("content-range")), (206, "bytes 0-4/10"));
        let whole = site.client.get("/static/k").await;
        assert_eq!((whole.status, &whole.body[..]), (200, &b"0123456789"[..]));
        assert_eq!(whole.field("x-amz-mp-parts-count"), "");
        for missing in [8, 9] {
            assert_eq!(site.client.get(&format!("/static/k?partNumber={missing}")).await.status, 416);
        }
    }
}

/// A version that does not exist, or whose id is nonsense, is the client's affair.
#[tokio::test]
async fn versions_are_objects_of_their_own() {
    let origin = Origin::start().await;
    origin.decide(|request| {
        let error =
            |status, code: &str| Reply::ok(format!("<Error><Code>{code}</Code></Error>")).of_status(status);
        Some(match request.query.as_str() {
            "" => Reply::ok("new").with("etag", "\"2\""),
            "versionId=1" => Reply::ok("old").with("etag", "\"1\""),
            "versionId=deleted" => error(405, "MethodNotAllowed").with("x-amz-delete-marker", "true"),
            "versionId=gone" => error(404, "NoSuchVersion"),
            _ => error(400, "InvalidArgument"),
        })
    });
    let site = Site::of_bucket(origin, "", "forward_query: [\"versionId\"]", "").await;
    for (query, status, body) in [
        ("", 200, "new"),
        ("?versionId=1", 200, "old"),
        ("?versionId=deleted", 404, ""),
        ("?versionId=gone", 404, ""),
        ("?versionId=abc", 400, ""),
    ] {
        for _ in 0..2 {
            let answer = site.client.get(&format!("/static/k{query}")).await;
            assert_eq!(answer.status, status, "{query}");
            assert!(status != 200 || answer.body == body, "{query}");
        }
    }
}

/// oxyno-zeta/s3-proxy#740: a range of everything that is answered with 200 makes Safari stop seeking.
#[tokio::test]
async fn a_range_of_everything_is_a_part_cold_and_warm() {
    for (range, part) in [
        ("bytes=0-", "bytes 0-99/100"),
        ("bytes=0-99", "bytes 0-99/100"),
        ("bytes=0-999999999", "bytes 0-99/100"),
        ("bytes=-999999999", "bytes 0-99/100"),
        ("bytes=0-1", "bytes 0-1/100"),
        ("bytes=0-0", "bytes 0-0/100"),
        ("bytes=-1", "bytes 99-99/100"),
    ] {
        let site = Site::start().await;
        site.put("k", &[], "x".repeat(100));
        for path in ["/static/k", "/media/k", "/static/k"] {
            let answer = site.client.get_with(path, &[("range", range)]).await;
            assert_eq!((answer.status, answer.field("content-range")), (206, part), "{path}: {range}");
        }
        site.store("/static/k").await;
        let answer = site.client.get_with("/static/k", &[("range", range)]).await;
        assert_eq!((answer.status, answer.field("content-range")), (206, part), "stored: {range}");
        assert_eq!(answer.field("x-cache"), "HIT");
    }
}

/// NVIDIA/nvcf#1338: a malformed range is ignored, and never reaches S3 as it is.
#[tokio::test]
async fn what_is_no_range_is_the_whole_cold_and_warm() {
    for range in ["bytes=0--1", "bytes=a-b", "bytes=5-2", "items=0-1", "bytes=", "bytes 0-1"] {
        let site = Site::start().await;
        site.put("k", &[], "0123456789");
        for path in ["/static/k", "/media/k", "/static/k"] {
            let answer = site.client.get_with(path, &[("range", range)]).await;
            assert_eq!((answer.status, answer.body.len()), (200, 10), "{path}: {range}");
            assert!(!answer.headers.contains_key("content-range"));
        }
        assert!(site.origin.asked("k").iter().all(|request| request.field("range").is_empty()), "{range}");
    }
}

/// `apt` asks a flat repository for `apt/./Packages.gz`.
#[tokio::test]
async fn a_single_dot_in_a_path_is_removed_and_two_are_refused() {
    let site = Site::start().await;
    site.put("apt/Packages.gz", &[], "packages");
    for path in ["/static/apt/./Packages.gz", "/static/./apt/Packages.gz", "/static/apt/%2e/Packages.gz"] {
        let answer = site.client.send("GET", path, &[], "".into()).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"packages"[..]), "{path}");
    }
    assert_eq!(site.origin.asked("apt/Packages.gz").len(), 1, "one object");
    assert_eq!(site.client.get("/static/apt/%2e%2e/Packages.gz").await.status, 400);
}

/// aptly-dev/aptly#98: AWS reads a raw `+` as a space.
#[tokio::test]
async fn a_plus_in_a_path_is_a_plus() {
    let site = Site::start().await;
    site.put("libstdc++.deb", &[], "package");
    for path in ["/static/libstdc++.deb", "/static/libstdc%2B%2B.deb", "/static/libstdc%2b+.deb"] {
        assert_eq!(site.client.get(path).await.status, 200, "{path}");
    }
    let asked = site.origin.asked("libstdc++.deb");
    assert_eq!((asked.len(), &*asked[0].target), (1, "/bucket/libstdc%2B%2B.deb"));
}

/// OSGeo/gdal#3703: SDKs add `x-id=GetObject`.
#[tokio::test]
async fn what_sdks_add_makes_no_copy() {
    for query in ["[]", "[\"*\"]"] {
        let site = Site::with(&format!("forward_query: {query}"), "").await;
        site.put("k", &[], "x");
        site.client.get("/static/k").await;
        site.store("/static/k").await;
        assert_eq!(site.client.get("/static/k?x-id=GetObject").await.field("x-cache"), "HIT", "{query}");
        assert_eq!(site.origin.asked("k").len(), 1);
    }
}
