//! The address of the client, which proxies in front of the gateway pass on.

use std::net::{IpAddr, SocketAddr};

use http::HeaderName;
use http::header::FORWARDED;
use ipnet::IpNet;

/// The field that proxies extend by the address of their client.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What tells the address of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressSource {
    /// The peer of the connection.
    #[default]
    Connection,
    /// The field `X-Forwarded-For` of the request.
    XForwardedFor,
    /// The field `Forwarded` of the request (RFC 7239).
    Forwarded,
    /// The PROXY protocol, at the beginning of the connection.
    ProxyProtocol,
}

/// Where the address of a client comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientAddress {
    /// What tells the address.
    pub from: AddressSource,
    /// The proxies that are believed.
    pub trusted: Vec<IpNet>,
}

impl ClientAddress {
    /// Returns `true` if `peer` is a proxy that is believed.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted.iter().any(|network| network.contains(&peer))
    }

    /// Returns `true` if connections of `peer` begin with a header of the PROXY protocol.
    pub(crate) fn is_proxied(&self, peer: IpAddr) -> bool {
        self.from == AddressSource::ProxyProtocol && self.trusts(peer)
    }

    /// Returns the request field that names the client of `peer`, or `None` if the peer is the client.
    pub(crate) fn field(&self, peer: IpAddr) -> Option<HeaderName> {
        let name = match self.from {
            AddressSource::XForwardedFor => X_FORWARDED_FOR,
            AddressSource::Forwarded => FORWARDED,
            AddressSource::Connection | AddressSource::ProxyProtocol => return None,
        };
        self.trusts(peer).then_some(name)
    }

    /// Returns the client that the values of the request field name.
    ///
    /// Each proxy adds the address that it was connected from at the end. So the list is read from its end, as long as
    /// the addresses are those of proxies that are believed. What comes before may be made up.
    pub(crate) fn named(&self, peer: IpAddr, values: &[&[u8]]) -> IpAddr {
        let mut client = peer;
        for value in values.iter().rev() {
            let text = String::from_utf8_lossy(value);
            for element in elements(&text).into_iter().rev() {
                let address = match self.from {
                    AddressSource::Forwarded => forwarded_for(element).as_deref().and_then(address),
                    _ => address(element),
                };
                // A proxy that hides its client, or a value that is none: the one who added it is all that is known.
                let Some(address) = address else { return client };
                client = address;
                if !self.trusts(client) {
                    return client;
                }
            }
        }
        client
    }
}

/// Returns the elements of a list. A comma in a quoted string separates none.
fn elements(text: &str) -> Vec<&str> {
    let mut quoted = false;
    let is_comma = |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    text.split(is_comma).map(str::trim).filter(|element| !element.is_empty()).collect()
}

/// Returns the parameter `for` of an element of `Forwarded` (RFC 7239 4).
fn forwarded_for(element: &str) -> Option<String> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    Some(value.trim().trim_matches('"').to_owned())
}

/// Parses an IP address, with or without a port and brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let parsed = text.parse().ok().or_else(bare).or_else(with_port);
    parsed.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(from: AddressSource, values: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec();
        let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
        ClientAddress { from, trusted }.named("10.0.0.1".parse().unwrap(), &values).to_string()
    }

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_clients() {
        let check = |values: &[&str], expected: &str| {
            assert_eq!(client(AddressSource::XForwardedFor, values), expected, "{values:?}");
        };
        check(&[], "10.0.0.1");
        check(&["192.0.2.7"], "192.0.2.7");
        check(&["203.0.113.9, 192.0.2.7"], "192.0.2.7");
        check(&["203.0.113.9", "192.0.2.7, 10.0.0.2"], "192.0.2.7");
        check(&["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        // Azure adds the port.
        check(&["192.0.2.7:51234"], "192.0.2.7");
        check(&["2001:db8::1"], "2001:db8::1");
        check(&["[2001:db8::1]:443, fd00::2"], "2001:db8::1");
        check(&["::ffff:192.0.2.7"], "192.0.2.7");
        check(&["192.0.2.7, unknown"], "10.0.0.1");
        check(&["192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2");
        check(&["<script>"], "10.0.0.1");
        check(&[", ,192.0.2.7,,"], "192.0.2.7");
    }

    #[test]
    fn forwarded_names_the_client_in_a_parameter() {
        let check = |values: &[&str], expected: &str| {
            assert_eq!(client(AddressSource::Forwarded, values), expected, "{values:?}");
        };
        check(&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60");
        check(&["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17");
        check(&["for=192.0.2.43, for=198.51.100.17;by=\"a,b\""], "198.51.100.17");
        check(&["for=198.51.100.17, for=10.9.8.7"], "198.51.100.17");
        check(&["for=198.51.100.17, for=_hidden"], "10.0.0.1");
        check(&["proto=https"], "10.0.0.1");
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = vec!["10.0.0.0/8".parse().unwrap()];
        let rules = ClientAddress { from: AddressSource::XForwardedFor, trusted };
        let check = |peer: &str, expected: &str| {
            let peer: IpAddr = peer.parse().unwrap();
            let client = rules.field(peer).map_or(peer, |_| rules.named(peer, &[b"192.0.2.7"]));
            assert_eq!(client.to_string(), expected);
        };
        check("10.1.2.3", "192.0.2.7");
        check("::ffff:10.1.2.3", "192.0.2.7");
        check("203.0.113.9", "203.0.113.9");
    }
}
