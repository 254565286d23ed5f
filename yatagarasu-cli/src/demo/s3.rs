//! The S3 server of the demo.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::files::ReadOnlyFiles;

/// The only key pair the server accepts.
pub(super) struct Keys {
    pub(super) access_key: String,
    pub(super) secret_key: String,
}

impl Keys {
    /// Returns a random key pair.
    pub(super) fn random() -> Self {
        // The standard library seeds its hashers from the operating system's random numbers.
        let word = || RandomState::new().hash_one(0_u8);
        Self {
            access_key: format!("DEMO{:016X}", word()),
            secret_key: format!("{:016x}{:016x}", word(), word()),
        }
    }
}

/// An S3 server; `s3s` implements the protocol and checks signatures. Stops when dropped.
pub(super) struct S3Server(JoinHandle<()>);

impl S3Server {
    /// Serves `files` to clients that sign with `keys`.
    pub(super) fn start(listener: TcpListener, files: ReadOnlyFiles, keys: &Keys) -> Self {
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(keys.access_key.as_str(), keys.secret_key.as_str()));
        builder.set_access(ReadOnly);
        #[expect(clippy::disallowed_methods, reason = "aborted when the server is dropped")]
        let accepting = tokio::spawn(accept(listener, builder.build()));
        Self(accepting)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Pause after a connection that cannot be accepted: a file descriptor may be free again by then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

async fn accept(listener: TcpListener, service: S3Service) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                while connections.try_join_next().is_some() {}
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
                connections.spawn(async move {
                    // A client that disconnects is not an error of the server.
                    let _ = connection.await;
                });
            }
            Err(error) => {
                tracing::error!(%error, "the S3 server of the demo cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Allows signed requests to read and list objects, and rejects everything else.
struct ReadOnly;

#[async_trait::async_trait]
impl S3Access for ReadOnly {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "requests must be signed"));
        }
        match context.s3_op().name() {
            "GetObject" | "HeadObject" | "ListObjectsV2" => Ok(()),
            _ => Err(s3_error!(AccessDenied, "objects can be read and listed, nothing else")),
        }
    }
}
