//! Requests that fail before their response head arrives.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use yatagarasu_testing::origin::{Fault, Gate, Origin, Reply};

use super::metric;
use crate::site::Site;

/// Returns an error of S3 with a document.
fn refusal(status: u16, code: &str) -> Reply {
    Reply::ok(format!("<Error><Code>{code}</Code></Error>"))
        .of_status(status)
        .with("content-type", "application/xml")
}

/// Returns what goes wrong before a response head has arrived.
fn faults() -> Vec<(&'static str, Reply)> {
    vec![
        ("closes", Reply::closes()),
        ("reset before the head", Reply::ok("x").failing(Fault::ResetInHead(0))),
        ("reset within the head", Reply::ok("x").failing(Fault::ResetInHead(12))),
        ("garbage", Reply::raw("SSH-2.0-OpenSSH_9.2\r\n\r\n")),
        ("half a head", Reply::raw("HTTP/1.1 200 OK\r\nContent-")),
        ("500", refusal(500, "InternalError")),
        ("500 without a document", Reply::status(500)),
        ("502", Reply::ok("<html>bad gateway</html>").of_status(502).with("content-type", "text/html")),
        ("503", refusal(503, "ServiceUnavailable")),
        ("503 SlowDown", refusal(503, "SlowDown")),
        ("503 without a document", Reply::status(503)),
        ("504", Reply::status(504)),
        ("429", refusal(429, "TooManyRequests")),
        ("RequestTimeout", refusal(400, "RequestTimeout")),
    ]
}

#[tokio::test]
async fn one_fault_or_two_reach_no_client() {
    let site = Site::healing("", "").await;
    site.put("good", &[], "here");
    for (number, (fault, reply)) in faults().into_iter().enumerate() {
        // Only a fifth of all requests are sent again.
        for _ in 0..50 {
            assert_eq!(site.client.get("/media/good").await.status, 200);
        }
        for times in [1, 2] {
            for (prefix, method) in [("static", "GET"), ("media", "GET"), ("media", "HEAD")] {
                let key = format!("{number}-{times}-{method}-{prefix}");
                let replies = vec![reply.clone(); times];
                site.origin.answer(&key, replies.into_iter().chain([Reply::ok("there")]));
                let answer = site.client.send(method, &format!("/{prefix}/{key}"), &[], Bytes::new()).await;
                assert_eq!(answer.status, 200, "{fault}, {times} times, {method} {prefix}");
                // S3 is asked for the reason of a bare 400 to a HEAD.
                let explained = if fault == "RequestTimeout" && method == "HEAD" { times } else { 0 };
                assert!(site.origin.asked(&key).len() <= times + 1 + explained, "{fault}");
            }
        }
    }
    assert!(
        metric(&site, "yatagarasu_source_retries_total", "assets").await >= 30,
        "a connection that was idle is not counted"
    );
    assert_eq!(site.client.get("/static/0-1-GET-static").await.field("x-cache"), "HIT");
}

#[tokio::test]
async fn the_third_failure_is_the_answer() {
    let site = Site::healing("", "").await;
    site.origin.answer("k", [refusal(500, "InternalError")]);
    assert_eq!(site.client.get("/static/k").await.status, 502);
    assert_eq!(site.origin.asked("k").len(), 3);
}

#[tokio::test]
async fn those_who_wait_together_share_the_attempts() {
    let site = Site::healing("", "").await;
    site.origin.answer("k", [Reply::closes(), refusal(500, "InternalError"), Reply::ok("there")]);
    let clients: Vec<_> = (0..8).map(|_| site.begin("/static/k")).collect();
    for client in clients {
        assert_eq!(client.await.unwrap().status, 200);
    }
    assert_eq!(site.origin.asked("k").len(), 3);
}

#[tokio::test]
async fn answers_are_not_asked_for_again() {
    let site = Site::healing("", "").await;
    for (status, code, expected) in [
        (404, "NoSuchKey", 404),
        (403, "AccessDenied", 403),
        (400, "InvalidArgument", 400),
        (416, "InvalidRange", 416),
        (501, "NotImplemented", 502),
    ] {
        let key = format!("{status}");
        site.origin.answer(&key, [refusal(status, code)]);
        let answer = site.client.get_with(&format!("/media/{key}"), &[("range", "bytes=5-")]).await;
        assert_eq!(answer.status, expected);
        assert_eq!(site.origin.asked(&key).len(), 1, "{code}");
    }
}

#[tokio::test]
async fn s3_says_when_to_come_back() {
    let site = Site::healing("", "").await;
    let slow = |after: &str| refusal(503, "SlowDown").with("retry-after", after);
    site.origin.answer("soon", [slow("1"), Reply::ok("there")]);
    let began = Instant::now();
    assert_eq!(site.client.get("/media/soon").await.status, 200);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    // Nobody waits for as long as that. The client learns of it.
    site.origin.answer("late", [slow("3600")]);
    let answer = site.client.get("/media/late").await;
    assert_eq!((answer.status, answer.field("retry-after")), (503, "3600"));
    assert_eq!(site.origin.asked("late").len(), 1);
    site.origin.answer("never", [slow("18446744073709551615")]);
    assert_eq!(site.client.get("/media/never").await.status, 503);
    assert_eq!(crate::site::metric(&site.admin, "yatagarasu_panics_total").await, 0);
}

#[tokio::test]
async fn what_s3_has_said_is_told_though_the_time_is_over() {
    let site = Site::healing("deadline: \"1s\"", "").await;
    let silent = Reply::ok("never").head_at(&Gate::default());
    site.origin.answer("k", [refusal(503, "SlowDown").with("retry-after", "0"), silent]);
    assert_eq!(site.client.get("/media/k").await.status, 503);
    assert_eq!(site.origin.asked("k").len(), 2);
}

#[tokio::test]
async fn all_attempts_together_have_a_deadline() {
    let site = Site::healing("response_timeout: \"300ms\", deadline: \"500ms\"", "").await;
    site.origin.answer("k", [Reply::ok("never").failing(Fault::ResetInHead(0)).head_at(&Gate::default())]);
    let began = Instant::now();
    assert_eq!(site.client.get("/media/k").await.status, 504);
    let taken = began.elapsed();
    assert!(taken >= Duration::from_millis(450) && taken < Duration::from_secs(5), "{taken:?}");
    assert!(site.origin.asked("k").len() <= 2);
}

#[tokio::test]
async fn no_more_than_a_fifth_of_all_requests_are_sent_again() {
    let site = Site::healing("attempts: 2", "").await;
    site.origin.answer("k", [Reply::closes()]);
    for _ in 0..300 {
        assert_eq!(site.client.get("/media/k").await.status, 502);
    }
    let sent = site.origin.asked("k").len() - 300;
    // 100 are saved at the start, and each request earns a fifth of one. Idle connections that S3 has closed do not count.
    assert!((100..=180).contains(&sent), "{sent}");
    assert!(metric(&site, "yatagarasu_source_retries_refused_total", "videos").await >= 120);
}

#[tokio::test]
async fn a_source_that_comes_back_is_found() {
    let mut origin = Origin::start().await;
    origin.refuse().await;
    let site = Site::over(origin, "", "attempts: 2", "").await;
    let answer = site.client.get("/static/k").await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(metric(&site, "yatagarasu_source_retries_total", "assets").await, 1);
}
