//! A client that sends exactly the given request and returns the whole response.

use std::error::Error;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::{Response, request};

/// A client of one server.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    token: Option<String>,
}

impl Client {
    /// Makes a client that reuses its HTTP/1.1 connections.
    pub fn new(address: SocketAddr) -> Self {
        let pool = Pool::builder(TokioExecutor::new()).build_http();
        Self { pool, address, token: None }
    }

    /// Makes a client that opens an HTTP/1.1 connection for each request.
    pub fn unpooled(address: SocketAddr) -> Self {
        let pool = Pool::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Self { pool, address, token: None }
    }

    /// Makes a client that speaks HTTP/2 without negotiation.
    pub fn http2(address: SocketAddr) -> Self {
        let pool = Pool::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { pool, address, token: None }
    }

    /// Sends `token` with each request (RFC 9110 11.6.2).
    #[must_use]
    pub fn bearing(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    /// Returns the address of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a GET.
    pub async fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], Bytes::new()).await
    }

    /// Sends a HEAD.
    pub async fn head(&self, path: &str) -> Response {
        self.send("HEAD", path, &[], Bytes::new()).await
    }

    /// Sends a GET with further fields.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send("GET", path, headers, Bytes::new()).await
    }

    /// Sends a request.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Response {
        self.try_send(method, path, headers, body).await.expect("a whole response")
    }

    /// Sends a request. Returns an error if the response breaks off.
    pub async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response, Box<dyn Error + Send + Sync>> {
        let mut request = request(method, format!("http://{}{path}", self.address), headers);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = self.pool.request(request.body(Full::new(body))?).await?;
        Ok(Response::read(response).await?)
    }
}
