//! Resolves host names, and remembers the addresses for a while.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tokio::time::Instant;
use tower_service::Service;
use yatagarasu_core::LogLimit;

/// How long addresses are used without asking again. S3's own records live for a few seconds only, because it takes
/// addresses out of service that way: a failed connection forgets the addresses at once.
const FRESH: Duration = Duration::from_secs(10);

/// How long addresses are used if no newer ones can be had.
const STALE: Duration = Duration::from_secs(600);

type Addresses = Arc<[SocketAddr]>;

/// A lookup that several connections wait for.
type Lookup = Shared<BoxFuture<'static, Result<Addresses, Arc<io::Error>>>>;

/// Resolves names with the operating system, except those under `localhost`, which are this machine (RFC 6761 6.3).
///
/// Many systems look `bucket.localhost` up in the DNS and fail. Virtual hosts could then not be used with a server on
/// the same machine. Connections that are opened at the same time share a lookup. Each begins with another address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolver {
    known: Arc<Mutex<Known>>,
    /// For lookups that fail.
    log: Arc<LogLimit>,
}

#[derive(Debug, Default)]
struct Known {
    names: HashMap<String, Resolved>,
    /// Number of connections so far.
    turns: usize,
}

#[derive(Debug)]
struct Resolved {
    lookup: Lookup,
    begun: Instant,
    /// Whether a connection to the addresses has failed.
    doubted: bool,
    /// The addresses of an earlier lookup, and when it began.
    before: Option<(Addresses, Instant)>,
}

impl Resolver {
    /// Has the name resolved anew before the next connection, because one failed. The addresses are still better than
    /// none.
    pub(crate) fn forget(&self, name: &str) {
        if let Some(resolved) = self.known().names.get_mut(name) {
            resolved.doubted = true;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the lookup of a name that is running or fresh, or begins one. Returns earlier addresses as well.
    fn lookup(&self, name: &Name) -> (Lookup, Option<Addresses>, usize) {
        let mut known = self.known();
        known.turns = known.turns.wrapping_add(1);
        let turn = known.turns;
        let earlier = known.names.get(name.as_str()).and_then(|resolved| {
            let latest = resolved.lookup.peek().and_then(|result| result.as_ref().ok());
            let latest = latest.map(|addresses| (Arc::clone(addresses), resolved.begun));
            latest.or_else(|| resolved.before.clone()).filter(|(_, begun)| begun.elapsed() < STALE)
        });
        if let Some(resolved) = known.names.get(name.as_str()) {
            let usable = match resolved.lookup.peek() {
                Some(Ok(_)) => !resolved.doubted && resolved.begun.elapsed() < FRESH,
                Some(Err(_)) => false,
                None => true,
            };
            if usable {
                return (resolved.lookup.clone(), earlier.map(|(addresses, _)| addresses), turn);
            }
        }
        let lookup = system_lookup(name.clone()).boxed().shared();
        let (begun, before) = (Instant::now(), earlier.clone());
        let resolved = Resolved { lookup: lookup.clone(), begun, doubted: false, before };
        known.names.insert(name.as_str().to_owned(), resolved);
        (lookup, earlier.map(|(addresses, _)| addresses), turn)
    }
}

async fn system_lookup(name: Name) -> Result<Addresses, Arc<io::Error>> {
    let found = GaiResolver::new().call(name).await.map_err(Arc::new)?;
    Ok(found.collect())
}

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
        let (lookup, earlier, turn) = self.lookup(&name);
        let log = Arc::clone(&self.log);
        Box::pin(async move {
            let addresses = match (lookup.await, earlier) {
                (Ok(addresses), _) => addresses,
                (Err(error), Some(earlier)) => {
                    if let Some(failures) = log.due() {
                        let name = name.as_str();
                        tracing::warn!(name, %error, failures, "the DNS lookup of a host failed: its last addresses stay in use");
                    }
                    earlier
                }
                (Err(error), None) => {
                    let reason = format!("the name `{}` cannot be resolved: {error}", name.as_str());
                    return Err(io::Error::new(error.kind(), reason));
                }
            };
            Ok(rotated(&addresses, turn).into_iter())
        })
    }
}

/// Returns the addresses with another one first at each turn, so that connections spread over them. IPv4 and IPv6 keep
/// their order.
fn rotated(addresses: &[SocketAddr], turn: usize) -> Vec<SocketAddr> {
    let first_family = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (mut preferred, mut others): (Vec<_>, Vec<_>) =
        addresses.iter().partition(|address| address.is_ipv4() == first_family);
    for family in [&mut preferred, &mut others] {
        let length = family.len().max(1);
        family.rotate_left(turn % length);
    }
    preferred.append(&mut others);
    preferred
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_spread_over_the_addresses() {
        let addresses: Vec<SocketAddr> =
            ["10.0.0.1:0", "[::1]:0", "10.0.0.2:0", "10.0.0.3:0"].map(|text| text.parse().unwrap()).to_vec();
        let first: Vec<_> = (0..4).map(|turn| rotated(&addresses, turn)[0].to_string()).collect();
        assert_eq!(first, ["10.0.0.1:0", "10.0.0.2:0", "10.0.0.3:0", "10.0.0.1:0"]);
        assert_eq!(rotated(&addresses, 1).last(), Some(&addresses[1]));
        assert!(rotated(&[], 5).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn lookups_are_shared_and_remembered_for_a_while() {
        let resolver = Resolver::default();
        let name: Name = "127.0.0.1".parse().unwrap();
        let (one, earlier, _) = resolver.lookup(&name);
        let (other, ..) = resolver.lookup(&name);
        assert!(one.ptr_eq(&other) && earlier.is_none());
        let addresses = one.await.unwrap();
        assert!(resolver.lookup(&name).0.ptr_eq(&other));
        tokio::time::advance(FRESH).await;
        let (later, earlier, _) = resolver.lookup(&name);
        assert!(!later.ptr_eq(&other));
        assert_eq!(earlier.as_deref(), Some(&*addresses));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_connection_forgets_them() {
        let resolver = Resolver::default();
        let name: Name = "127.0.0.1".parse().unwrap();
        let (one, ..) = resolver.lookup(&name);
        one.clone().await.unwrap();
        resolver.forget("127.0.0.1");
        let (later, earlier, _) = resolver.lookup(&name);
        assert!(!later.ptr_eq(&one) && earlier.is_some());
    }
}
