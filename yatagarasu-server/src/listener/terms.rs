//! What a listener does with its connections.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use http::header::{ALT_SVC, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::ListenerConfig;
use crate::tls::acme::AcmeConfig;
use crate::tls::setup::{TlsConfig, TlsError, TlsSetup};

/// How long clients may remember that there is HTTP/3.
const ALT_SVC_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What a listener does with its connections. A reload of the configuration may change it, and so may a file.
#[derive(Debug)]
pub(crate) struct Terms {
    /// TLS, unless the listener has none.
    pub(crate) tls: Option<TlsSetup>,
    /// The files that it was made from, as they were before.
    pub(super) stamps: Vec<Stamp>,
    /// The port that the listener is bound to, if it has one.
    pub(crate) port: Option<u16>,
    pub(crate) front: Front,
}

/// What the responses of a listener have beside those of others.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Front {
    /// `Strict-Transport-Security` (RFC 6797).
    pub(crate) hsts: Option<HeaderValue>,
    /// `Alt-Svc` (RFC 7838), for HTTP/3.
    pub(crate) alt_svc: Option<HeaderValue>,
    /// The port of `https://` that every request is redirected to.
    pub(crate) https_redirect: Option<u16>,
    /// Whether the listener speaks TLS.
    pub(crate) is_secure: bool,
}

impl Front {
    /// Returns the fields that responses have.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (HeaderName, &HeaderValue)> {
        let hsts = self.hsts.as_ref().map(|value| (STRICT_TRANSPORT_SECURITY, value));
        hsts.into_iter().chain(self.alt_svc.as_ref().map(|value| (ALT_SVC, value)))
    }

    /// Sets the fields of a response.
    pub(crate) fn mark(&self, head: &mut HeaderMap) {
        for (name, value) in self.fields() {
            head.insert(name, value.clone());
        }
    }
}

/// What tells whether a file has changed. `None` if it is not there.
pub(super) type Stamp = Option<(SystemTime, [i64; 2], u64, u64)>;

impl Terms {
    /// Reads the files of a listener that is bound to `port`, if it has one.
    ///
    /// # Errors
    ///
    /// Returns the first thing that is wrong with them.
    pub(crate) fn load(config: &ListenerConfig, port: Option<u16>) -> Result<Self, TlsError> {
        Self::with(config, port, TlsSetup::load)
    }

    /// Reads the files of the same listener again. Clients can resume their sessions.
    ///
    /// # Errors
    ///
    /// Returns the first thing that is wrong with them.
    pub(crate) fn again(&self, config: &ListenerConfig) -> Result<Self, TlsError> {
        Self::with(config, self.port, |tls| match &self.tls {
            Some(earlier) => earlier.again(tls),
            None => TlsSetup::load(tls),
        })
    }

    fn with(
        config: &ListenerConfig,
        port: Option<u16>,
        load: impl FnOnce(&TlsConfig) -> Result<TlsSetup, TlsError>,
    ) -> Result<Self, TlsError> {
        // Before they are read: a change meanwhile is one to come.
        let stamps = stamps(config);
        let tls = config.tls.as_ref().map(load).transpose()?;
        let hsts = config.tls.as_ref().and_then(|tls| tls.hsts).map(|lifetime| {
            HeaderValue::from_str(&format!("max-age={}", lifetime.as_secs())).expect("digits are a value")
        });
        let alt_svc = config.tls.as_ref().filter(|tls| tls.http3).and_then(|tls| tls.http3_port.or(port));
        let alt_svc = alt_svc.map(|port| {
            let value = format!("h3=\":{port}\"; ma={}", ALT_SVC_LIFETIME.as_secs());
            HeaderValue::try_from(value).expect("digits are a value")
        });
        let front =
            Front { hsts, alt_svc, https_redirect: config.https_redirect, is_secure: config.tls.is_some() };
        Ok(Self { tls, stamps, port, front })
    }
}

/// Returns the files of a listener as they are now.
pub(super) fn stamps(config: &ListenerConfig) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok()?;
        // A change of the permissions changes `ctime` only.
        Some((found.modified().ok()?, [found.ctime(), found.ctime_nsec()], found.len(), found.ino()))
    };
    let Some(tls) = &config.tls else { return Vec::new() };
    let issued = tls.acme.as_ref().map(AcmeConfig::files);
    let all = tls.certificates.iter().chain(&issued);
    let pairs = all.flat_map(|files| [&files.cert, &files.key]);
    pairs.chain(&tls.client_ca).map(stamp).collect()
}
