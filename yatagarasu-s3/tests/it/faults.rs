//! Faulty responses: cut bodies, dropped requests, throttling, and malformed fields.

use std::sync::Arc;
use std::time::Duration;

use yatagarasu_core::{ErrorKind, SourceRequest};
use yatagarasu_testing::origin::ClosedPort;

use crate::bed::{Bed, backends, get, source};

#[tokio::test]
async fn a_body_cut_short_is_an_error() {
    for backend in backends() {
        let bed = Bed::by_hand(backend).await;
        let answer = bed.answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
        let (exchange, object) = tokio::join!(answer, bed.get());
        drop(exchange);
        let mut body = object.unwrap().body;
        assert_eq!(body.next().await.unwrap().unwrap(), "hello");
        let cut = body.next().await.unwrap();
        assert_eq!(cut.unwrap_err().kind(), ErrorKind::Broken);
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_closes_the_connection() {
    for backend in backends() {
        let bed = Bed::by_hand(backend).await;
        let answer = bed.answer("HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\nhello");
        let (mut exchange, object) = tokio::join!(answer, bed.get());
        drop(object.unwrap());
        exchange.closed().await;
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_closes_the_connection() {
    for backend in backends() {
        let bed = Bed::by_hand(backend).await;
        let source = Arc::clone(&bed.source);
        let asked = tokio::spawn(async move { get(&*source, &SourceRequest::default()).await.map(|_| ()) });
        let mut exchange = bed.origin.next().await;
        asked.abort();
        exchange.closed().await;
    }
}

#[tokio::test]
async fn nonsense_and_refused_connections_are_told_apart() {
    for backend in backends() {
        let bed = Bed::saying(backend, "SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
        let nonsense = bed.get().await.unwrap_err();
        assert_eq!(nonsense.kind(), ErrorKind::Broken, "{nonsense:?}");

        let nobody = ClosedPort::new();
        let mut config = bed.origin.source_config("bucket", backend);
        config.endpoint = Some(nobody.endpoint());
        let refused = get(&*source(&config).await, &SourceRequest::default()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused:?}");
    }
}

#[tokio::test]
async fn throttling_says_when_to_come_back() {
    const SLOW: &str = "HTTP/1.1 503 Slow Down\r\nretry-after: 3\r\ncontent-length: 36\r\n\r\n\
        <Error><Code>SlowDown</Code></Error>";
    for backend in backends() {
        let slow = Bed::saying(backend, SLOW).await.get().await.unwrap_err();
        let retry_after = Some(Duration::from_secs(3));
        assert_eq!(slow.kind(), ErrorKind::Throttled { retry_after }, "{slow:?}");
    }
}

#[tokio::test]
async fn fields_rusoto_would_choke_on_do_no_harm() {
    const ODD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-amz-missing-meta: many\r\n\
        x-amz-delete-marker: perhaps\r\nx-unknown: kept\r\n\r\nok";
    for backend in backends() {
        let mut object = Bed::saying(backend, ODD).await.get().await.unwrap();
        assert_eq!(object.meta.headers()["x-unknown"], "kept");
        assert_eq!(object.body.next().await.unwrap().unwrap(), "ok");
    }
}

/// Checks that no backend takes a response for an object.
async fn is_broken(text: &str) {
    for backend in backends() {
        let error = Bed::saying(backend, text).await.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken, "{error:?}");
    }
}

#[tokio::test]
async fn a_part_nobody_asked_for_is_not_taken_for_the_whole() {
    is_broken("HTTP/1.1 206 Partial Content\r\ncontent-length: 2\r\n\r\nok").await;
    is_broken("HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-1/9\r\ncontent-length: 2\r\n\r\nok")
        .await;
}

#[tokio::test]
async fn other_successes_are_no_objects() {
    is_broken("HTTP/1.1 204 No Content\r\n\r\n").await;
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_not_certain_to_be_whole() {
    for backend in backends() {
        for (head, certain) in [("", false), ("content-length: 5\r\n", true)] {
            let text = format!("HTTP/1.1 200 OK\r\n{head}\r\nhello");
            let object = Bed::saying(backend, &text).await.get().await.unwrap();
            assert_eq!(object.meta.end_is_certain(), certain);
        }
    }
}

#[tokio::test]
async fn repeated_conditions_are_all_sent() {
    for backend in backends() {
        let bed = Bed::by_hand(backend).await;
        let mut request = SourceRequest::default();
        for tag in ["\"a\"", "\"b\""] {
            request.headers.append("if-none-match", tag.parse().unwrap());
        }
        let exchange = tokio::select! {
            exchange = bed.origin.next() => exchange,
            answered = get(&*bed.source, &request) => panic!("nobody answers: {:?}", answered.map(|_| ())),
        };
        let head = &exchange.request;
        assert!(head.contains("\"a\"") && head.contains("\"b\""), "{head}");
    }
}
