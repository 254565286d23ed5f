//! The listener that a URL leads to.

use crate::config::ListenerConfig;
use crate::listener::socket::ListenAddress;
use crate::service::explain::Finding;

/// Where a request would arrive.
pub(super) struct Arrival {
    pub(super) finding: Option<Finding>,
    /// What is doubtful about it.
    pub(super) note: Option<String>,
    /// The port of `https://` that the listener redirects to.
    pub(super) secure_port: Option<u16>,
}

/// Returns the listener for a scheme and a port: with that port, or another one that a proxy or a port mapping may lead to.
pub(super) fn of<'a>(
    listeners: impl Iterator<Item = &'a ListenerConfig>,
    scheme: Option<&str>,
    port: Option<u16>,
) -> Arrival {
    let all: Vec<_> = listeners.collect();
    let Some(scheme) = scheme else {
        return Arrival { finding: None, note: None, secure_port: None };
    };
    let speaks = |listener: &&&ListenerConfig| listener.tls.is_some() == (scheme == "https");
    let has_port = |listener: &&&ListenerConfig| match listener.address {
        ListenAddress::Tcp(address) => Some(address.port()) == port,
        ListenAddress::Unix(_) => false,
    };
    let exact = all.iter().find(|listener| speaks(listener) && has_port(listener));
    let alike = || all.iter().find(speaks);
    let (listener, note) = match (exact, alike(), all.first()) {
        (Some(exact), ..) => (exact, None),
        (None, Some(alike), _) => {
            let port = port.unwrap_or_default();
            (alike, Some(format!("no listener has the port {port}: another port has to lead to it")))
        }
        (None, None, Some(first)) => {
            (first, Some(format!("no listener speaks {scheme}: a proxy in front has to do it")))
        }
        (None, None, None) => return Arrival { finding: None, note: None, secure_port: None },
    };
    let kind = if listener.tls.is_some() { "with TLS" } else { "without TLS" };
    let finding = Finding::new(listener.address.to_string(), format!("`{}`, {kind}", listener.key));
    Arrival { finding: Some(finding), note, secure_port: listener.https_redirect }
}
