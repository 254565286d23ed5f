//! Listeners: where connections come from, and what becomes of them.
//!
//! A [`socket`] is bound to an address of TCP or to the path of a Unix socket, or [`given`] by another process. The
//! [`terms`] say whether a listener speaks TLS, and what its responses have. `quic` listens for HTTP/3 at the same port.
//! [`renewal`] reads certificates again when their files change.

pub(crate) mod given;
#[cfg(feature = "http3")]
pub(crate) mod quic;
pub(crate) mod renewal;
pub(crate) mod socket;
pub(crate) mod terms;

use std::io;
use std::net::{IpAddr, TcpStream as StdTcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use yatagarasu_core::LogLimit;
use yatagarasu_sys::process::is_out_of_files;

use crate::config::ListenerConfig;
use crate::listener::socket::ListeningSocket;
use crate::listener::terms::Terms;

/// Pause after a failed `accept`, because file descriptors or memory may be free again by then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The configuration and the terms of a listener for clients. The socket is apart from them, because it is closed first.
#[derive(Debug)]
pub(crate) struct Listener {
    config: ArcSwap<ListenerConfig>,
    terms: ArcSwap<Terms>,
    /// Numbers of times that changed files were read again, and could not be used.
    renewals: [AtomicU64; 2],
}

impl Listener {
    pub(crate) fn new(config: ListenerConfig, terms: Terms) -> Self {
        Self {
            config: ArcSwap::from_pointee(config),
            terms: ArcSwap::from_pointee(terms),
            renewals: Default::default(),
        }
    }

    /// Returns the configuration.
    pub(crate) fn config(&self) -> Arc<ListenerConfig> {
        self.config.load_full()
    }

    /// Returns the terms for a new connection.
    pub(crate) fn terms(&self) -> Arc<Terms> {
        self.terms.load_full()
    }

    /// Changes the configuration. New connections have these terms.
    pub(crate) fn turn_to(&self, config: ListenerConfig, terms: Terms) {
        self.terms.store(Arc::new(terms));
        self.config.store(Arc::new(config));
    }

    /// Returns how often changed files were read again, and how often they could not be used.
    pub(crate) fn renewals(&self) -> [u64; 2] {
        self.renewals.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

/// Accepts connections forever and passes each one to `take`, with the address of the peer. `key` names the setting of
/// the listener in the log.
pub(crate) async fn accept(
    key: &str,
    listener: &ListeningSocket,
    mut take: impl FnMut(StdTcpStream, IpAddr),
) {
    let log = LogLimit::default();
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => take(socket, peer),
            // The client has left before its connection was accepted. That is not an error of the server.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if let Some(failures) = log.due() {
                    let advice = if is_out_of_files(&error) {
                        ": no file descriptors are left: raise the limit (`LimitNOFILE`, `ulimit -n`)"
                    } else {
                        ""
                    };
                    tracing::error!(listener = key, %error, failures, "connections cannot be accepted{advice}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
