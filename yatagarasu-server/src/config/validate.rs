//! Validates the settings as read, and makes the effective configuration.
//!
//! The bounds of single values are in the table of keys. The checks here are those of several keys, and of texts.

mod acme;
mod answers;
mod bucket;
mod cache;
mod compression;
mod cors;
pub(super) mod credential_chain;
mod fields;
mod forward;
mod listeners;
mod routing;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use http::Uri;
use ipnet::IpNet;
use yatagarasu_s3::{Access, QueueConfig};

use crate::config::error::ErrorSink;
use crate::config::keys::{
    Address, AdminSettings, ClientAddressSettings, EventSettings, LogSettings, PriceSettings, ServerSettings,
    Settings, SqsSettings, TracingSettings,
};
use crate::config::text::{check_field_value, trimmed};
use crate::config::units::ByteSize;
use crate::config::{
    AdminConfig, Config, Environment, EventConfig, LogConfig, Prices, Secret, ServerConfig, TracingConfig,
    WarmRestart,
};
use crate::listener::socket::{ADMIN_SOCKET, ListenAddress};
use crate::service::client_address::{AddressSource, ClientAddress};
use crate::telemetry::access_log::format::Format;
use crate::telemetry::log::output::Destination;

/// The variable that the token of the admin API comes from if the file has none.
const ADMIN_TOKEN: &str = "YATAGARASU_ADMIN_TOKEN";

/// Validates the settings as a whole. Reports every error to `complain`. Returns `None` if the error leaves no value
/// to go on with.
pub(super) fn validate(
    settings: Settings,
    environment: &Environment,
    complain: ErrorSink<'_>,
) -> Option<Config> {
    settings.check_bounds("", complain);
    let server = server(&settings.server, complain);
    let admin = admin(&settings.admin, environment, complain);
    let events = events(&settings.events, admin.as_ref(), complain);
    let log = log(&settings.log, complain);
    let tracing = tracing(&settings.tracing, complain);
    if let (Some(server), Some(admin)) = (&server, &admin)
        && server.listeners.iter().any(|listener| match listener.address {
            ListenAddress::Tcp(address) => overlap(address, admin.address),
            ListenAddress::Unix(_) => false,
        })
    {
        complain(
            "admin.address",
            "is the public address too, or one is a part of the other: choose another port for the admin API",
        );
    }
    if let (Some(server), Some(AdminConfig { socket: Some(socket), .. })) = (&server, &admin)
        && let Some(listener) = server.listeners.iter().find(|listener| listener.address == *socket)
    {
        complain("admin.socket", &format!("is taken by {} already: choose another path", listener.key));
    }
    if settings.buckets.is_empty() {
        complain("buckets", "expected at least one bucket with `name` and `path_prefix`");
    }
    // Compares names as written, so that duplicates are found even if a bucket has another error.
    let named = settings.buckets.iter().map(|bucket| bucket.name.clone());
    unique(named, "name", complain);
    routing::distinct(&settings.buckets, complain);
    let mut buckets = Vec::new();
    for (index, bucket) in settings.buckets.into_iter().enumerate() {
        buckets.push(bucket::bucket(bucket, &format!("buckets[{index}]"), complain));
    }
    Some(Config {
        server: server?,
        admin: admin?,
        events: events?,
        log: log?,
        tracing: tracing?,
        buckets: buckets.into_iter().collect::<Option<_>>()?,
    })
}

fn unique(values: impl Iterator<Item = Option<String>>, key: &str, complain: ErrorSink<'_>) {
    let mut seen = HashMap::new();
    for (index, value) in values.enumerate().filter_map(|(index, value)| Some((index, value?))) {
        if let Some(first) = seen.get(&value) {
            let message = format!("`{value}` is taken by buckets[{first}] already");
            complain(&format!("buckets[{index}].{key}"), &message);
        }
        seen.entry(value).or_insert(index);
    }
}

fn server(settings: &ServerSettings, complain: ErrorSink<'_>) -> Option<ServerConfig> {
    let listeners = listeners::listeners(settings, complain);
    let client_address = client_address(&settings.client_address, complain);
    let own = answers::own(settings, complain);
    let limit = |count: u32| Some(count).filter(|count| *count > 0);
    Some(ServerConfig {
        listeners: listeners?,
        connections_max: limit(settings.connections_max).and_then(|max| max.try_into().ok()),
        connections_per_client: limit(settings.connections_per_client),
        requests_per_connection: limit(settings.requests_per_connection),
        header_size: settings.header_size.0.try_into().unwrap_or(usize::MAX),
        http2_streams_per_second: limit(settings.http2_streams_per_second),
        http2_resets_max: limit(settings.http2_resets_max),
        client_address: client_address?,
        own: own?,
        threads: match settings.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get),
            threads => threads.into(),
        },
        fill_memory: settings.fill_memory.0,
        response_memory: settings.response_memory.0,
        notsent_lowat: socket_bytes(settings.notsent_lowat),
        socket_memory: settings.socket_memory.0,
        header_timeout: settings.header_timeout.0,
        send_timeout: Some(settings.send_timeout.0).filter(|limit| !limit.is_zero()),
        send_rate_min: settings.send_rate_min.0,
        drain: settings.drain.0,
        shutdown_grace: settings.shutdown_grace.0,
        warm_restart: WarmRestart {
            rate: settings.warm_restart.rate,
            file: settings.warm_restart.file.as_ref().map(Into::into),
            objects_max: settings.warm_restart.objects_max,
        },
    })
}

fn log(settings: &LogSettings, complain: ErrorSink<'_>) -> Option<LogConfig> {
    let output = Destination::named(&settings.output);
    let access_output = settings.access_output.as_deref().map_or_else(|| output.clone(), Destination::named);
    let format = settings.access_format.as_deref().map(Format::parse).transpose();
    match format {
        Ok(format) => Some(LogConfig { output, access_output, access_format: format.map(Arc::new) }),
        Err(message) => {
            complain("log.access_format", &message);
            None
        }
    }
}

fn client_address(settings: &ClientAddressSettings, complain: ErrorSink<'_>) -> Option<ClientAddress> {
    let (mut trusted, mut good) = (Vec::new(), true);
    for (index, text) in settings.trusted.iter().enumerate() {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        if let Ok(network) = network {
            trusted.push(network);
        } else {
            let message = format!("expected an IP address, or a network as `10.0.0.0/8`; found `{text}`");
            complain(&format!("server.client_address.trusted[{index}]"), &message);
            good = false;
        }
    }
    let from = settings.from.0;
    match (from, settings.trusted.is_empty()) {
        (AddressSource::Connection, false) => {
            let message = "has no effect: set `from` to what the proxies write, or leave it out";
            complain("server.client_address.trusted", message);
            good = false;
        }
        (AddressSource::XForwardedFor | AddressSource::Forwarded | AddressSource::ProxyProtocol, true) => {
            let message = "expected the addresses of the proxies: anybody could claim any address otherwise";
            complain("server.client_address.trusted", message);
            good = false;
        }
        _ => {}
    }
    good.then_some(ClientAddress { from, trusted })
}

/// Returns the size of a socket buffer, or `None` if the operating system decides. The bounds of the key have been
/// checked.
fn socket_bytes<T: TryFrom<u64>>(size: ByteSize) -> Option<T> {
    if size.0 == 0 { None } else { T::try_from(size.0).ok() }
}

fn admin(
    settings: &AdminSettings,
    environment: &Environment,
    complain: ErrorSink<'_>,
) -> Option<AdminConfig> {
    let address = address(&settings.address, "admin.address", complain)?;
    let socket = match settings.socket.as_ref() {
        Some(path) if !Path::new(path).is_absolute() => {
            let message = format!("expected an absolute path such as \"{ADMIN_SOCKET}\", found `{path}`");
            complain("admin.socket", &message);
            return None;
        }
        path => path.map(|path| ListenAddress::Unix(path.into())),
    };
    let given = settings.token.as_ref().map(Secret::expose);
    let token = given.or_else(|| environment.get(ADMIN_TOKEN));
    let token = token.map(trimmed).transpose().and_then(|token| {
        let token = token.filter(|token| !token.is_empty());
        token.as_deref().map_or(Ok(()), check_field_value).map(|()| token)
    });
    let token = match token {
        Ok(token) => token,
        Err(message) => {
            let of_variable = || format!("the variable {ADMIN_TOKEN}: {message}");
            complain("admin.token", &given.map_or_else(of_variable, |_| message.clone()));
            return None;
        }
    };
    if token.is_none() && !address.ip().is_loopback() {
        complain(
            "admin.token",
            "expected a token, because `admin.address` is not loopback: set it, or YATAGARASU_ADMIN_TOKEN",
        );
        return None;
    }
    let prices = prices(&settings.prices, complain)?;
    Some(AdminConfig { address, socket, token: token.map(Secret::new), prices })
}

fn events(
    settings: &EventSettings,
    admin: Option<&AdminConfig>,
    complain: ErrorSink<'_>,
) -> Option<EventConfig> {
    let token = settings.token.as_ref().map(Secret::expose).map(trimmed).transpose().and_then(|token| {
        let token = token.filter(|token| !token.is_empty());
        token.as_deref().map_or(Ok(()), check_field_value).map(|()| token)
    });
    let message = match &token {
        Ok(Some(token))
            if admin.and_then(|admin| admin.token.as_ref()).is_some_and(|one| one.expose() == token) =>
        {
            "is `admin.token` too: a store needs one that allows nothing but notifications"
        }
        Ok(_) => {
            let sqs = queue(&settings.sqs, complain)?;
            return Some(EventConfig { token: token.ok().flatten().map(Secret::new), sqs });
        }
        Err(message) => message,
    };
    complain("events.token", message);
    None
}

/// Returns the queue that notifications are read from, if there is one.
#[expect(clippy::option_option, reason = "there is an error, or none; and then there is a queue, or none")]
fn queue(settings: &SqsSettings, complain: ErrorSink<'_>) -> Option<Option<QueueConfig>> {
    let SqsSettings { url, region, access_key, secret_key } = settings;
    let region = bucket::region(region.as_deref(), "events.sqs", complain)?;
    let access = bucket::access(false, [access_key, secret_key, &None], "events.sqs", complain)?;
    let Some(url) = url else {
        let is_set = region.is_some() || access != Access::Chain;
        if is_set {
            complain("events.sqs.url", "expected the URL of the queue that the other keys are for");
        }
        return (!is_set).then_some(None);
    };
    if !is_url(url) {
        let message = "expected a URL such as \"https://sqs.eu-central-1.amazonaws.com/123456789012/gateway-1\", without a user";
        complain("events.sqs.url", message);
        return None;
    }
    Some(Some(QueueConfig { url: url.clone(), region, access }))
}

/// Returns `true` for a URL of HTTP without a user, whose password would be shown.
fn is_url(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    })
}

fn tracing(settings: &TracingSettings, complain: ErrorSink<'_>) -> Option<TracingConfig> {
    let TracingSettings { endpoint, ratio, parent, service } = settings;
    if let Some(url) = endpoint {
        let message = if !cfg!(feature = "otel") {
            "requests are not traced by this build: build with `--features otel`"
        } else if !is_url(url) {
            "expected a URL such as \"http://127.0.0.1:4318\", without a user"
        } else {
            ""
        };
        if !message.is_empty() {
            complain("tracing.endpoint", message);
            return None;
        }
    }
    if !(0.0..=1.0).contains(&ratio.0) {
        complain("tracing.ratio", &format!("expected a number from 0 to 1, found {}", ratio.0));
        return None;
    }
    if service.is_empty() {
        complain("tracing.service", "expected a name");
        return None;
    }
    Some(TracingConfig {
        endpoint: endpoint.clone(),
        ratio: ratio.0,
        parent: parent.0,
        service: service.clone(),
    })
}

fn prices(settings: &PriceSettings, complain: ErrorSink<'_>) -> Option<Prices> {
    let currency = settings.currency.clone();
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        complain("admin.prices.currency", "expected three capital letters as in ISO 4217, such as EUR");
        return None;
    }
    let (million_requests, gigabyte) = (settings.million_requests.0, settings.gigabyte.0);
    Some(Prices { million_requests, gigabyte, currency })
}

/// Returns `true` if two addresses are the same, or one is a part of the other.
fn overlap(first: SocketAddr, second: SocketAddr) -> bool {
    // `[::]` takes the clients of IPv4 as well.
    let covers =
        |one: SocketAddr, other: SocketAddr| one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4());
    let is_part = first == second || covers(first, second) || covers(second, first);
    first.port() == second.port() && first.port() != 0 && is_part
}

fn address(given: &Address, key: &str, complain: ErrorSink<'_>) -> Option<SocketAddr> {
    let Address(text) = given;
    let numeric = text.strip_prefix("localhost:").map_or(text.clone(), |port| format!("127.0.0.1:{port}"));
    let parsed = numeric.parse().ok();
    if parsed.is_none() {
        complain(
            key,
            &format!("expected `IP:PORT` such as \"0.0.0.0:8080\" or \"[::]:8080\", found `{text}`"),
        );
    }
    parsed
}
