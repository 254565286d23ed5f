//! Tests of the check whether buckets can be read.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use yatagarasu_testing::origin::{ACCESS_KEY, ClosedPort, Origin, Reply, SECRET_KEY};

use crate::site::{Site, bucket, document};

async fn checked(site: &Site, order: &str) -> Vec<Value> {
    let json = [("content-type", "application/json")];
    let answer = site.admin.send("POST", "/check", &json, order.to_owned().into()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["reports"].as_array().expect("a list").clone()
}

/// Returns what was found about something: the verdict, and the words.
fn found(report: &Value, about: &str) -> (String, String) {
    let findings = report["findings"].as_array().expect("a list");
    let finding = findings.iter().find(|finding| finding["about"] == about);
    let finding = finding.unwrap_or_else(|| panic!("{about} in {report}"));
    let advice = finding["advice"].as_str().unwrap_or_default();
    let text = |name: &str| finding[name].as_str().expect("text").to_owned();
    (text("verdict"), format!("{} -> {advice}", text("found")))
}

#[track_caller]
fn check(report: &Value, about: &str, verdict: &str, words: &str) {
    let (is, said) = found(report, about);
    assert!(is == verdict && said.contains(words), "{about}: {is}: {said}");
}

#[tokio::test]
async fn a_bucket_that_can_be_read_is_good() {
    let site = Site::start().await;
    site.put("a", &[], "hello");
    let reports = checked(&site, "{}").await;
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[1]["bucket"], "videos");
    let report = &reports[0];
    check(report, "reach", "good", "S3 answers");
    check(report, "tls", "warning", "`http://`");
    check(report, "clock", "good", "as S3's");
    check(report, "credentials", "good", "configuration");
    check(report, "region", "good", "us-east-1");
    check(report, "list", "good", "allowed");
    check(report, "read", "good", "`a` can be read");
    assert_eq!(checked(&site, r#"{"bucket":"assets"}"#).await.len(), 1);
    let report = &checked(&site, r#"{"bucket":"assets","key":"missing"}"#).await[0];
    check(report, "read", "bad", "the key is the one at S3");
}

#[tokio::test]
async fn wrong_keys_and_names_are_told_apart() {
    let s3 = Origin::start().await;
    let entry = |name: &str, change: fn(String) -> String| {
        change(bucket(&s3.endpoint(), name, &format!("/{name}"), "", "enabled: false"))
    };
    let buckets = [
        entry("secret", |yaml| yaml.replace(SECRET_KEY, "wrong")),
        entry("key", |yaml| yaml.replace(ACCESS_KEY, "wrong")),
        entry("nowhere", |yaml| yaml.replace("bucket: \"bucket\"", "bucket: \"nowhere\"")),
        entry("closed", |yaml| yaml),
        entry("prefixed", |yaml| yaml.replace("    cache:", "    key_prefix: \"sites/{host}/\"\n    cache:")),
    ];
    let closed = ClosedPort::new();
    let yaml = document("", &buckets);
    let from = yaml.find("name: \"closed\"").expect("a bucket");
    let yaml = format!("{}{}", &yaml[..from], yaml[from..].replacen(&s3.endpoint(), &closed.endpoint(), 1));
    let site = Site::run(s3, &yaml).await;
    site.put("sites/a/k", &[], "hello");
    let reports = checked(&site, "{}").await;
    check(&reports[0], "credentials", "bad", "the secret key does not belong to the access key");
    check(&reports[1], "credentials", "bad", "the access key does not exist");
    check(&reports[2], "bucket", "bad", "check `s3.bucket`");
    check(&reports[3], "reach", "bad", "check `s3.endpoint`");
    check(&reports[4], "read", "good", "`sites/a/k` can be read");
    assert!(reports[..4].iter().all(|report| !report["findings"].to_string().contains("\"list\"")));
}

#[tokio::test]
async fn what_a_policy_denies_is_named() {
    let site = Site::start().await;
    site.put("a", &[], "hello");
    let denied = || Reply::ok("<Error><Code>AccessDenied</Code></Error>").of_status(403);
    site.origin.decide(move |request| (request.key.is_empty() || request.key.contains("probe")).then(denied));
    let report = &checked(&site, r#"{"bucket":"assets"}"#).await[0];
    check(report, "list", "warning", "allow s3:ListBucket");
    check(report, "read", "bad", "allow s3:GetObject");
    let report = &checked(&site, r#"{"bucket":"assets","key":"a"}"#).await[0];
    check(report, "read", "good", "`a` can be read");
    site.origin.decide(move |_| Some(denied()));
    let report = &checked(&site, r#"{"bucket":"assets","key":"a"}"#).await[0];
    check(report, "read", "bad", "allow s3:GetObject");
}

#[tokio::test]
async fn a_wrong_clock_and_a_store_in_trouble_are_named() {
    let site = Site::start().await;
    let at = |ahead: u64| {
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(ahead));
        let absent = "<Error><Code>NoSuchKey</Code></Error>";
        move |_: &_| Some(Reply::ok(absent).of_status(404).with("date", &date))
    };
    for (ahead, verdict) in [(5, "good"), (300, "warning"), (3600, "warning")] {
        site.origin.decide(at(ahead));
        check(&checked(&site, r#"{"bucket":"assets"}"#).await[0], "clock", verdict, "");
    }
    // Trouble, and what is no S3 at all. Nothing is said about the rest then.
    let page = || {
        Reply::ok("<html><title>Not found</title></html>").of_status(404).with("content-type", "text/html")
    };
    let application = || Reply::ok("<!doctype html>").with("content-type", "text/html");
    for reply in [|| Reply::status(503), || Reply::status(404), page, application] {
        site.origin.decide(move |_| Some(reply()));
        let report = &checked(&site, r#"{"bucket":"assets"}"#).await[0];
        check(report, "reach", "bad", "what answers is no S3");
        let abouts = report["findings"].as_array().expect("a list").iter().map(|finding| &finding["about"]);
        assert_eq!(abouts.collect::<Vec<_>>(), ["reach", "tls"]);
    }
    let json = [("content-type", "application/json")];
    for (order, status) in
        [(r#"{"bucket":"x"}"#, 404), (r#"{"key":"a"}"#, 400), (r#"{"bucket":"assets","key":""}"#, 400)]
    {
        let answer = site.admin.send("POST", "/check", &json, order.into()).await;
        assert_eq!(answer.status, status, "{order}");
    }
    assert_eq!(site.admin.get("/check").await.status, 405);
}
