//! Varnish: objects in memory, one thread pool, streaming.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::Place;

/// What is too long to be stored is streamed.
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

/// `Transient` is what streams are kept in between the source and the client. Varnish 7.1 reads as fast as the source
/// sends, and sets a whole chunk aside at once: without a bound 500 stalled clients would take 500 GiB, and with chunks
/// of the default 256 MiB a bound of 2 GiB would be eight streams.
const STORAGE: [&str; 4] = ["-s", "malloc,512m", "-s", "Transient=malloc,2g"];

/// The queue is for clients that come faster than threads start: beyond it they are turned away.
const PARAMETERS: [&str; 6] = [
    "thread_pools=1",
    "thread_pool_min=100",
    "thread_queue_limit=10000",
    "timeout_idle=300",
    "listen_depth=4096",
    "fetch_maxchunksize=256k",
];

pub(super) fn command(program: &Path, place: Place<'_>) -> anyhow::Result<Command> {
    let file = place.folder.join("default.vcl");
    let vcl =
        VCL.replace("HOST", &place.source.ip().to_string()).replace("PORT", &place.source.port().to_string());
    fs::write(&file, vcl).context("default.vcl cannot be written")?;
    let mut command = Command::new(program);
    command.args(["-F", "-j", "none", "-T", "none", "-n"]).arg(place.folder.join("varnish"));
    command.arg("-a").arg(place.address.to_string()).arg("-f").arg(file).args(STORAGE);
    for parameter in PARAMETERS {
        command.args(["-p", parameter]);
    }
    Ok(command)
}
