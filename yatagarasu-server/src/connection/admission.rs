//! Decides which connections are served: there is a bound on all of them, and on those of one client.
//!
//! Each connection takes a file descriptor, and its request may take another one for S3. Without a bound, a crowd of
//! clients, or one of them, would leave none for the admin API, for S3 and for files.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use yatagarasu_core::LogLimit;

use crate::connection::limits::ConnectionLimits;

/// Maximum number of connections that are being refused with a response, or an eighth of those that are served if that
/// is fewer. Beyond it they are closed without one.
const REFUSING_MAX: usize = 64;

/// Maximum number of handshakes of QUIC with clients at unproven addresses.
#[cfg(feature = "http3")]
const UNPROVEN_MAX: usize = 64;

/// The connections that are open.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// Number of connections that are served.
    open: AtomicUsize,
    /// Number of connections that are being refused.
    refusing: AtomicUsize,
    /// Number of handshakes of QUIC with clients at unproven addresses.
    #[cfg(feature = "http3")]
    unproven: AtomicUsize,
    /// Number of connections of each client, if that is limited.
    clients: Mutex<HashMap<IpAddr, u32>>,
    /// Connections that were refused, in the order of [`Excess::ALL`].
    refused: [AtomicU64; Excess::ALL.len()],
    log: [LogLimit; Excess::ALL.len()],
}

/// The limit that a connection exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// The number of all connections.
    Connections,
    /// The number of connections of its client.
    OfClient,
    /// The number of streams in a second.
    Streams,
    /// The number of streams that the client has reset.
    Resets,
}

impl Excess {
    /// All limits, with their names in metrics.
    pub(crate) const ALL: [(Self, &str); 4] = [
        (Self::Connections, "connections_max"),
        (Self::OfClient, "connections_per_client"),
        (Self::Streams, "http2_streams_per_second"),
        (Self::Resets, "http2_resets_max"),
    ];

    fn index(self) -> usize {
        Self::ALL.iter().position(|(excess, _)| *excess == self).expect("all are listed")
    }
}

/// What becomes of a new connection.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// It is served.
    Served(Slot),
    /// It gets a response that says why it is not served.
    Refused(Slot, Excess),
    /// It is closed.
    Closed,
}

/// Counts a handshake of QUIC with a client at an unproven address until dropped.
#[cfg(feature = "http3")]
#[derive(Debug)]
pub(crate) struct Unproven(Arc<Admission>);

#[cfg(feature = "http3")]
impl Drop for Unproven {
    fn drop(&mut self) {
        self.0.unproven.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The place of one connection, free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    admission: Arc<Admission>,
    /// The client that it is counted for.
    client: Option<IpAddr>,
    refused: bool,
}

impl Admission {
    /// Decides about a new connection from `peer`. `is_local` says that it came over a Unix socket, as those of a proxy on
    /// this machine do.
    pub(crate) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        is_local: bool,
        limits: &ConnectionLimits,
    ) -> Admitted {
        let mut slot = Slot { admission: Arc::clone(self), client: None, refused: false };
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        if open >= limits.connections_max {
            return slot.refused(Excess::Connections, peer, limits);
        }
        // A proxy has the connections of many clients.
        if !is_local
            && !limits.client_address.trusts(peer)
            && let Err(excess) = slot.identify(peer, limits)
        {
            return slot.refused(excess, peer, limits);
        }
        Admitted::Served(slot)
    }

    /// Begins a handshake of QUIC with a client at an unproven address. Returns `None` if the client must prove the address
    /// first (RFC 9000 8.1.2): anybody can send datagrams from the addresses of others, and take their places.
    #[cfg(feature = "http3")]
    pub(crate) fn trust(self: &Arc<Self>, limits: &ConnectionLimits) -> Option<Unproven> {
        if limits.connections_per_client.is_some() || self.is_crowded(limits) {
            return None;
        }
        let unproven = self.unproven.fetch_add(1, Ordering::Relaxed);
        let trusted = Unproven(Arc::clone(self));
        (unproven < UNPROVEN_MAX).then_some(trusted)
    }

    /// Returns `true` if so few connections are left that idle ones should be closed.
    pub(crate) fn is_crowded(&self, limits: &ConnectionLimits) -> bool {
        let max = limits.connections_max;
        self.open.load(Ordering::Relaxed) >= max - (max / 16).max(1).min(max)
    }

    /// Counts and logs a connection that exceeds a limit. Says so once a minute.
    pub(crate) fn note(&self, excess: Excess, client: IpAddr) {
        let index = excess.index();
        self.refused[index].fetch_add(1, Ordering::Relaxed);
        if let Some(connections) = self.log[index].due() {
            let limit = Excess::ALL[index].1;
            tracing::warn!(limit, %client, connections, "connections were refused: they exceed `server.{limit}`");
        }
    }

    /// Returns the number of connections refused for exceeding each limit, in the order of [`Excess::ALL`].
    pub(crate) fn refused(&self) -> [u64; Excess::ALL.len()] {
        self.refused.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Counts the connection for its client.
    ///
    /// # Errors
    ///
    /// Returns an error, and counts nothing, if the client has as many as it may have.
    pub(crate) fn identify(&mut self, client: IpAddr, limits: &ConnectionLimits) -> Result<(), Excess> {
        let Some(max) = limits.connections_per_client else { return Ok(()) };
        let client = network(client);
        let mut clients = self.admission.clients();
        let count = clients.entry(client).or_insert(0);
        if *count >= max {
            return Err(Excess::OfClient);
        }
        *count += 1;
        self.client = Some(client);
        Ok(())
    }

    /// Returns the connections that this is one of.
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Turns it into the place of a connection that is refused.
    fn refused(mut self, excess: Excess, peer: IpAddr, limits: &ConnectionLimits) -> Admitted {
        self.admission.note(excess, peer);
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        let refusing = self.admission.refusing.fetch_add(1, Ordering::Relaxed);
        self.refused = true;
        if refusing < REFUSING_MAX.min(limits.connections_max / 8 + 1) {
            Admitted::Refused(self, excess)
        } else {
            Admitted::Closed
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let count = if self.refused { &self.admission.refusing } else { &self.admission.open };
        count.fetch_sub(1, Ordering::Relaxed);
        if let Some(client) = self.client {
            let mut clients = self.admission.clients();
            if let Some(count) = clients.get_mut(&client) {
                *count -= 1;
                if *count == 0 {
                    clients.remove(&client);
                }
            }
        }
    }
}

/// Returns the address that stands for a client. A client with IPv6 has a network of 64 bits to itself.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections_max: usize, connections_per_client: u32) -> ConnectionLimits {
        let connections_per_client = Some(connections_per_client);
        ConnectionLimits { connections_max, connections_per_client, ..ConnectionLimits::default() }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_free_again_when_connections_end() {
        let (admission, limits) = (Arc::<Admission>::default(), limits(2, 9));
        let admit = || admission.admit(address("192.0.2.1"), false, &limits);
        let first = admit();
        let second = admit();
        assert!(matches!((&first, &second), (Admitted::Served(_), Admitted::Served(_))));
        assert!(admission.is_crowded(&limits));
        let third = admit();
        assert!(matches!(third, Admitted::Refused(_, Excess::Connections)));
        drop(first);
        assert!(matches!(admit(), Admitted::Served(_)), "the one that is refused takes no place");
        drop((second, third));
        assert!(admission.clients().is_empty());
    }

    #[test]
    fn a_client_has_its_own_limit() {
        let (admission, limits) = (Arc::<Admission>::default(), limits(100, 1));
        let served = |text: &str| match admission.admit(address(text), false, &limits) {
            Admitted::Served(slot) => Some(slot),
            Admitted::Refused(_, Excess::OfClient) => None,
            other => panic!("{other:?}"),
        };
        let first = served("2001:db8::1");
        assert!(first.is_some() && served("2001:db8::2").is_none() && served("2001:db8:0:1::1").is_some());
        drop(first);
        assert!(served("2001:db8::2").is_some());
        let _mapped = served("::ffff:192.0.2.1").expect("the first");
        assert!(served("192.0.2.1").is_none());
        let local = admission.admit(address("192.0.2.1"), true, &limits);
        assert!(matches!(local, Admitted::Served(_)), "a proxy has many clients");
    }

    #[test]
    fn few_are_refused_with_a_response_at_a_time() {
        let (admission, limits) = (Arc::<Admission>::default(), limits(9, 0));
        let refused: Vec<_> = (0..2).map(|_| admission.admit(address("::1"), false, &limits)).collect();
        assert!(refused.iter().all(|one| matches!(one, Admitted::Refused(..))));
        assert!(matches!(admission.admit(address("::1"), false, &limits), Admitted::Closed));
        drop(refused);
        assert!(matches!(admission.admit(address("::1"), false, &limits), Admitted::Refused(..)));
    }
}
