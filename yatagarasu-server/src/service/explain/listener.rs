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
    if let (None, Some(other)) = (exact, all.iter().find(has_port)) {
        let speaks = if other.tls.is_some() {
            "TLS: clients without it get 400"
        } else {
            "no TLS: its handshake fails"
        };
        let note = Some(format!("the listener with this port speaks {speaks}"));
        return Arrival { finding: Some(finding(other)), note, secure_port: None };
    }
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
    Arrival { finding: Some(finding(listener)), note, secure_port: listener.https_redirect }
}

fn finding(listener: &ListenerConfig) -> Finding {
    let kind = if listener.tls.is_some() { "with TLS" } else { "without TLS" };
    Finding::new(listener.address.to_string(), format!("`{}`, {kind}", listener.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    #[test]
    fn a_port_without_tls_is_not_taken_for_another_one() {
        let yaml = "server: { address: \"127.0.0.1:8080\" }\nbuckets: [{ name: a, path_prefix: / }]\n";
        let config = Config::from_yaml("f.yaml", yaml, &Environment::default()).expect("it is valid");
        for (scheme, port, expected) in [
            ("http", 8080, None),
            ("https", 8080, Some("the listener with this port speaks no TLS: its handshake fails")),
            ("http", 80, Some("no listener has the port 80: another port has to lead to it")),
            ("https", 443, Some("no listener speaks https: a proxy in front has to do it")),
        ] {
            let arrival = of(config.server.listeners.iter(), Some(scheme), Some(port));
            assert_eq!(arrival.note.as_deref(), expected, "{scheme} {port}");
            assert_eq!(arrival.finding.expect("the one there is").is, "127.0.0.1:8080");
        }
    }
}
