//! This project's server with its default settings.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::{AccessLog, Place};
use crate::source::BUCKET;

/// The server signs its requests, as S3 requires; the peers do not.
const CONFIGURATION: &str = r#"
server:
  listeners:
    - address: "ADDRESS"
    - address: "SECURE"
      tls: { certificates: { cert: "CERT_FILE", key: "KEY_FILE" } }
  threads: THREADS
  shutdown_grace: "1s"
admin:
  address: "ADMIN"
log:
  output: "/dev/null"
buckets:
  - name: "BUCKET"
    path_prefix: "/BUCKET"
    s3:
      endpoint: "SOURCE"
      TLS
      region: "us-east-1"
      access_key: "compare"
      secret_key: "compare"
    cache:
      max_size: "CACHE_MBMB"
"#;

pub(super) fn command(program: &Path, place: Place<'_>) -> anyhow::Result<Command> {
    let source = place.source.address;
    let (endpoint, tls) = match place.source.certificate {
        None => (format!("http://{source}"), String::new()),
        Some(file) => {
            let tls = format!("tls: {{ ca_file: \"{}\", pin_self_signed: true }}", file.display());
            (format!("https://{source}"), tls)
        }
    };
    let file = place.folder.join("yatagarasu.yaml");
    let configuration = CONFIGURATION
        .replace("ADDRESS", &place.address.to_string())
        .replace("SECURE", &place.tls.to_string())
        .replace("CERT_FILE", &place.identity.cert_file.display().to_string())
        .replace("KEY_FILE", &place.identity.key_file.display().to_string())
        .replace("ADMIN", &place.second.to_string())
        .replace("SOURCE", &endpoint)
        .replace("TLS", &tls)
        .replace("CACHE_MB", &place.cache_mb.unwrap_or(512).to_string())
        .replace("THREADS", &place.threads.to_string())
        .replace("BUCKET", BUCKET);
    fs::write(&file, configuration).context("yatagarasu.yaml cannot be written")?;
    let mut command = Command::new(program);
    command.arg("--config").arg(file);
    match place.access_log {
        AccessLog::Default => {}
        AccessLog::Off => {
            command.args(["--log", "info,yatagarasu::access=off"]);
        }
    }
    Ok(command)
}
