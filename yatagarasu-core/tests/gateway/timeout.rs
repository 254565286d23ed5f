//! Tests of the time limits of a source, before and after the response head.

use std::sync::Arc;
use std::time::Duration;

use yatagarasu_core::ErrorKind;
use yatagarasu_core::source::timeout::Timed;
use yatagarasu_testing::ScriptedSource;

use crate::bed::{Bed, body};

#[tokio::test(start_paused = true)]
async fn silence_ends_in_an_error_before_and_after_the_head() {
    let (source, mut scripts) = ScriptedSource::new();
    let timed = Timed::new(Arc::new(source), Duration::from_secs(10), Duration::from_secs(3));
    let bed = Bed::over(Arc::new(timed));

    let client = bed.begin("k");
    let mut asked = scripts.recv().await.unwrap();
    let limit = body(client.await.unwrap()).await.unwrap_err();
    assert_eq!(limit.kind(), ErrorKind::TimedOut(Duration::from_secs(10)));
    asked.abandoned().await;

    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&[("content-length", "2")]);
    source.send("x");
    let limit = body(client.await.unwrap()).await.unwrap_err();
    assert_eq!(limit.kind(), ErrorKind::TimedOut(Duration::from_secs(3)));
    source.abandoned().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_not_held_against_the_source() {
    let (source, mut scripts) = ScriptedSource::new();
    let timed = Timed::new(Arc::new(source), Duration::from_secs(10), Duration::from_secs(3));
    let bed = Bed::over(Arc::new(timed));
    let client = bed.begin("k");
    let source = scripts.recv().await.unwrap().open(&[("content-length", "5000")]);
    source.send(vec![b'x'; 2500]);
    let mut body = client.await.unwrap().reply.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap().len(), 2500);
    tokio::time::advance(Duration::from_secs(100)).await;
    source.send(vec![b'x'; 2500]);
    assert_eq!(body.next().await.unwrap().unwrap().len(), 2500);
}
