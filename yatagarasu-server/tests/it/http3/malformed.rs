//! Tests of bytes that are no request of HTTP/3, and of malformed requests (RFC 9114 4.1.2, 4.2, 4.3, 7).

use bytes::{BufMut, Bytes, BytesMut};
use quinn::{Connection, ConnectionError, Endpoint, ReadError, ReadToEndError, SendStream, VarInt};
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;

use super::client::NAME;
use crate::site::until_metric;
use crate::tls::TlsSite;

/// Fields of a request, in their order.
type Fields<'a> = Vec<(&'a str, &'a str)>;

/// Returns a frame (RFC 9114 7.1).
fn frame(kind: u64, content: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    for number in [kind, content.len() as u64] {
        // An integer of eight bytes (RFC 9000 16).
        bytes.put_u64(number | 3 << 62);
    }
    bytes.put_slice(content);
    bytes.freeze()
}

/// Returns a frame with these fields, all of them as literals (RFC 9204 4.5.6).
fn head(fields: &[(&str, &str)]) -> Bytes {
    let mut block = BytesMut::new();
    // No table.
    block.put_slice(&[0, 0]);
    for (name, value) in fields {
        integer(&mut block, 0b0010_0000, 3, name.len());
        block.put_slice(name.as_bytes());
        integer(&mut block, 0, 7, value.len());
        block.put_slice(value.as_bytes());
    }
    frame(1, &block)
}

/// Writes an integer after the bits `flags`, in the `bits` that are left of their byte and those that follow (RFC 7541 5.1).
fn integer(block: &mut BytesMut, flags: u8, bits: u32, value: usize) {
    let max = (1_usize << bits) - 1;
    if value < max {
        block.put_u8(flags | u8::try_from(value).unwrap());
        return;
    }
    block.put_u8(flags | u8::try_from(max).unwrap());
    let mut rest = value - max;
    while rest >= 128 {
        block.put_u8(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.put_u8(u8::try_from(rest).unwrap());
}

/// Returns a request with more fields.
fn request<'a>(more: &[(&'a str, &'a str)]) -> Fields<'a> {
    let usual = [(":method", "GET"), (":scheme", "https"), (":authority", NAME), (":path", "/static/k")];
    usual.into_iter().chain(more.iter().copied()).collect()
}

/// The end of a request's stream.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// A whole response.
    Answered,
    /// The stream is reset.
    Reset(u64),
    /// The connection is closed.
    Closed(u64),
}

/// Opens a connection of QUIC, with a control stream and empty settings.
async fn connect(secure: &TlsSite) -> (Endpoint, Connection, SendStream) {
    let (endpoint, connection) = secure.dial().quic(secure.secure).await.unwrap();
    let mut control = connection.open_uni().await.unwrap();
    control.write_all(&[0]).await.unwrap();
    control.write_all(&frame(4, &[])).await.unwrap();
    (endpoint, connection, control)
}

async fn send(secure: &TlsSite, bytes: Bytes) -> End {
    let (_endpoint, connection, _control) = connect(secure).await;
    ask(&connection, bytes).await
}

/// Sends bytes on the stream of a request, and waits for the end of that.
async fn ask(connection: &Connection, bytes: Bytes) -> End {
    let (mut stream, mut answer) = connection.open_bi().await.unwrap();
    // The server may not want all of it.
    let _ = stream.write_all(&bytes).await;
    let _ = stream.finish();
    let read = timeout(PATIENCE, answer.read_to_end(1 << 20)).await.expect("an answer");
    let lost = match read {
        Ok(answer) if answer.is_empty() => timeout(PATIENCE, connection.closed()).await.expect("an end"),
        Ok(answer) => {
            assert_eq!(answer[0], 1, "the first frame is a head");
            return End::Answered;
        }
        Err(ReadToEndError::Read(ReadError::Reset(code))) => return End::Reset(code.into_inner()),
        Err(ReadToEndError::Read(ReadError::ConnectionLost(lost))) => lost,
        Err(other) => panic!("{other}"),
    };
    match lost {
        ConnectionError::ApplicationClosed(close) => End::Closed(VarInt::into_inner(close.error_code)),
        other => panic!("{other}"),
    }
}

/// Checks the end of a request with these fields.
async fn check(secure: &TlsSite, fields: &[(&str, &str)], expected: End) {
    assert_eq!(send(secure, head(fields)).await, expected, "{fields:?}");
}

const MESSAGE_ERROR: End = End::Reset(0x10e);

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_contradict_themselves_are_not_answered() {
    let secure = TlsSite::of_http3("").await;
    secure.site.put("k", &[], "hello");
    check(&secure, &request(&[]), End::Answered).await;
    check(&secure, &request(&[("te", "trailers")]), End::Answered).await;
    check(&secure, &request(&[("host", NAME)]), End::Answered).await;
    for more in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("host", "other.example"),
        ("Upper", "case"),
        ("a b", "c"),
        ("line", "a\nb"),
        (":unknown", "x"),
    ] {
        check(&secure, &request(&[more]), MESSAGE_ERROR).await;
    }
    for missing in [":method", ":scheme", ":path", ":authority"] {
        let fields: Fields<'_> = request(&[]).into_iter().filter(|(name, _)| *name != missing).collect();
        check(&secure, &fields, MESSAGE_ERROR).await;
    }
    assert_eq!(secure.site.origin.requests().len(), 1, "S3 is asked for the first one only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_long_gets_431() {
    let secure = TlsSite::of_http3("header_size: 8KiB").await;
    let cookie = "c".repeat(12_000);
    check(&secure, &request(&[("cookie", &cookie)]), End::Answered).await;
    until_metric(&secure.site.admin, "yatagarasu_requests_total{status=\"4xx\"}", |count| count == 1).await;
    let mut client = secure.http3().await;
    let cookie = "c".repeat(4_000);
    assert_eq!(client.send("GET", "/nowhere", &[("cookie", &cookie)]).await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http3_ends_the_connection() {
    let secure = TlsSite::of_http3("").await;
    for (bytes, code) in [
        // DATA comes before the head.
        (frame(0, b"hello"), 0x105),
        // Settings are for another stream.
        (frame(4, &[]), 0x105),
        // A block of fields that refers to a table that there is not.
        (frame(1, &[5, 0, 0x80]), 0x200),
        // A frame that ends in its middle.
        (frame(1, &[0; 100]).slice(..20), 0x106),
    ] {
        let (_endpoint, connection, _control) = connect(&secure).await;
        let (mut stream, _answer) = connection.open_bi().await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.finish().unwrap();
        match timeout(PATIENCE, connection.closed()).await.expect("an end") {
            ConnectionError::ApplicationClosed(close) => {
                assert_eq!(close.error_code, VarInt::from_u32(code), "{bytes:?}");
            }
            other => panic!("{bytes:?}: {other}"),
        }
    }
    // A stream that ends before its head is an incomplete request.
    assert_eq!(send(&secure, Bytes::new()).await, End::Reset(0x10d));
    let mut client = secure.http3().await;
    assert_eq!(client.get("/nowhere").await.unwrap().status, 404);
}

/// `h3` would keep all that comes until the frame is whole.
#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_too_long_are_not_waited_for() {
    let secure = TlsSite::of_http3("").await;
    let endless = |kind: u64| {
        let mut head = BytesMut::new();
        head.put_u64(kind | 3 << 62);
        head.put_u64(1 << 40 | 3 << 62);
        head.freeze()
    };
    for kind in [1, 0x21] {
        let (_endpoint, connection, _control) = connect(&secure).await;
        let (mut stream, mut answer) = connection.open_bi().await.unwrap();
        stream.write_all(&endless(kind)).await.unwrap();
        // It is not the end of the stream that ends it.
        let stopped = timeout(PATIENCE, stream.stopped()).await.expect("an end").unwrap();
        assert_eq!(stopped, Some(VarInt::from_u32(0x107)), "{kind}");
        let reset = timeout(PATIENCE, answer.read_to_end(1)).await.expect("an end");
        assert_eq!(reset, Err(ReadToEndError::Read(ReadError::Reset(VarInt::from_u32(0x10d)))), "{kind}");
        assert_eq!(ask(&connection, head(&request(&[]))).await, End::Answered, "the connection goes on");
    }
    let (_endpoint, connection, mut control) = connect(&secure).await;
    control.write_all(&endless(0x21)).await.unwrap();
    let lost = timeout(PATIENCE, connection.closed()).await.expect("an end");
    assert!(matches!(lost, ConnectionError::ApplicationClosed(_)), "{lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_fields_than_a_request_may_have_get_431() {
    let secure = TlsSite::of_http3("header_size: \"1MB\"").await;
    for (fields, class) in [(400, "2xx"), (600, "4xx")] {
        let many: Vec<_> = (0..fields).map(|_| ("x", "")).collect();
        secure.site.put("k", &[], "hello");
        check(&secure, &request(&many), End::Answered).await;
        let counted = format!("yatagarasu_requests_total{{status=\"{class}\"}}");
        until_metric(&secure.site.admin, &counted, |count| count == 1).await;
    }
    // More than a map takes.
    let many: Vec<_> = (0..25_000).map(|_| ("x", "")).collect();
    check(&secure, &request(&many), End::Answered).await;
}

/// Reads the frames of the server's control stream until a GOAWAY. Returns the stream in it.
async fn goaway(connection: &Connection) -> u64 {
    loop {
        let mut stream = connection.accept_uni().await.unwrap();
        let mut kind = [0];
        stream.read_exact(&mut kind).await.unwrap();
        // The others are QPACK's.
        if kind != [0] {
            continue;
        }
        loop {
            let mut head = [0; 2];
            stream.read_exact(&mut head).await.unwrap();
            let mut content = vec![0; usize::from(head[1])];
            stream.read_exact(&mut content).await.unwrap();
            if head[0] == 7 {
                return u64::from(content[0]);
            }
        }
    }
}

/// Browsers give up the requests that GOAWAY says are not answered, those that run as well (RFC 9114 5.2).
#[tokio::test(flavor = "multi_thread")]
async fn goaway_names_the_first_request_that_is_not_answered() {
    let mut secure = TlsSite::of_http3_by_hand("").await;
    let (_endpoint, connection, _control) = connect(&secure).await;
    let running = async { ask(&connection, head(&request(&[]))).await };
    let stopping = async {
        let mut exchange = secure.site.origin.next().await;
        exchange.write("HTTP/1.1 200 OK\r\ncontent-length: 500000\r\n\r\n").await;
        let stopped = secure.site.stop();
        assert_eq!(timeout(PATIENCE, goaway(&connection)).await.unwrap(), 4);
        // Sent before the client knew.
        assert_eq!(ask(&connection, head(&request(&[]))).await, End::Reset(0x10b));
        exchange.write(vec![7; 500_000]).await;
        assert!(timeout(PATIENCE, stopped).await.unwrap().unwrap());
    };
    let (end, ()) = tokio::join!(running, stopping);
    assert_eq!(end, End::Answered, "the whole of it");
}
