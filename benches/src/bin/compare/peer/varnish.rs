//! Varnish: objects in memory, one thread pool, streaming.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use super::Place;

/// Streams objects of 10,000,000 bytes and more instead of storing them.
const VCL: &str = r#"
vcl 4.1;
backend source { .host = "HOST"; .port = "PORT"; }
sub vcl_backend_response {
    if (beresp.http.Content-Length ~ "^[0-9]{8,}$") {
        set beresp.uncacheable = true;
        set beresp.ttl = 120s;
    }
}
"#;

/// `Transient` holds the bytes of streams between the source and the client.
///
/// Varnish 7.1 reads as fast as the source sends, and allocates a whole chunk at once. Without a bound, 500 stalled
/// clients would take 500 GiB. With chunks of the default 256 MiB, a bound of 2 GiB would hold only eight streams.
const TRANSIENT: [&str; 2] = ["-s", "Transient=malloc,2g"];

/// The queue is for clients that arrive faster than threads start; clients beyond it are turned away.
const PARAMETERS: [&str; 7] = [
    "feature=+http2",
    "thread_pools=1",
    "thread_pool_min=100",
    "thread_queue_limit=10000",
    "timeout_idle=300",
    "listen_depth=4096",
    "fetch_maxchunksize=256k",
];

pub(super) fn command(program: &Path, place: Place<'_>) -> anyhow::Result<Command> {
    let file = place.folder.join("default.vcl");
    ensure!(place.source.certificate.is_none(), "it speaks no TLS to a source");
    let source = place.source.address;
    let vcl = VCL.replace("HOST", &source.ip().to_string()).replace("PORT", &source.port().to_string());
    fs::write(&file, vcl).context("default.vcl cannot be written")?;
    let mut command = Command::new(program);
    command.args(["-F", "-j", "none", "-T", "none", "-n"]).arg(place.folder.join("varnish"));
    command.arg("-a").arg(place.address.to_string()).arg("-f").arg(file);
    command.arg("-s").arg(format!("malloc,{}m", place.cache_mb.unwrap_or(512))).args(TRANSIENT);
    for parameter in PARAMETERS {
        command.args(["-p", parameter]);
    }
    Ok(command)
}
