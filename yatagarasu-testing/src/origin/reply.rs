//! A scripted answer of an origin.

use std::fmt::Write;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Fault;

/// A scripted answer.
#[derive(Debug, Clone)]
pub struct Reply {
    form: Form,
    head_at: Option<Gate>,
    rest_at: Option<(usize, Gate)>,
    fault: Option<Fault>,
}

#[derive(Debug, Clone)]
enum Form {
    Message { status: StatusCode, fields: Vec<(String, String)>, body: Bytes },
    Raw(Bytes),
}

impl Reply {
    /// Returns a 200 with `Content-Length`.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::message(200, body.into())
    }

    /// Returns an answer without content. It has `Content-Length: 0`, or no length with 204 and 304.
    pub fn status(status: u16) -> Self {
        Self::message(status, Bytes::new())
    }

    /// Returns a 206 with `body`, which begins at byte `first` of `complete`.
    pub fn part(body: impl Into<Bytes>, first: u64, complete: u64) -> Self {
        let body = body.into();
        let last = first + body.len() as u64 - 1;
        Self::message(206, body).with("content-range", &format!("bytes {first}-{last}/{complete}"))
    }

    /// Returns an answer that sends exactly these bytes and then closes the connection.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self { form: Form::Raw(bytes.into()), head_at: None, rest_at: None, fault: None }
    }

    /// Returns an answer that closes the connection at once.
    pub fn closes() -> Self {
        Self::raw("")
    }

    fn message(status: u16, body: Bytes) -> Self {
        let status = StatusCode::from_u16(status).expect("a status code");
        let form = Form::Message { status, fields: Vec::new(), body };
        Self { form, head_at: None, rest_at: None, fault: None }
    }

    /// Returns the same answer with another status.
    ///
    /// # Panics
    ///
    /// The answer is raw, or there is no such status.
    #[must_use]
    pub fn of_status(mut self, code: u16) -> Self {
        match &mut self.form {
            Form::Message { status, .. } => *status = StatusCode::from_u16(code).expect("a status code"),
            Form::Raw(_) => panic!("raw bytes are sent as they are"),
        }
        self
    }

    /// Adds a field. `Content-Length` and `Transfer-Encoding` replace the default length.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        match &mut self.form {
            Form::Message { fields, .. } => fields.push((name.to_ascii_lowercase(), value.to_owned())),
            Form::Raw(_) => panic!("raw bytes are sent as they are"),
        }
        self
    }

    /// Waits for `gate` before the head is sent.
    #[must_use]
    pub fn head_at(self, gate: &Gate) -> Self {
        Self { head_at: Some(gate.clone()), ..self }
    }

    /// Sends the head and `bytes` bytes of the body, and waits for `gate` before the rest. Raw bytes all count as the
    /// body.
    #[must_use]
    pub fn rest_at(self, bytes: usize, gate: &Gate) -> Self {
        Self { rest_at: Some((bytes, gate.clone())), ..self }
    }

    /// Has a fault happen while it is sent. A gate for the rest of the body does not count then.
    #[must_use]
    pub fn failing(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    /// Returns whether the connection closes after it.
    pub(super) fn ends_the_connection(&self) -> bool {
        matches!(self.form, Form::Raw(_)) || self.fault.is_some()
    }

    /// Sends it in answer to a request.
    pub(super) async fn send(self, socket: &mut TcpStream, method: &str) -> io::Result<()> {
        if let Some(gate) = &self.head_at {
            gate.opened().await;
        }
        let (head, body) = match self.form {
            Form::Message { status, fields, body } => {
                let head = head(status, &fields, body.len());
                (head, if method == "HEAD" { Bytes::new() } else { body })
            }
            Form::Raw(bytes) => (String::new(), bytes),
        };
        if let Some(fault) = self.fault {
            return fault.happen(socket, head.as_bytes(), &body).await;
        }
        socket.write_all(head.as_bytes()).await?;
        match self.rest_at {
            Some((bytes, gate)) if bytes <= body.len() => {
                socket.write_all(&body[..bytes]).await?;
                gate.opened().await;
                socket.write_all(&body[bytes..]).await
            }
            Some(_) | None => socket.write_all(&body).await,
        }
    }
}

fn head(status: StatusCode, fields: &[(String, String)], length: usize) -> String {
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in fields {
        write!(head, "{name}: {value}\r\n").expect("a string takes what is written");
    }
    let framed = fields.iter().any(|(name, _)| name == "content-length" || name == "transfer-encoding");
    if !framed && !matches!(status.as_u16(), 204 | 304) {
        write!(head, "content-length: {length}\r\n").expect("a string takes what is written");
    }
    head + "\r\n"
}

/// A gate that opens once, for everyone.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// Lets everyone who waits or will wait go on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn opened(&self) {
        let mut opening = self.0.subscribe();
        opening.wait_for(|open| *open).await.expect("a gate outlives those who wait");
    }
}
