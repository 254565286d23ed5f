//! nginx: `proxy_cache` on a memory file system, `open_file_cache`, `sendfile`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::{AccessLog, Place};

/// `user root` has no effect unless root runs this. Without it, the workers could not read the folder then.
///
/// Objects too long to store are streamed through the default buffers instead of temporary files. A temporary file
/// would take the whole object of a stalled client.
const CONFIGURATION: &str = r#"
daemon off;
user root;
worker_processes 1;
pid FOLDER/nginx.pid;
error_log stderr error;
events {
    worker_connections 16384;
}
http {
    access_log LOG;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    client_body_temp_path FOLDER/client;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    open_file_cache max=10000 inactive=1h;
    open_file_cache_valid 1h;
    open_file_cache_min_uses 1;
    proxy_cache_path FOLDER/objects levels=1:2 keys_zone=objects:10m max_size=CACHE_MBm inactive=1h use_temp_path=off;
    map $upstream_http_content_length $streamed {
        default 0;
        "~^[0-9]{8,}$" 1;
    }
    upstream source {
        server SOURCE;
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 300s;
    }
    server {
        listen ADDRESS backlog=4096;
        listen HTTP2 http2 backlog=4096;
        listen SECURE ssl backlog=4096;
        ssl_certificate CERT_FILE;
        ssl_certificate_key KEY_FILE;
        ssl_session_cache shared:sessions:10m;
        location / {
            proxy_pass SCHEME://source;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache objects;
            proxy_cache_valid 200 1h;
            proxy_no_cache $streamed;
            proxy_max_temp_file_size 0;
        }
    }
}
"#;

pub(super) fn command(program: &Path, place: Place<'_>) -> anyhow::Result<Command> {
    let file = place.folder.join("nginx.conf");
    let log = match place.access_log {
        AccessLog::Default => "/dev/null",
        AccessLog::Off => "off",
    };
    let configuration = CONFIGURATION
        .replace("CACHE_MB", &place.cache_mb.unwrap_or(512).to_string())
        .replace("LOG", log)
        .replace("FOLDER", &place.folder.display().to_string())
        .replace("ADDRESS", &place.address.to_string())
        .replace("HTTP2", &place.second.to_string())
        .replace("SECURE", &place.tls.to_string())
        .replace("CERT_FILE", &place.identity.cert_file.display().to_string())
        .replace("KEY_FILE", &place.identity.key_file.display().to_string())
        .replace("SCHEME", if place.source.certificate.is_some() { "https" } else { "http" })
        .replace("SOURCE", &place.source.address.to_string());
    fs::write(&file, configuration).context("nginx.conf cannot be written")?;
    let mut command = Command::new(program);
    command.arg("-p").arg(place.folder).arg("-c").arg(file);
    Ok(command)
}
