//! Faulty responses: cut bodies, dropped requests, throttling, and malformed fields.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use yatagarasu_core::{Answer, Object, ObjectKey, ObjectSource, SourceError, SourceRequest, SystemClock};
use yatagarasu_s3::{Access, Addressing, SourceBackend, SourceConfig, build};

use crate::backends;

/// Starts a server that reads one request and writes `answer`. Returns its address and a task that yields the open
/// socket.
async fn scripted(answer: &'static str) -> (SocketAddr, JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connection = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.unwrap());
        }
        socket.write_all(answer.as_bytes()).await.unwrap();
        socket
    });
    (address, connection)
}

pub(crate) async fn source(address: SocketAddr, backend: SourceBackend) -> Arc<dyn ObjectSource> {
    let config = SourceConfig {
        backend,
        bucket: "bucket".to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint: Some(format!("http://{address}")),
        addressing: Addressing::Path,
        access: Access::Anonymous,
        connect_timeout: Duration::from_secs(5),
        receive_buffer: None,
    };
    build(&config, Arc::new(SystemClock)).await.unwrap().source
}

pub(crate) async fn get(source: &dyn ObjectSource) -> Result<Object, SourceError> {
    match source.get(&ObjectKey::parse("k").unwrap(), &SourceRequest::default()).await? {
        Answer::Object(object) => Ok(object),
        Answer::NotModified(_) => panic!("no condition was sent"),
    }
}

#[tokio::test]
async fn a_body_cut_short_is_an_error() {
    for backend in backends() {
        let (address, connection) = scripted("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
        let mut object = get(&*source(address, backend).await).await.unwrap();
        drop(connection.await.unwrap());
        assert_eq!(object.body.next().await.unwrap().unwrap(), "hello");
        let cut = object.body.next().await.unwrap();
        assert!(matches!(cut, Err(SourceError::Broken { .. })), "{cut:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_closes_the_connection() {
    for backend in backends() {
        let (address, connection) = scripted("HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\nhello").await;
        let source = source(address, backend).await;
        let object = get(&*source).await.unwrap();
        let mut socket = connection.await.unwrap();
        drop(object);
        assert_eq!(socket.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed by the gateway");
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_closes_the_connection() {
    for backend in backends() {
        let (address, connection) = scripted("").await;
        let source = source(address, backend).await;
        let asked = tokio::spawn(async move { get(&*source).await.map(|_| ()) });
        let mut socket = connection.await.unwrap();
        asked.abort();
        assert_eq!(socket.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed by the gateway");
    }
}

#[tokio::test]
async fn nonsense_and_refused_connections_are_told_apart() {
    for backend in backends() {
        let (address, _connection) = scripted("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
        let nonsense = get(&*source(address, backend).await).await.unwrap_err();
        assert!(matches!(nonsense, SourceError::Broken { .. }), "{nonsense:?}");

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let refused = get(&*source(address, backend).await).await.unwrap_err();
        assert!(matches!(refused, SourceError::Unavailable { .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn throttling_says_when_to_come_back() {
    const SLOW: &str = "HTTP/1.1 503 Slow Down\r\nretry-after: 3\r\ncontent-length: 36\r\n\r\n\
        <Error><Code>SlowDown</Code></Error>";
    for backend in backends() {
        let (address, _connection) = scripted(SLOW).await;
        let slow = get(&*source(address, backend).await).await.unwrap_err();
        assert!(
            matches!(slow, SourceError::Throttled { retry_after: Some(wait), .. } if wait == Duration::from_secs(3)),
            "{slow:?}"
        );
    }
}

#[tokio::test]
async fn fields_rusoto_would_choke_on_do_no_harm() {
    const ODD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-amz-missing-meta: many\r\n\
        x-amz-delete-marker: perhaps\r\nx-unknown: kept\r\n\r\nok";
    for backend in backends() {
        let (address, _connection) = scripted(ODD).await;
        let mut object = get(&*source(address, backend).await).await.unwrap();
        assert_eq!(object.meta.headers()["x-unknown"], "kept");
        assert_eq!(object.body.next().await.unwrap().unwrap(), "ok");
    }
}

#[tokio::test]
async fn a_part_nobody_asked_for_is_not_taken_for_the_whole() {
    for head in ["HTTP/1.1 206 Partial Content", "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-1/9"]
    {
        for backend in backends() {
            let answer: &'static str = format!("{head}\r\ncontent-length: 2\r\n\r\nok").leak();
            let (address, _connection) = scripted(answer).await;
            let part = get(&*source(address, backend).await).await.unwrap_err();
            assert!(matches!(part, SourceError::Broken { .. }), "{part:?}");
        }
    }
}

#[tokio::test]
async fn other_successes_are_no_objects() {
    for backend in backends() {
        let (address, _connection) = scripted("HTTP/1.1 204 No Content\r\n\r\n").await;
        let nothing = get(&*source(address, backend).await).await.unwrap_err();
        assert!(matches!(nothing, SourceError::Broken { .. }), "{nothing:?}");
    }
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_not_certain_to_be_whole() {
    for backend in backends() {
        let (address, connection) = scripted("HTTP/1.1 200 OK\r\n\r\nhello").await;
        let object = get(&*source(address, backend).await).await.unwrap();
        assert!(!object.meta.end_is_certain());
        drop(connection);
        let (address, _connection) = scripted("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        assert!(get(&*source(address, backend).await).await.unwrap().meta.end_is_certain());
    }
}

#[tokio::test]
async fn repeated_conditions_are_all_sent() {
    for backend in backends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let source = source(listener.local_addr().unwrap(), backend).await;
        let mut request = SourceRequest::default();
        for tag in ["\"a\"", "\"b\""] {
            request.headers.append("if-none-match", tag.parse().unwrap());
        }
        let asked =
            tokio::spawn(
                async move { source.get(&ObjectKey::parse("k").unwrap(), &request).await.map(|_| ()) },
            );
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains("\"a\"") && head.contains("\"b\""), "{head}");
        asked.abort();
    }
}
