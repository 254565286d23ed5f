//! HTTP/1.1 client behavior: connection reuse, and the end of bodies (RFC 9112 6, 7, 9).

use std::io::Write;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use yatagarasu_core::{ErrorKind, SourceError};
use yatagarasu_s3::SourceBackend;

use crate::bed::{Bed, backends};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Returns the content that a source reads from `text`, after which the connection is closed.
async fn once(backend: SourceBackend, text: &str) -> Result<String, SourceError> {
    Bed::saying(backend, text).await.whole().await
}

/// Checks that a source gets the object twice.
async fn twice(bed: &Bed) {
    for _ in 0..2 {
        assert_eq!(bed.whole().await.unwrap(), "ok");
    }
}

#[track_caller]
fn assert_broken(content: Result<String, SourceError>, expected: &str) {
    let error = content.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    assert!(error.to_string().contains(expected), "{error}");
}

#[tokio::test]
async fn a_body_read_to_its_end_leaves_the_connection_to_the_next_request() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let old = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok";
    for text in [OK, chunked, old] {
        for backend in backends() {
            let bed = Bed::by_hand(backend).await;
            let serve = async {
                let mut exchange = bed.answer(text).await;
                exchange.next_request().await;
                exchange.write(text).await;
            };
            tokio::join!(serve, twice(&bed));
        }
    }
}

#[tokio::test]
async fn a_request_is_repeated_where_a_used_connection_has_been_closed() {
    for backend in backends() {
        let bed = Bed::by_hand(backend).await;
        let serve = async {
            let mut first = bed.answer(OK).await;
            first.next_request().await;
            drop(first);
            bed.answer(OK).await
        };
        tokio::join!(serve, twice(&bed));
    }
}

#[tokio::test]
async fn a_request_is_not_repeated_where_a_new_connection_has_been_closed() {
    for backend in backends() {
        let bed = Bed::by_hand(backend).await;
        let serve = async {
            drop(bed.answer("").await);
            bed.answer(OK).await
        };
        tokio::select! {
            content = bed.whole() => assert_broken(content, "no response: the connection was closed"),
            _ = serve => panic!("a second request"),
        }
    }
}

#[tokio::test]
async fn a_body_that_is_left_unread_ends_its_connection() {
    for backend in backends() {
        let bed = Bed::by_hand(backend).await;
        let serve = async {
            let first = bed.answer("HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\nhello").await;
            (first, bed.answer(OK).await)
        };
        let ask = async {
            drop(bed.get().await.unwrap());
            assert_eq!(bed.whole().await.unwrap(), "ok");
        };
        tokio::join!(serve, ask);
    }
}

#[tokio::test]
async fn a_connection_that_says_more_than_was_asked_is_not_used_again() {
    let more = format!("{OK}more");
    let both = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 9\r\n\r\n\
        2\r\nok\r\n0\r\n\r\n";
    let close = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    for text in [more.as_str(), both, close] {
        for backend in backends() {
            let bed = Bed::by_hand(backend).await;
            let serve = async { (bed.answer(text).await, bed.answer(OK).await) };
            tokio::join!(serve, twice(&bed));
        }
    }
}

/// A server that waits for an acknowledgement between two small packets (RFC 1122 4.2.3.4) would get it after 40 ms each time.
#[tokio::test]
async fn a_response_in_small_packets_does_not_wait_for_acknowledgements() {
    const ROUNDS: u32 = 25;
    for cut in [OK.len() - 2, 20] {
        let bed = Bed::by_hand(SourceBackend::Native).await;
        let (first, content) = tokio::join!(bed.answer(OK), bed.whole());
        assert_eq!(content.unwrap(), "ok");
        let mut exchange = first;
        exchange.socket.set_nodelay(false).unwrap();
        let begun = Instant::now();
        for _ in 0..ROUNDS {
            let serve = async {
                exchange.next_request().await;
                for part in [&OK[..cut], &OK[cut..]] {
                    exchange.write(part).await;
                }
            };
            let ((), content) = tokio::join!(serve, bed.whole());
            assert_eq!(content.unwrap(), "ok");
        }
        assert!(begun.elapsed() < ROUNDS * Duration::from_millis(20), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn an_answer_to_nothing_is_not_taken_for_the_next_ones() {
    let stray = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray";
    for backend in backends() {
        let bed = Bed::by_hand(backend).await;
        let (first, content) = tokio::join!(bed.answer(OK), bed.whole());
        assert_eq!(content.unwrap(), "ok");
        let mut first = first.socket.into_std().unwrap();
        // Written without awaiting, so that the runtime cannot know that the socket is readable.
        first.write_all(stray.as_bytes()).unwrap();
        let (_second, content) = tokio::join!(bed.answer(OK), bed.whole());
        assert_eq!(content.unwrap(), "ok");
    }
}

#[tokio::test]
async fn a_server_that_switches_protocols_is_refused() {
    for backend in backends() {
        let bed = Bed::by_hand(backend).await;
        let serve = bed.answer("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n");
        let (_exchange, content) = tokio::join!(serve, bed.whole());
        assert_broken(content, "it switches protocols, which nobody asked for");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_further_request() {
    for backend in backends() {
        let bed = Bed::by_hand(backend).await;
        let (mut exchange, content) = tokio::join!(bed.answer(OK), bed.whole());
        assert_eq!(content.unwrap(), "ok");
        tokio::time::pause();
        let closed = tokio::time::timeout(Duration::from_secs(60), exchange.socket.read(&mut [0; 1])).await;
        assert_eq!(closed.expect("closed in time").unwrap(), 0);
        tokio::time::resume();
    }
}

#[tokio::test]
async fn chunks_are_put_together_wherever_the_network_cuts_them() {
    let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
        5;x=y\r\nhello\r\n7\r\n, world\r\n0\r\nx-trailer: 1\r\n\r\n";
    for backend in backends() {
        assert_eq!(once(backend, text).await.unwrap(), "hello, world");
        let bed = Bed::by_hand(backend).await;
        let serve = async {
            let mut exchange = bed.origin.next().await;
            for byte in text.bytes() {
                exchange.socket.write_u8(byte).await.unwrap();
                tokio::task::yield_now().await;
            }
            exchange
        };
        let (_exchange, content) = tokio::join!(serve, bed.whole());
        assert_eq!(content.unwrap(), "hello, world");
    }
}

#[tokio::test]
async fn a_long_body_comes_whole() {
    let content = "0123456789abcdef".repeat(1 << 16);
    let length = content.len();
    let by_length = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{content}");
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{content}\r\n0\r\n\r\n");
    for backend in backends() {
        for text in [&by_length, &chunked] {
            assert!(once(backend, text).await.unwrap() == content);
        }
    }
}

#[tokio::test]
async fn bodies_end_as_their_heads_say() {
    for backend in backends() {
        let until_close = "HTTP/1.1 200 OK\r\n\r\nuntil the end";
        assert_eq!(once(backend, until_close).await.unwrap(), "until the end");
        let interim = format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n{OK}");
        assert_eq!(once(backend, &interim).await.unwrap(), "ok");
        let twice = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(once(backend, twice).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn bodies_that_do_not_are_broken() {
    let cut = "the body ended early: the connection was closed";
    for backend in backends() {
        for (text, reason) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", cut),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello", cut),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", cut),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", "invalid chunk size"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", "contradict"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "transfer-encoding"),
            ("HTTP/1.1 200 OK\r\ncontent-le", "no response: the connection was closed"),
        ] {
            assert_broken(once(backend, text).await, reason);
        }
    }
}

#[tokio::test]
async fn heads_are_read_up_to_64_kib() {
    for backend in backends() {
        for (bytes, fits) in [(40_000, true), (70_000, false)] {
            let field = format!("x-long: {}", "x".repeat(bytes));
            let content =
                once(backend, &format!("HTTP/1.1 200 OK\r\n{field}\r\ncontent-length: 2\r\n\r\nok")).await;
            if fits {
                assert_eq!(content.unwrap(), "ok");
            } else {
                assert_broken(content, "the response head is longer than 64 KiB");
            }
        }
    }
}
