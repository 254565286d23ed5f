//! The listener of the test server.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::host::SingleDomain;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::MemoryObjects;
use super::access::{Strict, keys};
use yatagarasu_s3::{Access, Addressing, SourceBackend, SourceConfig, StaticCredentials};

/// The requests and connections that reached a server.
#[derive(Debug, Default)]
struct Log {
    requests: Mutex<Vec<Uri>>,
    connections: AtomicU64,
}

/// An S3 server on its own loopback port. Stops when dropped.
#[derive(Debug)]
pub struct S3Server {
    objects: Arc<MemoryObjects>,
    address: SocketAddr,
    log: Arc<Log>,
    accepting: JoinHandle<()>,
}

impl S3Server {
    /// Starts a server without objects.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let objects = Arc::new(MemoryObjects::default());
        let service = service(&objects, address.port());
        let log = Arc::new(Log::default());
        #[expect(clippy::disallowed_methods, reason = "aborted when the server is dropped")]
        let accepting = tokio::spawn(accept(listener, service, Arc::clone(&log)));
        Ok(Self { objects, address, log, accepting })
    }

    /// Returns the objects of the server.
    pub fn objects(&self) -> &MemoryObjects {
        &self.objects
    }

    /// Returns `http://127.0.0.1:PORT`, the endpoint for path-style addressing.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns `http://localhost:PORT`, the endpoint for virtual-host addressing.
    pub fn virtual_host_endpoint(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// Returns the URIs requested so far, as they were on the wire.
    pub fn requests(&self) -> Vec<Uri> {
        self.log.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the number of connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.log.connections.load(Ordering::Relaxed)
    }

    /// Returns the configuration of a source for `bucket`, signed with the server's key.
    pub fn source_config(&self, bucket: &str, backend: SourceBackend) -> SourceConfig {
        SourceConfig {
            backend,
            bucket: bucket.to_owned(),
            region: Some("us-east-1".to_owned()),
            endpoint: Some(self.endpoint()),
            addressing: Addressing::Path,
            access: Access::Static(StaticCredentials {
                access_key: super::ACCESS_KEY.to_owned(),
                secret_key: super::SECRET_KEY.to_owned(),
                session_token: None,
            }),
            connect_timeout: std::time::Duration::from_secs(5),
            receive_buffer: None,
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn service(objects: &Arc<MemoryObjects>, port: u16) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Shared(Arc::clone(objects)));
    builder.set_auth(keys());
    builder.set_access(Strict(Arc::clone(objects)));
    builder.set_host(SingleDomain::new(&format!("localhost:{port}")).expect("a domain"));
    builder.build()
}

/// Shares one set of objects between the service and the test.
struct Shared(Arc<MemoryObjects>);

#[async_trait::async_trait]
impl s3s::S3 for Shared {
    async fn get_object(
        &self,
        request: s3s::S3Request<s3s::dto::GetObjectInput>,
    ) -> s3s::S3Result<s3s::S3Response<s3s::dto::GetObjectOutput>> {
        self.0.get_object(request).await
    }

    async fn head_object(
        &self,
        request: s3s::S3Request<s3s::dto::HeadObjectInput>,
    ) -> s3s::S3Result<s3s::S3Response<s3s::dto::HeadObjectOutput>> {
        self.0.head_object(request).await
    }
}

async fn accept(listener: TcpListener, service: S3Service, log: Arc<Log>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        log.connections.fetch_add(1, Ordering::Relaxed);
        let (service, log) = (service.clone(), Arc::clone(&log));
        connections.spawn(async move {
            let answer = service_fn(move |request: http::Request<Incoming>| {
                log.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.uri().clone());
                let service = service.clone();
                async move { service.call(request.map(s3s::Body::from)).await }
            });
            // A client that disconnects is not an error of the server.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}
