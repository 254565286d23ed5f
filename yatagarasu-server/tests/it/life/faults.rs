//! Whose fault is it? Four parties can be at fault, and everything follows from which.

use std::time::{Duration, SystemTime};

use yatagarasu_testing::origin::{Gate, Origin, Reply, Request};

use crate::site::Site;

/// Returns a refusal of S3 with a document.
fn refusal(status: u16, code: &str) -> Reply {
    let document = format!("<Error><Code>{code}</Code><Message>of S3</Message></Error>");
    Reply::ok(document)
        .of_status(status)
        .with("content-type", "application/xml")
        .with("x-amz-request-id", "R1")
}

async fn metric(site: &Site, sample: &str) -> u64 {
    let metrics = site.admin.get("/metrics").await;
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{sample} in {}", metrics.text())).parse().unwrap()
}

async fn credentials_valid(site: &Site) -> u64 {
    metric(site, "yatagarasu_credentials_valid{bucket=\"assets\"}").await
}

/// A client that asks for nonsense got a 502, and each request that waited asked S3 again.
#[tokio::test]
async fn a_clients_mistake_is_400_after_one_request_to_s3() {
    for code in ["InvalidArgument", "InvalidRequest", "KeyTooLongError", "InvalidURI"] {
        let site = Site::start().await;
        site.origin.answer("k", [refusal(400, code)]);
        let answer = site.client.get("/static/k").await;
        assert_eq!(answer.status, 400, "{code}");
        assert_eq!(site.origin.asked("k").len(), 1, "{code}");
        let samples = ["client", "source", "gateway"]
            .map(|fault| format!("yatagarasu_source_errors_total{{bucket=\"assets\",fault=\"{fault}\"}}"));
        let counts = [
            metric(&site, &samples[0]).await,
            metric(&site, &samples[1]).await,
            metric(&site, &samples[2]).await,
        ];
        assert_eq!(counts, [1, 0, 0], "{code}");
    }
}

/// nginx/nginx-s3-gateway#584: a refusal of the gateway's own keys was cached and shown to all.
#[tokio::test]
async fn refused_keys_are_the_gateways_fault_and_are_not_remembered() {
    for (status, code) in [
        (403, "SignatureDoesNotMatch"),
        (403, "InvalidAccessKeyId"),
        (400, "ExpiredToken"),
        (400, "InvalidToken"),
        (403, "RequestTimeTooSkewed"),
        (401, "Unauthorized"),
    ] {
        let site = Site::with("", "negative_ttl: 60, negative_statuses: [404, 403]").await;
        site.origin.answer("k", [refusal(status, code), Reply::ok("there")]);
        assert_eq!(credentials_valid(&site).await, 1);
        assert_eq!(site.client.get("/static/k").await.status, 502, "{code}");
        assert_eq!(credentials_valid(&site).await, 0, "{code}");
        assert_eq!(site.client.get("/static/k").await.status, 200, "{code}");
        assert_eq!(credentials_valid(&site).await, 1, "{code}");
    }
}

#[tokio::test]
async fn a_stale_object_bridges_the_time_in_which_keys_are_refused() {
    let site = Site::with("", "stale_if_error: 60, ttl: 0").await;
    let found = || Reply::ok("old").with("etag", "\"e\"");
    site.origin.answer(
        "k",
        [found(), refusal(403, "InvalidAccessKeyId"), refusal(400, "AuthorizationHeaderMalformed")],
    );
    site.client.get("/static/k").await;
    crate::site::until(&site, |stats| stats["buckets"][0]["objects"] == 1).await;
    for _ in ["keys", "region"] {
        let answer = site.client.get("/static/k").await;
        assert_eq!((answer.status, answer.field("x-cache"), &answer.body[..]), (200, "STALE", &b"old"[..]));
    }
}

/// mozilla/igv#698 and awslabs/mountpoint-s3#152: an archived object exists, and cannot be read.
#[tokio::test]
async fn an_archived_object_is_neither_missing_nor_a_failure() {
    let site = Site::with("access_denied: not_found", "").await;
    site.origin.answer("k", [refusal(403, "InvalidObjectState")]);
    let answer = site.client.get("/static/k").await;
    assert_eq!(answer.status, 403);
    assert!(answer.json()["detail"].as_str().unwrap().contains("archived"));
    assert_eq!(site.origin.asked("k").len(), 1);
}

/// Without the permission to list, S3 says `AccessDenied` for what does not exist; tile readers need 404.
#[tokio::test]
async fn access_denied_may_mean_that_nothing_is_there() {
    for (setting, status) in [("", 403), ("access_denied: not_found", 404)] {
        let site = Site::with(setting, "negative_ttl: 60").await;
        site.origin.answer("k", [refusal(403, "AccessDenied")]);
        for _ in 0..2 {
            assert_eq!(site.client.get("/static/k").await.status, status);
        }
        let asked = if status == 404 { 1 } else { 2 };
        assert_eq!(site.origin.asked("k").len(), asked, "{setting}: a 404 is remembered");
        site.origin.answer("head", [Reply::status(403)]);
        assert_eq!(site.client.head("/static/head").await.status, status, "{setting}");
        // The gateway's own trouble does not look like a missing object.
        site.origin.answer("own", [refusal(403, "SignatureDoesNotMatch")]);
        assert_eq!(site.client.get("/static/own").await.status, 502, "{setting}");
    }
}

/// Anybody's HEAD emptied the cache, key by key, while the clock was wrong.
#[tokio::test]
async fn a_refused_head_takes_nothing_away() {
    let site = Site::with("", "negative_ttl: 60, negative_statuses: [404, 403]").await;
    site.origin.answer("k", [Reply::ok("there").with("etag", "\"e\""), Reply::status(403)]);
    site.client.get("/static/k").await;
    site.store("/static/k").await;
    let asked = [("cache-control", "no-cache")];
    assert_eq!(site.client.send("HEAD", "/static/k", &asked, "".into()).await.status, 403);
    let again = site.client.get("/static/k").await;
    assert_eq!((again.status, again.field("x-cache")), (200, "HIT"));
    // Nor is it remembered: a GET would be told the reason.
    site.origin.answer("new", [Reply::status(403), Reply::ok("there")]);
    assert_eq!(site.client.head("/static/new").await.status, 403);
    assert_eq!(site.client.get("/static/new").await.status, 200);
}

/// boto/boto3#1488: a HEAD's refusal has no document, so that an expired token was a bare 400.
#[tokio::test]
async fn a_bare_400_to_a_head_is_explained_by_a_get_of_one_byte() {
    let site = Site::start().await;
    site.origin.decide(|request: &Request| {
        Some(if request.method == "HEAD" { Reply::status(400) } else { refusal(400, "ExpiredToken") })
    });
    assert_eq!(site.client.head("/static/k").await.status, 502);
    let asked = site.origin.asked("k");
    assert_eq!((asked.len(), asked[1].field("range")), (2, "bytes=0-0"));
    assert_eq!(credentials_valid(&site).await, 0);
}

/// A machine whose clock is wrong got 403 for everything. SDKs take S3's time, and so does the gateway.
#[tokio::test]
async fn a_wrong_clock_is_corrected_by_s3s() {
    let origin = Origin::start().await;
    let ahead = Duration::from_secs(3600);
    origin.decide(move |request| {
        let theirs = SystemTime::now() + ahead;
        let refused =
            if request.method == "HEAD" { Reply::status(403) } else { refusal(403, "RequestTimeTooSkewed") };
        let refused = refused.with("date", &httpdate::fmt_http_date(theirs));
        Some(if is_in_time(request, theirs) { Reply::ok("there") } else { refused })
    });
    let site = Site::of_bucket(origin, "", "", "").await;
    assert_eq!(site.client.head("/static/first").await.status, 200, "S3's `Date` tells, without a code");
    assert_eq!(site.client.get("/static/k").await.status, 200);
    assert_eq!(site.origin.asked("first").len(), 2);
    assert_eq!(site.origin.asked("k").len(), 1, "learned once");
    assert_eq!(credentials_valid(&site).await, 1);
}

/// Requests that are on their way when the clock is corrected are refused for the old time. Four of five were 502.
#[tokio::test]
async fn requests_that_meet_a_wrong_clock_together_are_all_answered() {
    let origin = Origin::start().await;
    let ahead = Duration::from_secs(3600);
    let together = Gate::default();
    let gate = together.clone();
    origin.decide(move |request| {
        let theirs = SystemTime::now() + ahead;
        let refused = refusal(403, "RequestTimeTooSkewed").with("date", &httpdate::fmt_http_date(theirs));
        Some(if is_in_time(request, theirs) { Reply::ok("there") } else { refused.head_at(&gate) })
    });
    let site = Site::of_bucket(origin, "", "", "").await;
    let keys = ["0", "1", "2", "3", "4"];
    let answers = keys.map(|key| site.begin(&format!("/static/{key}")));
    for key in keys {
        site.origin.wait_asked(key, 1).await;
    }
    together.open();
    for answer in answers {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert_eq!(credentials_valid(&site).await, 1);
}

/// Returns `true` if a request was signed within 15 minutes of `theirs`, as S3 wants it.
fn is_in_time(request: &Request, theirs: SystemTime) -> bool {
    let tolerated = Duration::from_secs(15 * 60);
    let signed_at = request.field("x-amz-date");
    (iso(theirs - tolerated).as_str()..=iso(theirs + tolerated).as_str()).contains(&signed_at)
}

/// Returns a time as `YYYYMMDDTHHMMSSZ`.
fn iso(at: SystemTime) -> String {
    let date = httpdate::HttpDate::from(at).to_string();
    let words: Vec<_> = date.split(' ').collect();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|month| *month == words[2]).unwrap() + 1;
    format!("{}{month:02}{}T{}Z", words[3], words[1], words[4].replace(':', ""))
}

/// megvii-research/megfile#643: a filter's page was taken for S3's word, and a 404 was remembered.
#[tokio::test]
async fn a_page_of_a_filter_is_not_s3s_word() {
    let site = Site::with("", "negative_ttl: 60, stale_if_error: 60").await;
    for status in [403, 404] {
        let page = || Reply::ok("<html>blocked</html>").of_status(status).with("content-type", "text/html");
        site.origin.answer("k", [page(), Reply::ok("there")]);
        assert_eq!(site.client.get("/static/k").await.status, 502);
        assert_eq!(site.client.get("/static/k").await.status, 200);
        site.purge("{\"all\": true}").await;
    }
}

/// ceph/ceph#46443: one object's refusal looks like wrong keys, while all others are served.
#[tokio::test]
async fn one_objects_trouble_does_not_make_the_gateway_unready() {
    let site = Site::start().await;
    site.put("good", &[], "x");
    site.origin.answer("bad", [refusal(403, "InvalidAccessKeyId")]);
    for _ in 0..3 {
        assert_eq!(site.client.get("/static/bad").await.status, 502);
        assert_eq!(site.admin.get("/ready").await.status, 200);
        assert_eq!(site.client.get_with("/static/good", &[("cache-control", "no-cache")]).await.status, 200);
        assert_eq!(credentials_valid(&site).await, 1);
    }
}
