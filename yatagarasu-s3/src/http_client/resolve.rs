//! Resolves host names, and remembers the addresses for a while.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use yatagarasu_core::LogLimit;

/// How long addresses are used without asking again. The system does not tell for how long they are good. S3's own live
/// for a few seconds only, because it takes addresses out of service that way: a failed connection has the name
/// looked up at once.
const FRESH: Duration = Duration::from_secs(30);

/// How long addresses are used if no newer ones can be had.
const STALE: Duration = Duration::from_secs(600);

/// How long a connection waits for newer addresses if there are older ones.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long an address comes last that did not answer.
const AVOIDED: Duration = Duration::from_secs(30);

type Addresses = Arc<[SocketAddr]>;

/// A lookup that several connections wait for.
type Lookup = Shared<oneshot::Receiver<Result<Addresses, Arc<io::Error>>>>;

/// Asks the operating system for the addresses of a name. Blocks.
type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Resolves names with the operating system, except those under `localhost`, which are this machine (RFC 6761 6.3).
///
/// Many systems look `bucket.localhost` up in the DNS and fail. Virtual hosts could then not be used with a server on
/// the same machine. There is at most one lookup of a name at a time, in a thread of its own: a resolver that does not
/// answer holds up nothing else. Each connection begins with another address, and with those last that did not answer
/// before.
#[derive(Clone)]
pub(super) struct Resolver {
    look_up: Arc<LookUp>,
    known: Arc<Mutex<Known>>,
    /// For lookups that fail.
    log: Arc<LogLimit>,
}

#[derive(Debug, Default)]
struct Known {
    names: HashMap<String, Resolved>,
    /// Addresses that did not answer, and since when they come last.
    avoided: HashMap<SocketAddr, Instant>,
    /// Number of connections so far.
    turns: usize,
}

#[derive(Debug, Default)]
struct Resolved {
    /// The lookup that is running.
    running: Option<Lookup>,
    /// The latest addresses, and when their lookup began.
    latest: Option<(Addresses, Instant)>,
    /// Whether a connection to the addresses has failed.
    doubted: bool,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Resolver {
    /// Returns the resolver of this process. All buckets share it, and it outlives a reload.
    pub(super) fn of_process() -> Self {
        static OF_PROCESS: LazyLock<Resolver> = LazyLock::new(|| Resolver::new(system));
        OF_PROCESS.clone()
    }

    fn new(look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self { look_up: Arc::new(look_up), known: Arc::default(), log: Arc::default() }
    }

    /// Returns the addresses of a host, in the order in which a connection tries them. The host may be an address.
    ///
    /// # Errors
    ///
    /// Returns the error of the lookup, if no earlier addresses are known.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let host = host.trim_matches(['[', ']']);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        if host.to_ascii_lowercase().ends_with(".localhost") {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            return Ok(loopback.map(|address| SocketAddr::new(address, port)).to_vec());
        }
        let (lookup, earlier) = match self.lookup(host) {
            Ok(addresses) => return Ok(self.ordered(&addresses, port)),
            Err(lookup) => lookup,
        };
        let found = match &earlier {
            None => lookup.await,
            Some(earlier) => match timeout(PATIENCE, lookup).await {
                Ok(found) => found,
                Err(_) => Ok(Ok(Arc::clone(earlier))),
            },
        };
        let ended = || Arc::new(io::Error::other("the lookup ended without an answer"));
        match (found.unwrap_or_else(|_| Err(ended())), earlier) {
            (Ok(addresses), _) => Ok(self.ordered(&addresses, port)),
            (Err(error), Some(earlier)) => {
                if let Some(failures) = self.log.due() {
                    tracing::warn!(name = host, %error, failures, "the DNS lookup of a host failed: its last addresses stay in use");
                }
                Ok(self.ordered(&earlier, port))
            }
            (Err(error), None) => {
                let reason = format!("the name `{host}` cannot be resolved: {error}");
                Err(io::Error::new(error.kind(), reason))
            }
        }
    }

    /// Has the name resolved anew before the next connection, because one failed. The addresses are still better than
    /// none.
    pub(super) fn forget(&self, host: &str) {
        if let Some(resolved) = self.known().names.get_mut(host.trim_matches(['[', ']'])) {
            resolved.doubted = true;
        }
    }

    /// Tries an address last for a while, because it did not answer.
    pub(super) fn avoid(&self, address: SocketAddr) {
        let mut known = self.known();
        known.avoided.retain(|_, since| since.elapsed() < AVOIDED);
        known.avoided.insert(address, Instant::now());
    }

    /// Tries an address as before, because it has answered.
    pub(super) fn trust(&self, address: SocketAddr) {
        let mut known = self.known();
        if !known.avoided.is_empty() {
            known.avoided.remove(&address);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the addresses of a name if they are fresh.
    ///
    /// # Errors
    ///
    /// Else returns the running lookup, or a new one, and earlier addresses.
    fn lookup(&self, name: &str) -> Result<Addresses, (Lookup, Option<Addresses>)> {
        let mut known = self.known();
        let resolved = known.names.entry(name.to_owned()).or_default();
        let latest = resolved.latest.as_ref();
        if let Some((addresses, _)) = latest.filter(|(_, begun)| !resolved.doubted && begun.elapsed() < FRESH)
        {
            return Ok(Arc::clone(addresses));
        }
        let earlier = latest.filter(|(_, begun)| begun.elapsed() < STALE);
        let earlier = earlier.map(|(addresses, _)| Arc::clone(addresses));
        // A thread that did not begin, or has panicked, has left it behind.
        if resolved.running.as_ref().is_some_and(|running| running.peek().is_some()) {
            resolved.running = None;
        }
        let running = resolved.running.get_or_insert_with(|| self.begin(name));
        Err((running.clone(), earlier))
    }

    /// Looks a name up in a thread of its own.
    fn begin(&self, name: &str) -> Lookup {
        let (tell, told) = oneshot::channel();
        let (look_up, known) = (Arc::clone(&self.look_up), Arc::clone(&self.known));
        let (name, begun) = (name.to_owned(), Instant::now());
        // If the system has no thread left, the sender is dropped. Those who wait are told so, and the next one tries
        // again.
        let _ = std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
            let found = look_up(&name).map(Addresses::from).map_err(Arc::new);
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let resolved = known.names.entry(name).or_default();
            resolved.running = None;
            if let Ok(addresses) = &found {
                (resolved.latest, resolved.doubted) = (Some((Arc::clone(addresses), begun)), false);
            }
            drop(known);
            // Nobody may be waiting any more.
            let _ = tell.send(found);
        });
        told.shared()
    }

    /// Returns the addresses with another one first at each turn, so that connections spread over them. IPv4 and IPv6
    /// keep their order, and those come last that did not answer.
    fn ordered(&self, addresses: &[SocketAddr], port: u16) -> Vec<SocketAddr> {
        let mut known = self.known();
        known.turns = known.turns.wrapping_add(1);
        let mut ordered = rotated(addresses, known.turns);
        for address in &mut ordered {
            address.set_port(port);
        }
        let is_avoided =
            |address: &SocketAddr| known.avoided.get(address).is_some_and(|since| since.elapsed() < AVOIDED);
        ordered.sort_by_key(is_avoided);
        ordered
    }
}

fn system(name: &str) -> io::Result<Vec<SocketAddr>> {
    (name, 0).to_socket_addrs().map(Iterator::collect)
}

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
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Returns a resolver that knows these addresses of every name.
    pub(in crate::http_client) fn of(addresses: &[&str]) -> Resolver {
        let addresses: Vec<_> =
            addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0)).collect();
        Resolver::new(move |_| Ok(addresses.clone()))
    }

    /// Returns a resolver that counts its lookups. Each ends once `release` has been dropped or sent to.
    fn counted() -> (Resolver, Arc<AtomicUsize>, std::sync::mpsc::Sender<io::Result<()>>) {
        let (release, released) = std::sync::mpsc::channel::<io::Result<()>>();
        let (count, released) = (Arc::new(AtomicUsize::default()), Mutex::new(released));
        let counter = Arc::clone(&count);
        let resolver = Resolver::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            released.lock().unwrap().recv().unwrap_or(Ok(()))?;
            Ok(vec!["10.0.0.1:0".parse().unwrap()])
        });
        (resolver, count, release)
    }

    async fn first(resolver: &Resolver) -> String {
        resolver.resolve("s3.example", 443).await.unwrap()[0].to_string()
    }

    #[tokio::test]
    async fn connections_spread_over_the_addresses() {
        let resolver = of(&["10.0.0.1", "::1", "10.0.0.2", "10.0.0.3"]);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(first(&resolver).await);
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, ["10.0.0.1:443", "10.0.0.2:443", "10.0.0.3:443"]);
        let last = resolver.resolve("s3.example", 443).await.unwrap();
        assert_eq!(last.last().unwrap().to_string(), "[::1]:443");
        assert!(of(&[]).resolve("s3.example", 443).await.unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_did_not_answer_comes_last_for_a_while() {
        let resolver = of(&["10.0.0.1", "10.0.0.2"]);
        let dead: SocketAddr = "10.0.0.1:443".parse().unwrap();
        resolver.avoid(dead);
        for _ in 0..4 {
            assert_eq!(first(&resolver).await, "10.0.0.2:443");
            assert_eq!(resolver.resolve("s3.example", 443).await.unwrap().len(), 2, "better than none");
        }
        let elsewhere = resolver.resolve("s3.example", 80).await.unwrap();
        let again = resolver.resolve("s3.example", 80).await.unwrap();
        assert_ne!(elsewhere, again, "another port is another server");
        resolver.trust(dead);
        assert_ne!(first(&resolver).await, first(&resolver).await);
        resolver.avoid(dead);
        tokio::time::advance(AVOIDED).await;
        assert_ne!(first(&resolver).await, first(&resolver).await);
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_for_all_who_ask() {
        let (resolver, count, release) = counted();
        let asked = std::array::from_fn::<_, 20, _>(|_| resolver.resolve("s3.example", 443));
        let all = futures_util::future::join_all(asked);
        let ask = async {
            // All wait by now, and one thread only asks.
            tokio::task::yield_now().await;
            release.send(Ok(())).unwrap();
        };
        let (found, ()) = tokio::join!(all, ask);
        assert!(found.iter().all(|found| found.as_ref().unwrap()[0].port() == 443));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    /// Waits until the name has been looked up, if it has to be.
    async fn looked_up(resolver: &Resolver) -> io::Result<()> {
        match resolver.lookup("s3.example") {
            Ok(_) => Ok(()),
            Err((lookup, _)) => {
                lookup.await.unwrap().map(drop).map_err(|error| io::Error::other(error.to_string()))
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_used_for_half_a_minute_or_until_one_fails() {
        let (resolver, count, release) = counted();
        drop(release);
        for _ in 0..5 {
            looked_up(&resolver).await.unwrap();
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
        tokio::time::advance(FRESH).await;
        looked_up(&resolver).await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 2);
        resolver.forget("s3.example");
        looked_up(&resolver).await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_fails_or_stalls_leaves_the_last_addresses() {
        let (resolver, count, release) = counted();
        release.send(Ok(())).unwrap();
        looked_up(&resolver).await.unwrap();
        tokio::time::advance(FRESH).await;
        release.send(Err(io::Error::other("SERVFAIL"))).unwrap();
        looked_up(&resolver).await.unwrap_err();
        assert_eq!(count.load(Ordering::SeqCst), 2);
        // This lookup does not end, and nobody waits for it for long.
        for _ in 0..3 {
            assert_eq!(first(&resolver).await, "10.0.0.1:443");
        }
        tokio::time::advance(STALE).await;
        release.send(Err(io::Error::other("SERVFAIL"))).unwrap();
        let failed = resolver.resolve("s3.example", 443).await.unwrap_err().to_string();
        assert_eq!(failed, "the name `s3.example` cannot be resolved: SERVFAIL");
        assert_eq!(count.load(Ordering::SeqCst), 3, "one at a time");
    }

    #[tokio::test]
    async fn a_lookup_that_is_lost_is_begun_again() {
        let count = AtomicUsize::default();
        let resolver = Resolver::new(move |_| {
            assert!(count.fetch_add(1, Ordering::SeqCst) > 0, "the thread of the first lookup is lost");
            Ok(vec!["10.0.0.1:0".parse().unwrap()])
        });
        let lost = resolver.resolve("s3.example", 443).await.unwrap_err().to_string();
        assert!(lost.ends_with("the lookup ended without an answer"), "{lost}");
        assert_eq!(first(&resolver).await, "10.0.0.1:443");
    }

    #[tokio::test]
    async fn some_hosts_need_no_lookup() {
        let (resolver, count, _release) = counted();
        let check = async |host, expected| {
            assert_eq!(resolver.resolve(host, 9000).await.unwrap()[0].to_string(), expected, "{host}");
        };
        check("192.0.2.7", "192.0.2.7:9000").await;
        check("[::1]", "[::1]:9000").await;
        check("bucket.LOCALHOST", "127.0.0.1:9000").await;
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }
}
