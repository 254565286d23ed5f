//! The proxies: how to find them and how to run them.

mod haproxy;
mod nginx;
mod varnish;
mod yatagarasu;

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use clap::ValueEnum;

use crate::source::{Identity, Upstream};

/// Search path for programs, independent of the environment: servers are often not in a user's `PATH`.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A proxy. The variants are in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    /// This project's server
    Yatagarasu,
    /// nginx with `proxy_cache`
    Nginx,
    /// HAProxy with its cache and splice
    Haproxy,
    /// Varnish
    Varnish,
}

/// Settings for the start of a proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Folder for the proxy's files.
    pub(crate) folder: &'a Path,
    /// Address to listen on.
    pub(crate) address: SocketAddr,
    /// Second address, for proxies that need one.
    pub(crate) second: SocketAddr,
    /// Address to speak TLS on.
    pub(crate) tls: SocketAddr,
    pub(crate) source: Upstream<'a>,
    /// The certificate for clients.
    pub(crate) identity: &'a Identity,
    /// Number of threads that serve.
    pub(crate) threads: usize,
    /// Whether requests are logged.
    pub(crate) access_log: AccessLog,
    /// Bound of the cache in MB, other than the usual one.
    pub(crate) cache_mb: Option<u64>,
}

/// What becomes of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessLog {
    /// As it is by default, but written to `/dev/null`.
    Default,
    /// None is written.
    Off,
}

/// A proxy that is installed.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) peer: Peer,
    pub(crate) program: PathBuf,
    pub(crate) version: String,
}

impl Peer {
    /// All proxies, in the order of the table.
    pub(crate) const ALL: [Self; 4] = [Self::Yatagarasu, Self::Nginx, Self::Haproxy, Self::Varnish];

    /// Returns the name shown in reports.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Yatagarasu => "Yatagarasu",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Varnish => "Varnish",
        }
    }

    /// Returns the address where the proxy speaks HTTP/2 with prior knowledge.
    pub(crate) fn http2_address(self, place: &Place<'_>) -> SocketAddr {
        match self {
            Self::Yatagarasu | Self::Haproxy | Self::Varnish => place.address,
            // A listener of version 1.22 that speaks HTTP/2 without TLS speaks nothing else.
            Self::Nginx => place.second,
        }
    }

    /// Writes the configuration and returns the command that runs the proxy in the foreground.
    pub(crate) fn command(self, program: &Path, place: Place<'_>) -> anyhow::Result<Command> {
        match self {
            Self::Yatagarasu => yatagarasu::command(program, place),
            Self::Nginx => nginx::command(program, place),
            Self::Haproxy => haproxy::command(program, place),
            Self::Varnish => varnish::command(program, place),
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Yatagarasu => "yatagarasu-server",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Varnish => "varnishd",
        }
    }

    fn version_option(self) -> &'static str {
        match self {
            Self::Yatagarasu => "--version",
            Self::Nginx | Self::Haproxy => "-v",
            Self::Varnish => "-V",
        }
    }
}

/// Finds a proxy and asks it for its version. `server` is the path of this project's server, if given.
pub(crate) fn find(peer: Peer, server: Option<&Path>) -> anyhow::Result<Installed> {
    let program = match (peer, server) {
        (Peer::Yatagarasu, Some(server)) => {
            server.canonicalize().with_context(|| format!("{} is not there", server.display()))?
        }
        (Peer::Yatagarasu, None) => beside_this_program(peer.program())?,
        (Peer::Nginx | Peer::Haproxy | Peer::Varnish, _) => in_path(peer.program())
            .with_context(|| format!("not installed: there is no {}", peer.program()))?,
    };
    let said = Command::new(&program)
        .arg(peer.version_option())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} cannot be run", program.display()))?;
    let words = [said.stdout, said.stderr].concat();
    let version = version(&String::from_utf8_lossy(&words)).to_owned();
    Ok(Installed { peer, program, version })
}

fn beside_this_program(name: &str) -> anyhow::Result<PathBuf> {
    let here = env::current_exe().context("this program cannot be found")?;
    let program = here.with_file_name(name);
    ensure!(
        program.is_file(),
        "not built: `cargo build --locked --release --package {name}` makes {}",
        program.display()
    );
    Ok(program)
}

fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(PATH).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Returns the version in `words`: the first text that begins with a digit after a space, `/`, `-` or `v`.
fn version(words: &str) -> &str {
    let begins = |&(at, _): &(usize, char)| {
        let (before, rest) = words.split_at(at);
        rest.starts_with(|next: char| next.is_ascii_digit()) && before.ends_with([' ', '/', '-', 'v'])
    };
    let Some((at, _)) = words.char_indices().find(begins) else { return "unknown version" };
    let rest = &words[at..];
    &rest[..rest.find([' ', '\n', '\r', ')']).unwrap_or(rest.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(version("nginx version: nginx/1.22.1\n"), "1.22.1");
        assert_eq!(
            version("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n"),
            "2.6.12-1+deb12u4"
        );
        assert_eq!(version("varnishd (varnish-7.1.1 revision 7cee1c5)\nCopyright (c) 2006"), "7.1.1");
        assert_eq!(version("yatagarasu-server 0.1.0\n"), "0.1.0");
        assert_eq!(version("none"), "unknown version");
    }
}
