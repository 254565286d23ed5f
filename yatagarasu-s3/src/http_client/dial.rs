//! Opens TCP connections to the addresses of a host, one after the other (RFC 8305).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tower_service::Service;
use yatagarasu_sys::process::is_out_of_files;

use crate::http_client::resolve::Resolver;

/// Time after which the next address is tried, too (RFC 8305 5).
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// Opens connections. An address that does not answer costs a quarter of a second once, and is tried last for a while.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    resolver: Resolver,
}

/// A connection that is being opened. Its address is avoided if it fails, or if it has not answered in the time that
/// others need.
#[derive(Debug)]
pub(super) struct Attempt {
    resolver: Resolver,
    address: SocketAddr,
    begun: Instant,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    None,
    Succeeded,
    Failed,
    /// It says nothing of the address.
    Void,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        match self.outcome {
            Outcome::Succeeded => self.resolver.trust(self.address),
            Outcome::Failed => self.resolver.avoid(self.address),
            Outcome::None if self.begun.elapsed() >= NEXT_AFTER => self.resolver.avoid(self.address),
            Outcome::None | Outcome::Void => {}
        }
    }
}

impl Attempt {
    /// Records whether it has succeeded.
    pub(super) fn ended(mut self, succeeded: bool) {
        self.outcome = if succeeded { Outcome::Succeeded } else { Outcome::Failed };
    }
}

impl Dialer {
    pub(super) fn new(resolver: Resolver) -> Self {
        Self { resolver }
    }

    /// Opens a connection to the server of a URI.
    ///
    /// # Errors
    ///
    /// Returns the error of the lookup, or of the first address that failed.
    pub(super) async fn connect(&self, uri: &Uri) -> io::Result<TcpStream> {
        let host = uri.host().unwrap_or_default();
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let addresses = self.resolver.resolve(host, port).await?;
        let stream = self.race(host, addresses).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Returns the first connection that is open. The next address is tried once one has failed, or has not answered
    /// for a while.
    async fn race(&self, host: &str, addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
        let mut waiting = addresses.into_iter();
        let mut running: FuturesUnordered<_> =
            waiting.next().into_iter().map(|address| self.open(address)).collect();
        let mut failure = None;
        loop {
            tokio::select! {
                biased;
                opened = running.next() => match opened {
                    Some(Ok(stream)) => return Ok(stream),
                    Some(Err(error)) => {
                        failure.get_or_insert(error);
                        running.extend(waiting.next().map(|address| self.open(address)));
                    }
                    None => {
                        let none = || io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address"));
                        return Err(failure.unwrap_or_else(none));
                    }
                },
                () = sleep(NEXT_AFTER), if waiting.len() > 0 => {
                    running.extend(waiting.next().map(|address| self.open(address)));
                }
            }
        }
    }

    async fn open(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let mut attempt = self.attempt(address);
        let opened = TcpStream::connect(address).await;
        attempt.outcome = match &opened {
            Ok(_) => Outcome::Succeeded,
            Err(error) if is_out_of_files(error) => Outcome::Void,
            Err(_) => Outcome::Failed,
        };
        opened
    }

    /// Begins something that an address has to answer.
    pub(super) fn attempt(&self, address: SocketAddr) -> Attempt {
        Attempt { resolver: self.resolver.clone(), address, begun: Instant::now(), outcome: Outcome::None }
    }

    /// Has the host resolved anew before the next connection, because one failed.
    pub(super) fn forget(&self, host: &str) {
        self.resolver.forget(host);
    }
}

/// For a tunnel through a proxy.
impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { dialer.connect(&uri).await.map(TokioIo::new) })
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;
    use crate::http_client::resolve::tests::of;

    /// Binds a socket that takes no further connection: the system drops what a client sends to open one.
    async fn silent(port: u16) -> (Socket, Vec<TcpStream>) {
        let address = SocketAddr::from(([127, 0, 0, 2], port));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(0).unwrap();
        let mut taken = Vec::new();
        while let Ok(Ok(stream)) =
            tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await
        {
            taken.push(stream);
        }
        (socket, taken)
    }

    async fn reached(dialer: &Dialer, port: u16) -> (io::Result<SocketAddr>, Duration) {
        let uri = format!("http://s3.example:{port}/").parse().unwrap();
        let begun = Instant::now();
        let stream = dialer.connect(&uri).await;
        (stream.and_then(|stream| stream.peer_addr()), begun.elapsed())
    }

    #[tokio::test]
    async fn a_dead_address_costs_little_and_only_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let _silent = silent(alive.port()).await;
        let dialer = Dialer::new(of(&["127.0.0.1", "127.0.0.2"]));
        let mut slow = 0;
        for _ in 0..10 {
            let (peer, took) = reached(&dialer, alive.port()).await;
            assert_eq!(peer.unwrap(), alive);
            assert!(took < NEXT_AFTER * 2, "{took:?}");
            slow += usize::from(took >= NEXT_AFTER);
        }
        assert_eq!(slow, 1, "it comes last from then on");
    }

    #[tokio::test]
    async fn an_address_that_refuses_leaves_the_connection_to_the_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let dialer = Dialer::new(of(&["127.0.0.2", "127.0.0.3", "127.0.0.1"]));
        for _ in 0..6 {
            assert_eq!(reached(&dialer, alive.port()).await.0.unwrap(), alive);
        }
        drop(listener);
        let refused = reached(&dialer, alive.port()).await.0.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let nowhere = reached(&Dialer::new(of(&[])), 80).await.0.unwrap_err();
        assert_eq!(nowhere.to_string(), "`s3.example` has no address");
    }

    #[tokio::test]
    async fn an_address_that_fails_later_comes_last_too() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let _other = TcpListener::bind(("127.0.0.2", alive.port())).await.unwrap();
        let dialer = Dialer::new(of(&["127.0.0.1", "127.0.0.2"]));
        // Its TLS handshake fails, for example.
        let broken = SocketAddr::from(([127, 0, 0, 2], alive.port()));
        dialer.attempt(broken).ended(false);
        for _ in 0..4 {
            assert_eq!(reached(&dialer, alive.port()).await.0.unwrap(), alive);
        }
    }
}
