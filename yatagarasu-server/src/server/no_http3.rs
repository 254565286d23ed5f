//! The listeners of HTTP/3 of a server that is built without: none.

use std::future::{pending, ready};
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use tokio::sync::watch;

use crate::connection::admission::Admission;
use crate::connection::limits::ConnectionLimits;
use crate::listener::Listener;
use crate::server::handover::Passed;
use crate::server::worker::Accepted;

/// No listeners.
#[derive(Debug)]
pub(super) struct Http3;

#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the feature `http3`")]
impl Http3 {
    pub(super) fn start(_: &[Listener], _: Vec<Option<UdpSocket>>) -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) fn sockets(&self, _: &[Listener]) -> Vec<Passed> {
        Vec::new()
    }

    pub(super) async fn accept(
        &self,
        _: &[Listener],
        _: &Arc<Admission>,
        _: &watch::Sender<Arc<ConnectionLimits>>,
        _: impl Fn(Accepted),
    ) {
        pending::<()>().await;
    }

    pub(super) async fn refuse(&self) {
        pending::<()>().await;
    }

    pub(super) fn farewells(&self) -> impl Future<Output = ()> {
        ready(())
    }

    pub(super) fn leave(&self) {}
}
