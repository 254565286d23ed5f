//! Serves one connection to the source.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::objects::{BUCKET, Object};

/// Longest request head that is read, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Slices passed to the kernel at a time: a head and about 1 MiB.
const SLICES: usize = 17;

/// Answers requests and counts them until the client leaves.
pub(super) async fn answer(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    requests: &AtomicU64,
) -> io::Result<()> {
    let mut received = Vec::with_capacity(4096);
    loop {
        let end = loop {
            if let Some(end) = head_end(&received) {
                break end;
            }
            if received.len() > HEAD_BYTES_MAX || socket.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        };
        requests.fetch_add(1, Ordering::Relaxed);
        let (head, object) = response(&received[..end]);
        received.drain(..end);
        send(&mut socket, &head, object).await?;
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Returns the response head, and the object that follows it, if any.
fn response(request: &[u8]) -> (Vec<u8>, Option<Object>) {
    let text = String::from_utf8_lossy(request);
    let mut words = text.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let key = path.strip_prefix('/').and_then(|path| path.strip_prefix(BUCKET)?.strip_prefix('/'));
    match key.and_then(Object::of) {
        Some(object) => (found(object), (method == "GET").then_some(object)),
        None => (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(), None),
    }
}

fn found(object: Object) -> Vec<u8> {
    #[expect(clippy::disallowed_methods, reason = "the source has a clock of its own, as S3 does")]
    let now = SystemTime::now();
    format!(
        "HTTP/1.1 200 OK\r\nDate: {}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\nETag: {}\r\n\
         Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nAccept-Ranges: bytes\r\nCache-Control: max-age=3600\r\n\
         Server: compare\r\n\r\n",
        httpdate::fmt_http_date(now),
        object.length,
        object.tag(),
    )
    .into_bytes()
}

/// Writes a head and an object's bytes. The bytes are never copied into a buffer of the stream.
async fn send(socket: &mut (impl AsyncWrite + Unpin), head: &[u8], object: Option<Object>) -> io::Result<()> {
    let Some(object) = object else {
        socket.write_all(head).await?;
        return socket.flush().await;
    };
    let (mut head, mut body) = (head, object.bytes());
    while !head.is_empty() || body.left() > 0 {
        let mut slices = [IoSlice::new(&[]); SLICES];
        slices[0] = IoSlice::new(head);
        let named = body.name(&mut slices[1..]);
        let written = socket.write_vectored(&slices[..=named]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = written.min(head.len());
        head = &head[of_head..];
        body.advance(written - of_head);
    }
    socket.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: &str, status: &str, length: Option<u64>) {
        let (head, object) = response(request.as_bytes());
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
        assert!(head.ends_with("\r\n\r\n") && !head.contains("\r\n "), "{head}");
        assert_eq!(object.map(|object| object.length), length, "{request}");
    }

    #[test]
    fn objects_are_found_by_path() {
        check("GET /bucket/1k HTTP/1.1\r\n\r\n", "200", Some(1024));
        check("GET /bucket/miss/7?x-id=GetObject HTTP/1.1\r\n\r\n", "200", Some(10_240));
        check("HEAD /bucket/1k HTTP/1.1\r\n\r\n", "200", None);
        check("GET /bucket/none HTTP/1.1\r\n\r\n", "404", None);
        check("GET /other/1k HTTP/1.1\r\n\r\n", "404", None);
        check("nonsense\r\n\r\n", "404", None);
    }

    #[test]
    fn a_head_ends_at_an_empty_line() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\r\nGET"), Some(18));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n"), None);
    }
}
