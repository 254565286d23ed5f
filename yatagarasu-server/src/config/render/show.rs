//! Prints the effective configuration, as `yatagarasu config show` does.

use std::path::Path;

use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use yaml_rust2::yaml::Hash;
use yaml_rust2::{Yaml, YamlEmitter};
use yatagarasu_core::caching::compression::Compression;
use yatagarasu_core::http::cors::Cors;
use yatagarasu_core::http::response_fields::FieldRule;
use yatagarasu_core::source::failover::FailoverCause;
use yatagarasu_core::{ForwardedFields, ObjectKey};
use yatagarasu_s3::{Access, Addressing, QueueConfig, StaticCredentials};

use crate::config::ListenAddress;
use crate::config::keys::{
    ALL, AcmeSettings, Address, AdminSettings, Again, AnswerSettings, BucketSettings, CacheSettings,
    CertificateSettings, Choice, ClientAddressSettings, CompressionSettings, CorsMode, CorsSettings, Either,
    EventSettings, FallbackSettings, Fields, Lines, ListenerSettings, ListenerTlsSettings, LogSettings,
    Optional, PriceSettings, ResponseHeaderSettings, RewriteSettings, RewriteStatus, S3Settings,
    ServerSettings, Settings, Several, SiteSettings, SqsSettings, TlsSettings, TracingSettings,
    WarmRestartSettings,
};
use crate::config::units::{ByteSize, Decimal, Span};
use crate::config::{
    BucketCache, BucketConfig, CertificateFiles, Config, FallbackConfig, ForwardedQuery, ListenerConfig,
    OriginConfig, SHORT_FORM, Secret, ServerConfig, StatusKey,
};
use crate::service::own::{OwnAnswer, OwnAnswers};
use crate::service::router::Rewrite;
use crate::service::site::Site;
use crate::tls::acme::AcmeConfig;

/// Returns the effective configuration as YAML, with all defaults and with masked secrets. Leaves out a region that is
/// only found when the source is built.
pub fn show(config: &Config) -> String {
    let mut tree = serde_json::to_value(settings(config)).expect("settings are made of JSON values");
    for (index, bucket) in config.buckets.iter().enumerate() {
        if bucket.cache.is_none() {
            tree["buckets"][index]["cache"] = json!({ "enabled": false });
        }
    }
    let mut text = String::new();
    YamlEmitter::new(&mut text).dump(&yaml(&tree)).expect("a string takes what is written");
    text.push('\n');
    text.trim_start_matches("---\n").to_owned()
}

/// Returns settings that make this configuration. A new key does not compile before it has its effective value here.
fn settings(config: &Config) -> Settings {
    let (server, admin) = (&config.server, &config.admin);
    Settings {
        server: ServerSettings {
            address: short_form(server).map(|one| Address(one.address.to_string())),
            listeners: Several(long_forms(server).map(listener).collect()),
            threads: u16::try_from(server.threads).unwrap_or(u16::MAX),
            fill_memory: ByteSize(server.fill_memory),
            response_memory: ByteSize(server.response_memory),
            notsent_lowat: ByteSize(server.notsent_lowat.map_or(0, u64::from)),
            socket_memory: ByteSize(server.socket_memory),
            connections_max: server.connections_max.map_or(0, |max| u32::try_from(max).unwrap_or(u32::MAX)),
            connections_per_client: server.connections_per_client.unwrap_or(0),
            requests_per_connection: server.requests_per_connection.unwrap_or(0),
            header_size: ByteSize(server.header_size as u64),
            http2_streams_per_second: server.http2_streams_per_second.unwrap_or(0),
            http2_resets_max: server.http2_resets_max.unwrap_or(0),
            client_address: ClientAddressSettings {
                from: Choice(server.client_address.from),
                trusted: server.client_address.trusted.iter().map(ToString::to_string).collect(),
            },
            health_path: server.own.health_path.clone(),
            answers: Several(answers(&server.own)),
            header_timeout: Span(server.header_timeout),
            send_timeout: Span(server.send_timeout.unwrap_or_default()),
            send_rate_min: ByteSize(server.send_rate_min),
            drain: Span(server.drain),
            shutdown_grace: Span(server.shutdown_grace),
            warm_restart: WarmRestartSettings {
                rate: server.warm_restart.rate,
                file: server.warm_restart.file.as_ref().map(|file| file.display().to_string()),
                objects_max: server.warm_restart.objects_max,
            },
        },
        admin: AdminSettings {
            address: Address(admin.address.to_string()),
            socket: admin
                .socket
                .as_ref()
                .and_then(ListenAddress::path)
                .map(|path| path.display().to_string()),
            token: admin.token.clone(),
            prices: PriceSettings {
                million_requests: Decimal(admin.prices.million_requests),
                gigabyte: Decimal(admin.prices.gigabyte),
                currency: admin.prices.currency.clone(),
            },
        },
        events: EventSettings { token: config.events.token.clone(), sqs: queue(config.events.sqs.as_ref()) },
        log: LogSettings {
            output: config.log.output.name(),
            access_output: Some(config.log.access_output.name()),
            access_format: config.log.access_format.as_ref().map(|format| format.written()),
        },
        tracing: TracingSettings {
            endpoint: config.tracing.endpoint.clone(),
            ratio: Decimal(config.tracing.ratio),
            parent: Choice(config.tracing.parent),
            service: config.tracing.service.clone(),
        },
        buckets: config.buckets.iter().map(bucket).collect(),
    }
}

/// Returns the answers by path, always in the same order.
fn answers(own: &OwnAnswers) -> Vec<AnswerSettings> {
    let mut answers: Vec<_> = own.answers.iter().collect();
    answers.sort_by_key(|(path, _)| *path);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let answer = |(path, answer): (&String, &OwnAnswer)| AnswerSettings {
        path: Some(path.clone()),
        status: answer.status.as_u16(),
        content_type: text(answer.content_type.as_bytes()),
        content: Lines(text(&answer.content)),
    };
    answers.into_iter().map(answer).collect()
}

fn short_form(server: &ServerConfig) -> Option<&ListenerConfig> {
    server.listeners.iter().find(|listener| listener.key == SHORT_FORM)
}

fn long_forms(server: &ServerConfig) -> impl Iterator<Item = &ListenerConfig> {
    server.listeners.iter().filter(|listener| listener.key != SHORT_FORM)
}

fn listener(listener: &ListenerConfig) -> ListenerSettings {
    let path = |path: &Path| Some(path.display().to_string());
    let certificate =
        |files: &CertificateFiles| CertificateSettings { cert: path(&files.cert), key: path(&files.key) };
    ListenerSettings {
        address: Some(Address(listener.address.to_string())),
        tls: Optional(listener.tls.as_ref().map(|tls| ListenerTlsSettings {
            certificates: Several(tls.certificates.iter().map(certificate).collect()),
            acme: Optional(tls.acme.as_ref().map(acme)),
            min_version: Choice(tls.min_version),
            client_ca: tls.client_ca.as_deref().and_then(path),
            http3: tls.http3,
            http3_port: tls.http3_port.unwrap_or(0),
            hsts: Span(tls.hsts.unwrap_or_default()),
        })),
        https_redirect: listener.https_redirect.unwrap_or(0),
    }
}

fn acme(acme: &AcmeConfig) -> AcmeSettings {
    AcmeSettings {
        domains: Some(acme.domains.clone()),
        storage: Some(acme.storage.display().to_string()),
        accept_terms: true,
        contact: acme.contact.clone(),
        directory: acme.directory.clone(),
        ca_file: acme.ca_file.as_ref().map(|path| path.display().to_string()),
    }
}

/// Returns the keys of a bucket that decide what is stored of which objects, and under which keys.
pub(in crate::config) fn caching(config: &BucketConfig) -> Value {
    let mut tree = serde_json::to_value(bucket(config)).expect("settings are made of JSON values");
    let mut take = |section: &str, key: &str| tree[section][key].take();
    let s3: Vec<Value> = [
        "bucket",
        "endpoint",
        "dualstack",
        "fips",
        "accelerate",
        "access_denied",
        "request_headers",
        "forward_headers",
        "forward_query",
    ]
    .map(|key| take("s3", key))
    .to_vec();
    // It changes responses only.
    take("cache", "status_key");
    // The changes to fields are made when an object is stored.
    let fields = [&tree["hide_headers"], &tree["response_headers"]];
    // So are types.
    let content_types = &tree["site"]["content_types"];
    // So is `Vary`.
    let compression = &tree["compression"];
    json!([
        s3,
        tree["cors"],
        fields,
        content_types,
        compression,
        config.cache.as_ref().map(|_| &tree["cache"])
    ])
}

fn static_keys(access: &Access) -> Option<&StaticCredentials> {
    match access {
        Access::Static(keys) => Some(keys),
        Access::Anonymous | Access::Chain => None,
    }
}

fn queue(queue: Option<&QueueConfig>) -> SqsSettings {
    let keys = queue.and_then(|queue| static_keys(&queue.access));
    SqsSettings {
        url: queue.map(|queue| queue.url.clone()),
        region: queue.and_then(|queue| queue.region.clone()),
        access_key: keys.map(|keys| Secret::new(&keys.access_key)),
        secret_key: keys.map(|keys| Secret::new(&keys.secret_key)),
    }
}

fn bucket(bucket: &BucketConfig) -> BucketSettings {
    BucketSettings {
        name: Some(bucket.name.clone()),
        path_prefix: Some(bucket.path_prefix.clone()),
        hosts: bucket.hosts.iter().map(ToString::to_string).collect(),
        key_prefix: bucket.key_prefix.as_str().to_owned(),
        strip_prefix: bucket.strip_prefix,
        download: bucket.download,
        rewrite: Several(bucket.rewrites.iter().map(rewrite).collect()),
        site: Optional(bucket.site.as_ref().map(site)),
        s3: S3Settings {
            forward_headers: match &bucket.forward_headers {
                ForwardedFields::Named(names) => names.iter().map(ToString::to_string).collect(),
                ForwardedFields::All => vec![ALL.to_owned()],
            },
            forward_query: match &bucket.forward_query {
                ForwardedQuery::Named(names) => names.clone(),
                ForwardedQuery::All => vec![ALL.to_owned()],
            },
            ..s3(&bucket.origin)
        },
        fallbacks: Several(bucket.fallbacks.iter().map(fallback).collect()),
        cors: cors(&bucket.cors),
        hide_headers: bucket.response_fields.hidden().map(str::to_owned).collect(),
        response_headers: Several(bucket.response_fields.rules().map(rule).collect()),
        compression: Optional(
            bucket.compression.as_ref().map(|given| compression(given, bucket.precompressed)),
        ),
        cache: bucket.cache.as_ref().map(cache).unwrap_or_default(),
    }
}

fn compression(compression: &Compression, precompressed: bool) -> CompressionSettings {
    CompressionSettings {
        codings: compression.codings.iter().map(|coding| coding.name().to_owned()).collect(),
        precompressed,
        compress: compression.compress,
        types: compression.types.0.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        min_size: ByteSize(compression.bytes_min),
    }
}

fn rewrite(rule: &Rewrite) -> RewriteSettings {
    RewriteSettings {
        from: Some(rule.from.to_string()),
        to: Some(rule.to.to_string()),
        status: Choice(RewriteStatus::of(rule.status)),
    }
}

fn site(site: &Site) -> SiteSettings {
    let key = |key: &ObjectKey| key.as_str().to_owned();
    SiteSettings {
        index: site.index.clone().unwrap_or_default(),
        clean_urls: site.clean_urls,
        spa: site.spa.as_ref().map(key),
        not_found: site.not_found.as_ref().map(key),
        listing: Choice(site.listing),
        content_types: site.content_types,
        redirects: site.redirects.as_ref().map(key),
        headers: site.headers.as_ref().map(key),
        errors: Fields(site.errors.iter().map(|(class, page)| (class.to_string(), key(page))).collect()),
    }
}

fn fallback(fallback: &FallbackConfig) -> FallbackSettings {
    let when = fallback.when.iter().map(|cause| match cause {
        FailoverCause::Unavailable => "unavailable".to_owned(),
        FailoverCause::NotFound => "not_found".to_owned(),
    });
    FallbackSettings { when: when.collect(), s3: Again(s3(&fallback.origin)) }
}

/// Returns the settings of a source, without those that are for all sources of a bucket.
fn s3(origin: &OriginConfig) -> S3Settings {
    let source = &origin.source;
    let keys = static_keys(&source.access);
    S3Settings {
        backend: Choice(source.backend),
        bucket: Some(source.bucket.clone()),
        region: source.region.clone(),
        endpoint: source.endpoint.clone(),
        dualstack: source.aws.dualstack,
        fips: source.aws.fips,
        accelerate: source.aws.accelerate,
        path_style: Some(source.addressing == Addressing::Path),
        tls: TlsSettings {
            ca_file: source.tls.ca_file.as_ref().map(|path| path.display().to_string()),
            pin_self_signed: source.tls.pin_self_signed,
            insecure: source.tls.insecure,
        },
        anonymous: matches!(source.access, Access::Anonymous),
        access_key: keys.map(|keys| Secret::new(&keys.access_key)),
        secret_key: keys.map(|keys| Secret::new(&keys.secret_key)),
        session_token: keys.and_then(|keys| keys.session_token.as_ref()).map(Secret::new),
        access_denied: Choice(source.access_denied),
        request_headers: fields(source.request_headers.iter()),
        forward_headers: Vec::new(),
        forward_query: Vec::new(),
        connections_max: u16::try_from(source.connections_max).unwrap_or(u16::MAX),
        connect_timeout: Span(source.connect_timeout),
        response_timeout: Span(origin.response_timeout),
        idle_timeout: Span(origin.idle_timeout),
        attempts: u16::try_from(origin.retry.attempts).unwrap_or(u16::MAX),
        deadline: Span(origin.retry.deadline),
        hedging: origin.hedging,
        receive_buffer: ByteSize(source.receive_buffer.map_or(0, |bytes| bytes as u64)),
    }
}

fn cors(cors: &Cors) -> Either<CorsMode, CorsSettings> {
    let rules = match cors {
        Cors::Pass => return Either::Name(CorsMode::Pass),
        Cors::Off => return Either::Name(CorsMode::Off),
        Cors::Rules(rules) => rules,
    };
    Either::Section(CorsSettings {
        allow_origins: Some(rules.origins().map(str::to_owned).collect()),
        allow_methods: rules.allow_methods.clone(),
        allow_headers: rules.allow_headers.clone(),
        expose_headers: rules.expose_headers.clone(),
        max_age: Span(rules.max_age),
        credentials: rules.credentials,
    })
}

fn rule(rule: &FieldRule) -> ResponseHeaderSettings {
    ResponseHeaderSettings {
        keys: rule.keys.as_str().to_owned(),
        remove: rule.remove.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        set: fields(rule.set.iter()),
    }
}

fn fields<'a>(headers: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> Fields {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Fields(headers.map(|(name, value)| (name.to_string(), text(value))).collect())
}

fn cache(cache: &BucketCache) -> CacheSettings {
    let BucketCache { store, policy, status_key } = cache;
    let statuses = [(404, policy.negative.missing), (403, policy.negative.denied)];
    CacheSettings {
        enabled: true,
        backend: Choice(store.backend),
        max_item_size: ByteSize(store.max_item_size),
        max_size: ByteSize(store.max_size),
        ttl: Span(policy.ttl),
        cache_control: Choice(policy.cache_control),
        client_cache_control: Choice(policy.client_cache_control),
        heuristic_freshness: policy.heuristic_freshness,
        stale_while_revalidate: Span(policy.stale_while_revalidate),
        stale_if_error: Span(policy.stale_if_error),
        stale_wait: Span(policy.stale_wait.unwrap_or_default()),
        range_fill: policy.range_fill,
        negative_ttl: Span(policy.negative.ttl),
        negative_statuses: statuses.into_iter().filter_map(|(status, on)| on.then_some(status)).collect(),
        status_key: *status_key == StatusKey::Shown,
        eviction: Choice(store.eviction),
    }
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
