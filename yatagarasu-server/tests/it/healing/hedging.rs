//! Second requests where the first ones take long.

use std::time::Duration;

use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::origin::{Gate, Reply};

use super::metric;
use crate::site::Site;

/// Starts a gateway that knows how long requests usually take.
async fn known(s3: &str) -> Site {
    let site = Site::healing(s3, "").await;
    site.put("usual", &[], "usual");
    // No more: none of these is sent twice then, and what they allow is not used up.
    for _ in 0..100 {
        assert_eq!(site.client.get("/media/usual").await.status, 200);
    }
    site
}

#[tokio::test]
async fn a_second_request_answers_where_the_first_one_takes_long() {
    let site = known("hedging: true, attempts: 1").await;
    let counted = async || {
        let names = ["yatagarasu_source_hedged_total", "yatagarasu_source_hedges_won_total"];
        [metric(&site, names[0], "videos").await, metric(&site, names[1], "videos").await]
    };
    // On a busy machine, a usual one may have taken long.
    let before = counted().await;
    let late = Reply::ok("late").head_at(&Gate::default());
    site.origin.answer("k", [late.clone(), Reply::ok("in time")]);
    let answer = timeout(PATIENCE, site.client.get("/media/k")).await.expect("nobody waits for the first");
    assert_eq!(answer.body, "in time");
    assert_eq!(site.origin.asked("k").len(), 2);
    assert_eq!(counted().await, before.map(|count| count + 1));
    // One that fails says nothing while the other one may still answer.
    let gate = Gate::default();
    site.origin.answer("l", [Reply::ok("late").head_at(&gate), Reply::status(500)]);
    let waiting = site.begin("/media/l");
    site.origin.wait_asked("l", 2).await;
    gate.open();
    assert_eq!(waiting.await.unwrap().body, "late");
}

#[tokio::test]
async fn no_more_than_one_in_twenty_is_sent_twice() {
    let site = known("hedging: true, attempts: 1, response_timeout: \"1s\"").await;
    site.origin.decide(|_| Some(Reply::ok("never").head_at(&Gate::default())));
    let all: Vec<_> = (0..40).map(|number| site.begin(&format!("/media/{number}"))).collect();
    for one in all {
        assert_eq!(one.await.unwrap().status, 504);
    }
    let second = metric(&site, "yatagarasu_source_hedged_total", "videos").await;
    assert!((1..=6).contains(&second), "{second}");
}

#[tokio::test]
async fn by_default_nothing_is_sent_twice() {
    let site = known("attempts: 1").await;
    let gate = Gate::default();
    site.origin.answer("k", [Reply::ok("late").head_at(&gate)]);
    let mut waiting = site.begin("/media/k");
    site.origin.wait_asked("k", 1).await;
    assert!(timeout(Duration::from_millis(300), &mut waiting).await.is_err());
    gate.open();
    assert_eq!(waiting.await.unwrap().body, "late");
    assert_eq!(site.origin.asked("k").len(), 1);
}
