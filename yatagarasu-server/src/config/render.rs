//! Prints the effective configuration.

use serde_json::{Value, json};
use yaml_rust2::yaml::Hash;
use yaml_rust2::{Yaml, YamlEmitter};
use yatagarasu_cache::{CacheBackend, EvictionPolicy};
use yatagarasu_core::{ClientControl, ForwardedFields, ObjectControl};
use yatagarasu_s3::{Access, Addressing, SourceBackend};

use crate::config::units::{write_size, write_span};
use crate::config::{BucketCache, BucketConfig, Config, ForwardedQuery, StatusKey};

/// The placeholder for a secret.
const MASKED: &str = "***";

/// The wildcard for all names.
const ALL: &str = "*";

/// Returns the effective configuration as YAML, with all defaults and with masked secrets. Leaves out a region that is
/// only found when the source is built.
pub fn show(config: &Config) -> String {
    let server = &config.server;
    let admin = &config.admin;
    let tree = json!({
        "server": {
            "address": server.address.to_string(),
            "threads": server.threads,
            "fill_memory": write_size(server.fill_memory),
            "notsent_lowat": write_size(server.notsent_lowat.map_or(0, u64::from)),
            "socket_memory": write_size(server.socket_memory),
            "header_timeout": write_span(server.header_timeout),
            "send_timeout": write_span(server.send_timeout.unwrap_or_default()),
            "shutdown_grace": write_span(server.shutdown_grace),
        },
        "admin": {
            "address": admin.address.to_string(),
            "token": admin.token.as_ref().map(|_| MASKED),
        },
        "buckets": config.buckets.iter().map(bucket).collect::<Vec<_>>(),
    });
    let mut text = String::new();
    YamlEmitter::new(&mut text).dump(&yaml(&tree)).expect("a string takes what is written");
    text.push('\n');
    text.trim_start_matches("---\n").to_owned()
}

fn bucket(bucket: &BucketConfig) -> Value {
    let source = &bucket.source;
    let mut s3 = json!({
        "backend": match source.backend {
            SourceBackend::Native => "native",
            SourceBackend::Rusoto => "rusoto",
        },
        "bucket": source.bucket,
        "region": source.region,
        "endpoint": source.endpoint,
        "path_style": source.addressing == Addressing::Path,
        "anonymous": matches!(source.access, Access::Anonymous),
    });
    if let Access::Static(credentials) = &source.access {
        s3["access_key"] = json!(MASKED);
        s3["secret_key"] = json!(MASKED);
        s3["session_token"] = json!(credentials.session_token.as_ref().map(|_| MASKED));
    }
    s3["forward_headers"] = match &bucket.forward_headers {
        ForwardedFields::Named(names) => names.iter().map(http::HeaderName::as_str).collect(),
        ForwardedFields::All => json!([ALL]),
    };
    s3["forward_query"] = match &bucket.forward_query {
        ForwardedQuery::Named(names) => json!(names),
        ForwardedQuery::All => json!([ALL]),
    };
    s3["connect_timeout"] = json!(write_span(source.connect_timeout));
    s3["response_timeout"] = json!(write_span(bucket.response_timeout));
    s3["idle_timeout"] = json!(write_span(bucket.idle_timeout));
    s3["receive_buffer"] = json!(write_size(source.receive_buffer.map_or(0, |bytes| bytes as u64)));
    let cache = bucket.cache.as_ref().map_or_else(|| json!({ "enabled": false }), cache);
    json!({ "name": bucket.name, "path_prefix": bucket.path_prefix, "s3": s3, "cache": cache })
}

fn cache(cache: &BucketCache) -> Value {
    let BucketCache { store, policy, status_key } = cache;
    let statuses = [(404, policy.negative.missing), (403, policy.negative.denied)];
    let statuses = statuses.into_iter().filter(|(_, remembered)| *remembered).map(|(status, _)| status);
    json!({
        "enabled": true,
        "backend": match store.backend {
            CacheBackend::Foyer => "foyer",
        },
        "max_item_size": write_size(store.max_item_size),
        "max_size": write_size(store.max_size),
        "ttl": write_span(policy.ttl),
        "cache_control": match policy.cache_control {
            ObjectControl::Respect => "respect",
            ObjectControl::Override => "override",
            ObjectControl::Ignore => "ignore",
        },
        "client_cache_control": match policy.client_cache_control {
            ClientControl::Respect => "respect",
            ClientControl::Ignore => "ignore",
        },
        "heuristic_freshness": policy.heuristic_freshness,
        "stale_while_revalidate": write_span(policy.stale_while_revalidate),
        "stale_if_error": write_span(policy.stale_if_error),
        "range_fill": policy.range_fill,
        "negative_ttl": write_span(policy.negative.ttl),
        "negative_statuses": statuses.collect::<Vec<u16>>(),
        "status_key": *status_key == StatusKey::Shown,
        "eviction": match store.eviction {
            EvictionPolicy::S3Fifo => "s3fifo",
            EvictionPolicy::Lfu => "lfu",
            EvictionPolicy::Lru => "lru",
            EvictionPolicy::Sieve => "sieve",
        },
    })
}

/// Converts JSON to YAML, without members that are null.
fn yaml(tree: &Value) -> Yaml {
    match tree {
        Value::Null => Yaml::Null,
        Value::Bool(value) => Yaml::Boolean(*value),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| Yaml::Real(number.to_string()), Yaml::Integer)
        }
        // Escaped, so that the output loads as the same configuration: `${` would begin a variable.
        Value::String(text) => Yaml::String(text.replace("${", "$${")),
        Value::Array(values) => Yaml::Array(values.iter().map(yaml).collect()),
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let hash: Hash = members.map(|(name, value)| (Yaml::String(name.clone()), yaml(value))).collect();
            Yaml::Hash(hash)
        }
    }
}
