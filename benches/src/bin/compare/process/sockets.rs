//! Memory of the buffers of a proxy's sockets, as ss(8) reports it.

use std::process::Command;

use anyhow::{Context, ensure};

use super::Group;

/// The TCP sockets of some processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// Bytes that all of them hold, as the kernel accounts for them, including its own bookkeeping.
    ///
    /// The bytes are received and not read (`r`), sent and not acknowledged or not yet sent (`w`), or set aside for
    /// more (`f`).
    pub(crate) bytes: u64,
    /// Number of sockets on the port that clients connect to.
    pub(crate) clients: u64,
}

impl Sockets {
    /// Returns the sockets of `group`, which serves clients on `port`.
    pub(crate) fn of(group: &Group, port: u16) -> anyhow::Result<Self> {
        let said = Command::new("ss")
            .args(["--tcp", "--numeric", "--memory", "--processes", "--oneline", "--no-header"])
            .output()
            .context("`ss` cannot be run (Debian: iproute2)")?;
        ensure!(said.status.success(), "`ss` failed: {}", String::from_utf8_lossy(&said.stderr).trim());
        Ok(sum(&String::from_utf8_lossy(&said.stdout), group.pids(), port))
    }
}

fn sum(listing: &str, pids: &[u32], port: u16) -> Sockets {
    let owners: Vec<String> = pids.iter().map(|pid| format!("pid={pid},")).collect();
    let port = format!(":{port}");
    let mut sockets = Sockets::default();
    for line in listing.lines().filter(|line| owners.iter().any(|owner| line.contains(owner))) {
        sockets.bytes += held(line).unwrap_or(0);
        // The columns are the state, both queues, and the local address.
        if line.split_whitespace().nth(3).is_some_and(|local| local.ends_with(&port)) {
            sockets.clients += 1;
        }
    }
    sockets
}

fn held(line: &str) -> Option<u64> {
    let (_, behind) = line.split_once("skmem:(")?;
    let (fields, _) = behind.split_once(')')?;
    let named =
        |field: &str| ["r", "w", "f"].iter().find_map(|name| field.strip_prefix(name)?.parse::<u64>().ok());
    Some(fields.split(',').filter_map(named).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = r#"ESTAB 745472 0       127.0.0.1:53646 127.0.0.1:18101 users:(("curl",pid=4422,fd=5)) skmem:(r747968,rb783209,t0,tb4194304,f1600,w0,o0,bl0,d2)
ESTAB 0      3523972 127.0.0.1:18101 127.0.0.1:53646 users:(("nginx",pid=32164,fd=8)) skmem:(r0,rb131072,t0,tb4194304,f1084,w3574724,o0,bl0,d0)
CLOSE-WAIT 55 0       127.0.0.1:33794 127.0.0.1:18100 users:(("nginx",pid=32164,fd=9),("nginx",pid=7,fd=3)) skmem:(r578776,rb581300,t0,tb4194304,f2856,w0,o0,bl0,d3)
"#;

    #[test]
    fn the_sockets_of_a_proxy_are_added_up() {
        let of_nginx = Sockets { bytes: 1084 + 3_574_724 + 578_776 + 2856, clients: 1 };
        assert_eq!(sum(LISTING, &[32_164], 18_101), of_nginx);
        assert_eq!(sum(LISTING, &[7], 18_101), Sockets { bytes: 578_776 + 2856, clients: 0 });
        assert_eq!(sum(LISTING, &[3216], 18_101), Sockets::default());
    }
}
