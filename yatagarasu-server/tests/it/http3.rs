//! Tests of HTTP/3 (RFC 9114): requests over QUIC get what those over TCP get.

pub(crate) mod client;
mod ending;
mod limits;
mod listeners;
mod malformed;
mod relay;
mod serving;

use yatagarasu_testing::origin::Origin;

use crate::tls::TlsSite;
use client::{Dial, Http3};

impl TlsSite {
    /// Starts one that speaks HTTP/3, with more settings of the server.
    async fn of_http3(server: &str) -> Self {
        Self::with(server, "http3: true").await
    }

    /// Starts the same in front of a source that the test answers by hand.
    async fn of_http3_by_hand(server: &str) -> Self {
        Self::over(Origin::by_hand().await, server, "http3: true").await
    }

    /// Connects over QUIC.
    async fn http3(&self) -> Http3 {
        self.dial().http3(self.secure).await.unwrap()
    }

    /// Returns a client that trusts the certificate.
    fn dial(&self) -> Dial {
        Dial::trusting(&self.files.certificate("www"))
    }
}
