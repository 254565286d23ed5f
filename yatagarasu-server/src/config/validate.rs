//! Validates the settings as written, and fills in the defaults.

mod bucket;
mod cache;
mod forward;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::time::Duration;

use crate::config::raw::{AdminSettings, ServerSettings, Settings};
use crate::config::text::{check_field_value, trimmed};
use crate::config::units::{ByteSize, Span, write_size, write_span};
use crate::config::{AdminConfig, Config, Environment, Secret, ServerConfig};

/// Default of `server.fill_memory`, in bytes.
const FILL_MEMORY: u64 = 256_000_000;

/// Default of `server.notsent_lowat`, in bytes.
const NOTSENT_LOWAT: u64 = 128 << 10;

/// Default of `server.socket_memory`, in bytes: enough for 16 fast streams.
const SOCKET_MEMORY: u64 = 128 << 20;

/// Minimum size of a socket buffer, in bytes: with less than a few packets a stream crawls.
const SOCKET_BYTES_MIN: u64 = 4 << 10;

/// Exclusive upper bound for a socket buffer, in bytes: operating systems take a C `int`.
const SOCKET_BYTES_END: u64 = 1 << 31;

/// Minimum time limit. A smaller value is a mistaken unit, or a `0` that means "none" for other keys, and breaks
/// requests.
const TIMEOUT_MIN: Duration = Duration::from_millis(10);

/// A callback that takes a key and a message about its value.
pub(super) type ErrorSink<'a> = &'a mut dyn FnMut(&str, &str);

/// Validates the settings as a whole. Returns `None` after it has reported every error to `complain`.
pub(super) fn validate(
    settings: Settings,
    environment: &Environment,
    complain: ErrorSink<'_>,
) -> Option<Config> {
    let server = server(&settings.server, complain);
    let admin = admin(settings.admin, environment, complain);
    if let (Some(server), Some(admin)) = (&server, &admin)
        && server.address == admin.address
        && server.address.port() != 0
    {
        complain("admin.address", "is the public address too: give the admin API one of its own");
    }
    if settings.buckets.is_empty() {
        complain("buckets", "expected at least one bucket with `name` and `path_prefix`");
    }
    // Compares names and prefixes as written, so that duplicates are found even if a bucket has another error.
    let named = settings.buckets.iter().map(|bucket| bucket.name.clone());
    unique(named, "name", complain);
    let prefixes = settings.buckets.iter().map(|bucket| bucket.path_prefix.as_deref());
    let prefixes =
        prefixes.map(|prefix| prefix.filter(|prefix| prefix.starts_with('/')).map(bucket::one_form));
    unique(prefixes, "path_prefix", complain);
    let mut buckets = Vec::new();
    for (index, bucket) in settings.buckets.into_iter().enumerate() {
        buckets.push(bucket::bucket(bucket, &format!("buckets[{index}]"), complain));
    }
    Some(Config { server: server?, admin: admin?, buckets: buckets.into_iter().collect::<Option<_>>()? })
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
    let threads = match settings.threads {
        None | Some(0) => std::thread::available_parallelism().map_or(1, NonZero::get),
        Some(threads) => threads.into(),
    };
    let address = address(settings.address.as_deref(), "127.0.0.1:8080", "server.address", complain);
    let notsent_lowat = socket_bytes(settings.notsent_lowat, NOTSENT_LOWAT, "server.notsent_lowat", complain);
    let header_timeout = timeout(settings.header_timeout, 60, "server.header_timeout", complain);
    let send_timeout = match settings.send_timeout {
        Some(Span(Duration::ZERO)) => Some(None),
        given => timeout(given, 60, "server.send_timeout", complain).map(Some),
    };
    Some(ServerConfig {
        address: address?,
        threads,
        fill_memory: settings.fill_memory.map_or(FILL_MEMORY, |size| size.0),
        notsent_lowat: notsent_lowat?,
        socket_memory: settings.socket_memory.map_or(SOCKET_MEMORY, |size| size.0),
        header_timeout: header_timeout?,
        send_timeout: send_timeout?,
        shutdown_grace: settings.shutdown_grace.map_or(Duration::from_secs(30), |span| span.0),
    })
}

/// Validates the size of a socket buffer. Returns `None` on an error and `Some(None)` if the operating system
/// decides.
#[expect(clippy::option_option, reason = "wrong, left to the system and given are three things")]
fn socket_bytes<T: TryFrom<u64>>(
    given: Option<ByteSize>,
    default: u64,
    key: &str,
    complain: ErrorSink<'_>,
) -> Option<Option<T>> {
    let bytes = given.map_or(default, |size| size.0);
    if bytes == 0 {
        return Some(None);
    }
    let sensible = (SOCKET_BYTES_MIN..SOCKET_BYTES_END).contains(&bytes);
    let checked = if sensible { T::try_from(bytes).ok() } else { None };
    if checked.is_none() {
        let [least, end, found] = [SOCKET_BYTES_MIN, SOCKET_BYTES_END, bytes].map(write_size);
        complain(
            key,
            &format!("expected {least} to less than {end}, or 0 to leave it to the system; found {found}"),
        );
    }
    checked.map(Some)
}

/// Validates a time limit; `default` is in seconds. Returns `None` on an error.
fn timeout(given: Option<Span>, default: u64, key: &str, complain: ErrorSink<'_>) -> Option<Duration> {
    let limit = given.map_or(Duration::from_secs(default), |span| span.0);
    if limit < TIMEOUT_MIN {
        let [least, found] = [TIMEOUT_MIN, limit].map(write_span);
        complain(
            key,
            &format!(
                "expected {least} or more, found {found}: nothing would be done in time; the default is {default}s"
            ),
        );
    }
    (limit >= TIMEOUT_MIN).then_some(limit)
}

fn admin(settings: AdminSettings, environment: &Environment, complain: ErrorSink<'_>) -> Option<AdminConfig> {
    let address = address(settings.address.as_deref(), "127.0.0.1:9090", "admin.address", complain)?;
    let token = settings.token.or_else(|| environment.get("YATAGARASU_ADMIN_TOKEN").map(str::to_owned));
    let token = token.as_deref().map(trimmed).transpose().and_then(|token| {
        let token = token.filter(|token| !token.is_empty());
        token.as_deref().map_or(Ok(()), check_field_value).map(|()| token)
    });
    let token = match token {
        Ok(token) => token,
        Err(message) => {
            complain("admin.token", &message);
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
    Some(AdminConfig { address, token: token.map(Secret::new) })
}

fn address(given: Option<&str>, default: &str, key: &str, complain: ErrorSink<'_>) -> Option<SocketAddr> {
    let text = given.unwrap_or(default);
    let numeric = text.strip_prefix("localhost:").map_or(text.to_owned(), |port| format!("127.0.0.1:{port}"));
    let parsed = numeric.parse().ok();
    if parsed.is_none() {
        complain(
            key,
            &format!("expected `IP:PORT` such as \"0.0.0.0:8080\" or \"[::]:8080\", found `{text}`"),
        );
    }
    parsed
}
