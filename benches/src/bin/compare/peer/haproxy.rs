//! HAProxy: its cache, one thread, splice.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::Place;

/// Uses `splice-response`, because HAProxy 2.6 never called splice(2) for these streams with `splice-auto`.
const CONFIGURATION: &str = "
global
    nbthread 1

cache objects
    total-max-size CACHE_MB
    max-object-size 2097152
    max-age 3600

defaults
    mode http
    option http-keep-alive
    option splice-response
    http-reuse always
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-request 60s
    timeout http-keep-alive 300s

frontend public
    bind ADDRESS backlog 4096
    bind SECURE backlog 4096 ssl crt BOTH
    http-request cache-use objects
    http-response cache-store objects
    default_backend source

backend source
    server source SOURCE pool-max-conn -1 TLS
";

pub(super) fn command(program: &Path, place: Place<'_>) -> anyhow::Result<Command> {
    let file = place.folder.join("haproxy.cfg");
    let configuration = CONFIGURATION
        .replace("CACHE_MB", &place.cache_mb.unwrap_or(256).to_string())
        .replace("ADDRESS", &place.address.to_string())
        .replace("SECURE", &place.tls.to_string())
        .replace("BOTH", &place.identity.both_file.display().to_string())
        .replace("SOURCE", &place.source.address.to_string())
        .replace("TLS", if place.source.certificate.is_some() { "ssl verify none" } else { "" });
    fs::write(&file, configuration).context("haproxy.cfg cannot be written")?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}
