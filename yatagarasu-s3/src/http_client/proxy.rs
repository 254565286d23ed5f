//! Which hosts no proxy of the environment is meant for.

use std::net::IpAddr;

/// Returns `true` for hosts that are reached directly, whatever the environment says: this machine, and the addresses
/// of its link, where metadata services answer (169.254.0.0/16, `fe80::/10`, and `fd00:ec2::/32` of AWS).
pub(crate) fn is_always_direct(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    match host.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback()
                || address.is_unicast_link_local()
                || address.segments()[..2] == [0xfd00, 0x0ec2]
        }
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_its_link_are_direct() {
        for host in
            ["localhost", "s3.LOCALHOST", "127.0.0.2", "[::1]", "169.254.170.2", "fd00:ec2::254", "fe80::1"]
        {
            assert!(is_always_direct(host), "{host}");
        }
        for host in ["s3.example", "localhost.example", "10.0.0.1", "fd00::1", "[2001:db8::1]"] {
            assert!(!is_always_direct(host), "{host}");
        }
    }
}
