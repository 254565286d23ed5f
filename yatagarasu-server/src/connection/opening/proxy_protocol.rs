//! The header with which proxies begin a connection to say who their client is: the PROXY protocol, version 1 or 2.

use std::net::IpAddr;

use ppp::v1::Addresses as Text;
use ppp::v2::{Addresses as Binary, Command};
use ppp::{HeaderResult, PartialResult};

/// The front of the bytes that a proxy has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// An incomplete header.
    Partial,
    /// A header.
    Complete {
        /// The client, or `None` if the proxy speaks for itself, as for a health check, or names none.
        client: Option<IpAddr>,
        /// The length of the header in bytes.
        length: usize,
    },
    /// No header.
    Invalid,
}

/// The bytes that begin a header of version 1.
const TEXT: &[u8] = b"PROXY ";

/// Maximum length of a header of version 1.
const LINE_BYTES_MAX: usize = 107;

/// Reads a header of either version.
pub(crate) fn read(bytes: &[u8]) -> Header {
    // The parser takes some beginnings of a line for invalid ones, and some lines with a bare LF for valid ones.
    if bytes.starts_with(TEXT) || TEXT.starts_with(bytes) {
        match bytes.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') {
            None if bytes.len() < LINE_BYTES_MAX => return Header::Partial,
            Some(end) if bytes[..end].ends_with(b"\r") => {}
            None | Some(_) => return Header::Invalid,
        }
    }
    match HeaderResult::parse(bytes) {
        HeaderResult::V1(Ok(header)) => {
            let client = match header.addresses {
                Text::Tcp4(addresses) => Some(IpAddr::V4(addresses.source_address)),
                Text::Tcp6(addresses) => Some(IpAddr::V6(addresses.source_address)),
                Text::Unknown => None,
            };
            Header::Complete {
                client: client.map(|client| client.to_canonical()),
                length: header.header.len(),
            }
        }
        HeaderResult::V2(Ok(header)) => {
            let client = match (header.command, header.addresses) {
                (Command::Proxy, Binary::IPv4(addresses)) => Some(IpAddr::V4(addresses.source_address)),
                (Command::Proxy, Binary::IPv6(addresses)) => Some(IpAddr::V6(addresses.source_address)),
                (Command::Proxy | Command::Local, _) => None,
            };
            Header::Complete { client: client.map(|client| client.to_canonical()), length: header.len() }
        }
        result if result.is_incomplete() => Header::Partial,
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Header::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that begin a header of version 2.
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn complete(client: Option<&str>, length: usize) -> Header {
        Header::Complete { client: client.map(|client| client.parse().unwrap()), length }
    }

    #[track_caller]
    fn check(header: &[u8], expected: Header) {
        assert_eq!(read(header), expected);
        assert_eq!(read(&[header, b"GET / HTTP/1.1\r\n"].concat()), expected, "what follows changes nothing");
        for end in 0..header.len() {
            assert_eq!(read(&header[..end]), Header::Partial, "{end}");
        }
    }

    #[test]
    fn text_names_the_client() {
        let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 80\r\n";
        check(header, complete(Some("192.0.2.7"), header.len()));
        let header = b"PROXY TCP6 2001:db8::1 fd00::1 51234 80\r\n";
        check(header, complete(Some("2001:db8::1"), header.len()));
        let header = b"PROXY UNKNOWN\r\n";
        check(header, complete(None, header.len()));
    }

    #[test]
    fn binary_names_the_client() {
        let header = |command: u8, family: u8, rest: &[u8]| {
            let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
            [SIGNATURE, &[command, family], &length, rest].concat()
        };
        let addresses = [192, 0, 2, 7, 10, 0, 0, 1, 0xC8, 0x22, 0, 80];
        let proxy = header(0x21, 0x11, &addresses);
        check(&proxy, complete(Some("192.0.2.7"), proxy.len()));
        // With a field of the AWS load balancers.
        let more = header(0x21, 0x11, &[&addresses[..], &[0xEA, 0, 3, 1, b'v', b'p']].concat());
        check(&more, complete(Some("192.0.2.7"), more.len()));
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15]) = (0x20, 0x01, 1);
        let proxy = header(0x21, 0x21, &v6);
        check(&proxy, complete(Some("2001::1"), proxy.len()));
        let local = header(0x20, 0x00, &[]);
        check(&local, complete(None, local.len()));
    }

    #[test]
    fn what_is_none_is_told_apart() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 a b c d\r\n",
            b"PROXY TCP5 192.0.2.7 10.0.0.1 51234 80\r\n",
            b"\x16\x03\x01",
        ] {
            assert_eq!(read(bytes), Header::Invalid, "{bytes:?}");
        }
        assert_eq!(read(&[b'P'; 200]), Header::Invalid);
        assert_eq!(read(&[&b"PROXY TCP4 "[..], &[b'1'; 100]].concat()), Header::Invalid);
    }
}
