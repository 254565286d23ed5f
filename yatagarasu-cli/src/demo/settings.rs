//! The gateway configuration of the demo.

use std::net::SocketAddr;

use serde_json::json;
use yatagarasu_server::Config;
use yatagarasu_server::config::Environment;

use super::DemoError;
use super::certificates::Certificates;
use super::s3::Keys;
use super::sidecars::BUCKET;
use crate::args::DemoArguments;

/// The only environment variable that the configuration uses. The rest of it does not depend on the environment.
pub(super) const TOKEN: &str = "YATAGARASU_ADMIN_TOKEN";

/// Returns the gateway's configuration, loaded from YAML like that of a server.
pub(super) fn config(
    arguments: &DemoArguments,
    s3: SocketAddr,
    keys: &Keys,
    certificates: Option<&Certificates>,
) -> Result<Config, DemoError> {
    let process = Environment::of_process();
    let environment: Environment = process.get(TOKEN).map(|token| (TOKEN, token)).into_iter().collect();
    let yaml = format!(
        r#"
server:
  listeners: {listeners}
  shutdown_grace: "2s"
admin:
  address: "{admin}"
buckets:
  - name: "{BUCKET}"
    path_prefix: "/"
    site:
      listing: html
    s3:
      endpoint: "http://{s3}"
      region: "us-east-1"
      access_key: "{access_key}"
      secret_key: "{secret_key}"
    cache:
      max_item_size: "10MB"
      max_size: "256MB"
"#,
        listeners = listeners(arguments, certificates),
        admin = arguments.admin_address,
        access_key = keys.access_key,
        secret_key = keys.secret_key,
    );
    Config::from_yaml("demo", &yaml, &environment).map_err(|errors| {
        let lines = errors.0.iter().map(|error| match &*error.key {
            // It is needed because of the address.
            "admin.token" if error.message.starts_with("expected a token") => {
                format!("--admin-address: an address that is not loopback needs a token: set {TOKEN}")
            }
            key => format!("{}: {}", option(key), error.message),
        });
        DemoError::Settings(lines.collect::<Vec<_>>().join("\n"))
    })
}

/// Returns the listeners as a list of YAML.
fn listeners(arguments: &DemoArguments, certificates: Option<&Certificates>) -> serde_json::Value {
    let plain = json!({ "address": arguments.address.to_string() });
    let secure = certificates.map(|certificates| {
        let files = json!({ "cert": certificates.certificate(), "key": certificates.key() });
        json!({ "address": arguments.tls_address.to_string(), "tls": { "certificates": files } })
    });
    std::iter::once(plain).chain(secure).collect()
}

/// Returns the option that sets a configuration key, or the key itself if no option does.
pub(super) fn option(key: &str) -> &str {
    match key {
        "server.listeners" | "server.listeners[0]" | "server.listeners[0].address" => "--address",
        "server.listeners[1]" | "server.listeners[1].address" => "--tls-address",
        "admin.address" => "--admin-address",
        "admin.token" => TOKEN,
        other => other,
    }
}
