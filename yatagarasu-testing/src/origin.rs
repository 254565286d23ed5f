//! An S3 server on a real socket that answers as a test says.
//!
//! [`Origin`] accepts connections, reads requests and records each as a [`Request`]. A test says how it answers them:
//!
//! - It serves [`MemoryObjects`] as S3 does. `s3s` implements the protocol and checks signatures.
//! - It answers requests for a scripted key with [`Reply`]s, one after the other. Nobody checks their signatures; the
//!   replies may wait for a [`Gate`], break off with a [`Fault`] or be nonsense. A [`Version`] answers ranges and
//!   conditions with them.
//! - Started [by hand](Origin::by_hand), it gives each connection with its first request to the test, as an
//!   [`Exchange`].
//!
//! A [`ClosedPort`] is an origin that refuses connections.

mod access;
mod closed_port;
mod content;
mod exchange;
mod fault;
mod objects;
mod operations;
mod reply;
mod request;
mod s3;
mod script;
mod serve;
mod version;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use yatagarasu_s3::{Access, Addressing, SourceBackend, SourceConfig, StaticCredentials};

pub use access::{ACCESS_KEY, SECRET_KEY, SESSION_TOKEN};
pub use closed_port::ClosedPort;
pub use exchange::Exchange;
pub use fault::Fault;
pub use objects::{BUCKET, MemoryObjects};
pub use reply::{Gate, Reply};
pub use request::Request;
pub use version::Version;

use crate::PATIENCE;
use serve::Shared;

/// An S3 server on its own loopback port. Stops when dropped, and closes its connections.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    exchanges: Mutex<mpsc::UnboundedReceiver<Exchange>>,
    accepting: JoinHandle<()>,
    closed: Option<ClosedPort>,
}

impl Origin {
    /// Starts an origin without objects and scripts.
    pub async fn start() -> Self {
        Self::listen(false).await
    }

    /// Starts an origin that answers nothing. [`next`](Self::next) returns its requests.
    pub async fn by_hand() -> Self {
        Self::listen(true).await
    }

    async fn listen(by_hand: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (hand, exchanges) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(address.port(), by_hand.then_some(hand)));
        #[expect(clippy::disallowed_methods, reason = "aborted when the origin is dropped")]
        let accepting = tokio::spawn(serve::accept(listener, Arc::clone(&shared)));
        Self { address, shared, exchanges: Mutex::new(exchanges), accepting, closed: None }
    }

    /// Returns the objects that are served as S3 does.
    pub fn objects(&self) -> &MemoryObjects {
        &self.shared.objects
    }

    /// Sets the answers to requests for the object `key` from now on, one after the other. The last one repeats.
    ///
    /// The key has to stand in the path, behind [`BUCKET`].
    pub fn answer(&self, key: &str, replies: impl IntoIterator<Item = Reply>) {
        self.shared.script.set(key, replies.into_iter().collect());
    }

    /// Answers requests for keys without a script with what `decide` makes of them. The origin serves its objects if
    /// that is nothing.
    pub fn decide(&self, decide: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) {
        self.shared.script.decide(script::Decides(Arc::new(decide)));
    }

    /// Returns the next connection with its first request, in the order in which these arrived.
    pub async fn next(&self) -> Exchange {
        let mut exchanges = self.exchanges.lock().await;
        let next = timeout(PATIENCE, exchanges.recv()).await.expect("a request in time");
        next.expect("a test takes exchanges from an origin that it answers by hand")
    }

    /// Returns the requests so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.script.requests(|_| true)
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.shared.script.forget();
    }

    /// Returns the requests for `key` so far, in order.
    pub fn asked(&self, key: &str) -> Vec<Request> {
        self.shared.script.requests(|request| request.key == key)
    }

    /// Waits until `count` requests for `key` have arrived.
    pub async fn wait_asked(&self, key: &str, count: usize) {
        let arrive = async {
            loop {
                let arrival = self.shared.script.arrival();
                if self.asked(key).len() >= count {
                    return;
                }
                arrival.await;
            }
        };
        let arrived = timeout(PATIENCE, arrive).await.is_ok();
        assert!(arrived, "{} of {count} requests for {key} arrived", self.asked(key).len());
    }

    /// Returns the number of connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Closes the listener and the connections that no test has taken, and has later ones refused.
    pub async fn refuse(&mut self) {
        self.accepting.abort();
        // Once the task has ended, the listener is closed.
        let _ = (&mut self.accepting).await;
        self.closed = Some(ClosedPort::at(self.address));
    }

    /// Returns `http://127.0.0.1:PORT`, the endpoint for path-style addressing.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns `http://localhost:PORT`, the endpoint for virtual-host addressing.
    pub fn virtual_host_endpoint(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// Returns the configuration of a source for `bucket`, signed with the origin's key.
    pub fn source_config(&self, bucket: &str, backend: SourceBackend) -> SourceConfig {
        SourceConfig {
            backend,
            region: Some("us-east-1".to_owned()),
            endpoint: Some(self.endpoint()),
            addressing: Addressing::Path,
            access: Access::Static(StaticCredentials {
                access_key: ACCESS_KEY.to_owned(),
                secret_key: SECRET_KEY.to_owned(),
                session_token: None,
            }),
            ..SourceConfig::new(bucket)
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
