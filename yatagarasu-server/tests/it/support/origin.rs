//! A source with scripted answers, over real sockets. It checks no signatures.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use yatagarasu_testing::PATIENCE;
use yatagarasu_testing::message::{fields, first_line, read_head};
use yatagarasu_testing::origin::S3Server;

use crate::support::site::{Site, bucket, document};

/// The source of one bucket. Dropping it ends its connections.
pub(crate) struct Origin {
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

impl Origin {
    /// Starts a source and a gateway with one bucket at `/static` over it.
    ///
    /// The bucket stores objects of up to 1 MB, 64 MB in all. `s3` and `cache` are further settings.
    pub(crate) async fn start(s3: &str, cache: &str) -> (Self, Site) {
        Self::begin("", "1MB", s3, cache).await
    }

    /// Starts both with further settings of the server.
    pub(crate) async fn start_with(server: &str, s3: &str, cache: &str) -> (Self, Site) {
        Self::begin(server, "1MB", s3, cache).await
    }

    /// Starts both for objects of another size.
    pub(crate) async fn start_sized(max_item_size: &str, s3: &str, cache: &str) -> (Self, Site) {
        Self::begin("", max_item_size, s3, cache).await
    }

    async fn begin(server: &str, max_item_size: &str, s3: &str, cache: &str) -> (Self, Site) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        let cache = format!("max_item_size: {max_item_size:?}, max_size: \"64MB\", {cache}");
        let yaml = document(server, &[bucket(&endpoint, "assets", "/static", s3, &cache)]);
        (Self { shared, accepting }, Site::run(S3Server::start().await.unwrap(), &yaml).await)
    }

    /// Sets the answers to requests for the object `key` from now on, one after the other. The last one repeats.
    ///
    /// An object without answers is missing.
    pub(crate) fn answer(&self, key: &str, replies: impl IntoIterator<Item = Reply>) {
        let mut objects = self.shared.objects.lock().unwrap();
        objects.entry(key.to_owned()).or_default().replies = replies.into_iter().collect();
    }

    /// Returns the requests for `key` so far, in order.
    pub(crate) fn asked(&self, key: &str) -> Vec<Asked> {
        let objects = self.shared.objects.lock().unwrap();
        objects.get(key).map(|object| object.asked.clone()).unwrap_or_default()
    }

    /// Waits until `count` requests for `key` have arrived.
    pub(crate) async fn wait_asked(&self, key: &str, count: usize) {
        let arrive = async {
            loop {
                let arrival = self.shared.arrived.notified();
                if self.asked(key).len() >= count {
                    return;
                }
                arrival.await;
            }
        };
        let arrived = timeout(PATIENCE, arrive).await.is_ok();
        assert!(arrived, "{} of {count} requests for {key} arrived", self.asked(key).len());
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Default)]
struct Shared {
    objects: Mutex<HashMap<String, Object>>,
    arrived: Notify,
}

/// Answers and requests of one key.
#[derive(Default)]
struct Object {
    replies: VecDeque<Reply>,
    asked: Vec<Asked>,
}

impl Shared {
    /// Records a request and returns the answer to it.
    fn reply(&self, key: String, asked: Asked) -> Reply {
        let mut objects = self.objects.lock().unwrap();
        let object = objects.entry(key).or_default();
        object.asked.push(asked);
        let reply = if object.replies.len() > 1 {
            object.replies.pop_front()
        } else {
            object.replies.front().cloned()
        };
        drop(objects);
        self.arrived.notify_waiters();
        reply.unwrap_or_else(|| Reply::status(404))
    }
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    joined: HashMap<String, String>,
}

impl Asked {
    fn new(method: &str, query: &str, headers: HeaderMap) -> Self {
        let mut joined = HashMap::<String, String>::new();
        for (name, value) in &headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let all = joined.entry(name.to_string()).or_default();
            if !all.is_empty() {
                all.push_str(", ");
            }
            all.push_str(&value);
        }
        Self { method: method.to_owned(), query: query.to_owned(), headers, joined }
    }

    /// Returns the value of a field, or an empty string if it is missing. Several values are joined with `, `.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.joined.get(name).map_or("", String::as_str)
    }
}

/// A scripted answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    form: Form,
    head_at: Option<Gate>,
    rest_at: Option<(usize, Gate)>,
}

#[derive(Debug, Clone)]
enum Form {
    Message { status: StatusCode, fields: Vec<(String, String)>, body: Bytes },
    Raw(Bytes),
}

impl Reply {
    /// Returns a 200 with `Content-Length`.
    pub(crate) fn ok(body: impl Into<Bytes>) -> Self {
        Self::message(200, body.into())
    }

    /// Returns an answer without content. It has `Content-Length: 0`, or no length with 204 and 304.
    pub(crate) fn status(status: u16) -> Self {
        Self::message(status, Bytes::new())
    }

    /// Returns a 206 with `body`, which begins at byte `first` of `complete`.
    pub(crate) fn part(body: impl Into<Bytes>, first: u64, complete: u64) -> Self {
        let body = body.into();
        let last = first + body.len() as u64 - 1;
        Self::message(206, body).with("content-range", &format!("bytes {first}-{last}/{complete}"))
    }

    /// Returns an answer that sends exactly these bytes and then closes the connection.
    pub(crate) fn raw(bytes: impl Into<Bytes>) -> Self {
        Self { form: Form::Raw(bytes.into()), head_at: None, rest_at: None }
    }

    /// Returns an answer that closes the connection at once.
    pub(crate) fn closes() -> Self {
        Self::raw("")
    }

    fn message(status: u16, body: Bytes) -> Self {
        let status = StatusCode::from_u16(status).unwrap();
        Self { form: Form::Message { status, fields: Vec::new(), body }, head_at: None, rest_at: None }
    }

    /// Adds a field. `Content-Length` and `Transfer-Encoding` replace the default length.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        match &mut self.form {
            Form::Message { fields, .. } => fields.push((name.to_ascii_lowercase(), value.to_owned())),
            Form::Raw(_) => panic!("raw bytes are sent as they are"),
        }
        self
    }

    /// Waits for `gate` before the head is sent.
    pub(crate) fn head_at(self, gate: &Gate) -> Self {
        Self { head_at: Some(gate.clone()), ..self }
    }

    /// Sends the head and `bytes` bytes of the body, and waits for `gate` before the rest. Raw bytes all count as the
    /// body.
    pub(crate) fn rest_at(self, bytes: usize, gate: &Gate) -> Self {
        Self { rest_at: Some((bytes, gate.clone())), ..self }
    }

    fn ends_the_connection(&self) -> bool {
        matches!(self.form, Form::Raw(_))
    }

    async fn send(self, socket: &mut TcpStream, method: &str) -> io::Result<()> {
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
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn opened(&self) {
        let mut opening = self.0.subscribe();
        opening.wait_for(|open| *open).await.expect("a gate outlives those who wait");
    }
}

/// Accepts connections for ever. Dropping the future ends them.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _) = accepted.unwrap();
                connections.spawn(serve(socket, Arc::clone(&shared)));
            }
            Some(ended) = connections.join_next() => ended.unwrap(),
        }
    }
}

/// Answers the requests of one connection until either side closes it.
async fn serve(socket: TcpStream, shared: Arc<Shared>) {
    socket.set_nodelay(true).unwrap();
    let mut socket = BufReader::new(socket);
    while let Some(head) = read_head(&mut socket).await {
        let (line, lines) = first_line(&head);
        let mut line = std::str::from_utf8(line).unwrap().split(' ');
        let (method, target) = (line.next().unwrap(), line.next().unwrap());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let key = path.strip_prefix("/bucket/").unwrap_or_default();
        let key = percent_decode_str(key).decode_utf8().unwrap().into_owned();
        let reply = shared.reply(key, Asked::new(method, query, fields(lines)));
        let ends = reply.ends_the_connection();
        // The gateway may close the connection at any time.
        if reply.send(socket.get_mut(), method).await.is_err() || ends {
            return;
        }
    }
}
