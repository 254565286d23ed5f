//! The text that the demo prints on start: addresses, and commands to try.

use std::fmt;
use std::net::SocketAddr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use yatagarasu_server::config::Secret;

use super::certificates::Certificates;
use super::content::Content;
use super::s3::Keys;
use super::settings::TOKEN;
use super::sidecars::BUCKET;
use crate::words::size;

/// The bytes of a key that are percent-encoded in a URL.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The server that `yatagarasu cache` asks by default.
const ADMIN_DEFAULT: &str = "127.0.0.1:9090";

/// The text that the demo prints once it runs. Its `Display` lists the addresses and some commands to try.
pub(super) struct Announcement<'a> {
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) s3: SocketAddr,
    pub(super) content: &'a Content,
    pub(super) certificates: Option<&'a Certificates>,
    /// Where the gateway speaks TLS.
    pub(super) secure: Option<SocketAddr>,
    pub(super) token: Option<&'a Secret>,
    pub(super) keys: &'a Keys,
    /// The path by which this program was called.
    pub(super) program: String,
}

impl fmt::Display for Announcement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { admin, s3, content, .. } = self;
        writeln!(f, "An S3 server with one bucket, `{BUCKET}`, and the gateway in front of it:\n")?;
        writeln!(f, "  gateway    {}", self.first_url())?;
        writeln!(f, "  browser    http://{}/ (a website; folders without a page are listed)", self.gateway)?;
        if let (Some(certificates), Some(secure)) = (self.certificates, self.secure) {
            writeln!(f, "  with TLS   https://{}/ (TLS 1.2 and 1.3, HTTP/2)", named(secure))?;
            writeln!(f, "  its CA     {} (for this run only)", certificates.authority().display())?;
        }
        writeln!(f, "  dashboard  http://{admin}/ (what it does, live)")?;
        writeln!(f, "  admin API  http://{admin}")?;
        writeln!(f, "  S3 server  http://{s3} (signed requests only)")?;
        writeln!(f, "  its keys   AWS_ACCESS_KEY_ID={}", self.keys.access_key)?;
        writeln!(f, "             AWS_SECRET_ACCESS_KEY={}", self.keys.secret_key)?;
        writeln!(f, "  objects    {} (only read)", content.objects().display())?;
        writeln!(f, "\nIn another terminal, in this folder:")?;
        for (meaning, command) in self.object_commands().into_iter().chain(self.admin_commands()) {
            writeln!(f, "\n  # {meaning}\n  {command}")?;
        }
        writeln!(f, "\nCtrl-C stops everything.")
    }
}

impl Announcement<'_> {
    /// Returns commands that fetch objects, each as a description and a command line.
    fn object_commands(&self) -> Vec<(String, String)> {
        let examples = self.content.examples();
        let mut commands = Vec::new();
        let mut add = |meaning: &str, command: String| commands.push((meaning.to_owned(), command));
        if let Some(small) = &examples.small {
            let (url, show) = (self.url(&small.key), show(&small.key));
            let tag = small.file.tag();
            add("a miss: fetched from S3, and stored on the way", format!("curl {show} {url}"));
            add("a hit: the same once more, from memory", format!("curl {show} {url}"));
            add("a range: the first five bytes", format!("curl {show} -r 0-4 {url}"));
            let condition = quoted(&format!("If-None-Match: \"{tag}\""));
            add("a condition: nothing new (304)", format!("curl -i -H {condition} {url}"));
        }
        if let (Some(small), Some(certificates), Some(secure)) =
            (&examples.small, self.certificates, self.secure)
        {
            let (key, show) = (utf8_percent_encode(&small.key, KEY), show(&small.key));
            let authority = quoted(&certificates.authority().to_string_lossy());
            let url = format!("https://{}/{key}", named(secure));
            add("the same over TLS and HTTP/2", format!("curl {show} --cacert {authority} {url}"));
        }
        if let Some(large) = &examples.large {
            let url = self.url(&large.key);
            let meaning = format!("a large object: {}, streamed, never kept", size(large.file.length()));
            add(&meaning, format!("curl -o /dev/null {url}"));
        }
        commands
    }

    /// Returns commands for operators, each as a description and a command line.
    fn admin_commands(&self) -> Vec<(String, String)> {
        let (program, admin) = (quoted(&self.program), self.admin);
        let option = if admin.to_string() == ADMIN_DEFAULT {
            String::new()
        } else {
            format!(" --admin http://{admin}")
        };
        let authorization =
            self.token.map_or(String::new(), |_| format!(" -H \"Authorization: Bearer ${TOKEN}\""));
        let everything = quoted(&json!({ "bucket": BUCKET, "all": true }).to_string());
        let mut commands = Vec::new();
        let mut add = |meaning: &str, command: String| commands.push((meaning.to_owned(), command));
        add("what was hit, and what is stored", format!("{program} cache stats{option}"));
        if let Some(small) = &self.content.examples().small {
            let purge =
                format!("{program} cache purge --bucket {BUCKET} --key {}{option}", quoted(&small.key));
            add("a purge: the next request is a miss", purge);
            add("that miss", format!("curl {} {}", show(&small.key), self.url(&small.key)));
        }
        let purge = format!(
            "curl{authorization} -H 'Content-Type: application/json' -d {everything} http://{admin}/purge"
        );
        add("a purge of everything, by the admin API", purge);
        add("the same statistics, by the admin API", format!("curl{authorization} http://{admin}/stats"));
        commands
    }

    /// Returns a URL that answers with an object, if there is one. Nothing is at the root.
    fn first_url(&self) -> String {
        let examples = self.content.examples();
        let example = examples.small.as_ref().or(examples.large.as_ref());
        example.map_or(format!("http://{}", self.gateway), |example| self.url(&example.key))
    }

    fn url(&self, key: &str) -> String {
        format!("http://{}/{}", self.gateway, utf8_percent_encode(key, KEY))
    }
}

/// Returns an address with the name that its certificate is for.
fn named(address: SocketAddr) -> String {
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}

/// Returns the options with which `curl` shows an object. Content is shown only if it is text.
fn show(key: &str) -> &'static str {
    let text = mime_guess::from_path(key).first_raw().is_some_and(|kind| kind.starts_with("text/"));
    if text { "-i" } else { "-sD - -o /dev/null" }
}

/// Returns `text` quoted as one word of a shell command.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/:=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_something_into_them() {
        for (text, word) in [
            ("target/release/yatagarasu", "target/release/yatagarasu"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(text), word);
        }
    }
}
