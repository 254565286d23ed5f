//! Resolves host names.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// Resolves names with the operating system, except those under `localhost`, which are this machine (RFC 6761 6.3).
///
/// Many systems look `bucket.localhost` up in the DNS and fail. Virtual hosts could then not be used with a server on
/// the same machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolver(Option<GaiResolver>);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        if name.as_str().to_ascii_lowercase().ends_with(".localhost") {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            let addresses: Vec<_> = loopback.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            return Box::pin(std::future::ready(Ok(addresses.into_iter())));
        }
        let lookup = self.0.get_or_insert_with(GaiResolver::new).call(name);
        Box::pin(async move { Ok(lookup.await?.collect::<Vec<_>>().into_iter()) })
    }
}
