//! Values that are one of several names.

use http::StatusCode;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};
use yatagarasu_cache::{CacheBackend, EvictionPolicy};
use yatagarasu_core::{ClientControl, ObjectControl};
use yatagarasu_s3::{AccessDenied, SourceBackend};

use crate::service::client_address::AddressSource;
use crate::service::listing::ListingFormat;
use crate::tls::TlsVersion;

/// An enum whose variants have names in a configuration.
pub(in crate::config) trait Named: Sized + Copy {
    /// The names of all variants.
    const NAMES: &'static [&'static str];

    /// Returns the variant called `name`.
    fn named(name: &str) -> Option<Self>;

    /// Returns the name of the variant.
    fn name(self) -> &'static str;
}

/// Names all variants of an enum. A new variant does not compile before it has a name.
macro_rules! names {
    ($($enum:ident { $($variant:ident = $name:literal),+ })+) => {$(
        impl Named for $enum {
            const NAMES: &'static [&'static str] = &[$($name),+];

            fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    )+};
}

names! {
    SourceBackend { Native = "native", Rusoto = "rusoto" }
    CacheBackend { Foyer = "foyer" }
    EvictionPolicy { S3Fifo = "s3fifo", Lfu = "lfu", Lru = "lru", Sieve = "sieve" }
    ObjectControl { Respect = "respect", Override = "override", Ignore = "ignore" }
    AccessDenied { Forbidden = "forbidden", NotFound = "not_found" }
    CorsMode { Pass = "pass", Off = "off" }
    AddressSource {
        Connection = "connection", XForwardedFor = "x-forwarded-for", Forwarded = "forwarded",
        ProxyProtocol = "proxy_protocol"
    }
    ListingFormat { Off = "off", Html = "html", Json = "json" }
    RewriteStatus {
        Inside = "none", MovedPermanently = "301", Found = "302", SeeOther = "303", TemporaryRedirect = "307",
        PermanentRedirect = "308"
    }
    TlsVersion { V1_2 = "1.2", V1_3 = "1.3" }
    ClientControl { Respect = "respect", Ignore = "ignore" }
}

/// Who answers pages of other origins, unless a configuration has rules for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum CorsMode {
    /// S3.
    Pass,
    /// Nobody.
    Off,
}

/// Whether a rewritten path is a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum RewriteStatus {
    /// No: the gateway serves the other path.
    Inside,
    MovedPermanently,
    Found,
    SeeOther,
    TemporaryRedirect,
    PermanentRedirect,
}

impl RewriteStatus {
    /// Returns the status of the redirect.
    pub(in crate::config) fn code(self) -> Option<StatusCode> {
        self.name().parse().ok()
    }

    /// Returns the choice for the status of a redirect.
    pub(in crate::config) fn of(status: Option<StatusCode>) -> Self {
        status.and_then(|status| Self::named(status.as_str())).unwrap_or(Self::Inside)
    }
}

/// The value of a key that takes one of several names.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Choice<T>(pub(in crate::config) T);

impl<'de, T: Named> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut name = String::deserialize(deserializer)?;
        // YAML reads an unquoted `off` as a boolean.
        if name == "false" && T::NAMES.contains(&"off") {
            "off".clone_into(&mut name);
        }
        let unknown = || D::Error::custom(format!("expected {}, found `{name}`", alternatives(T::NAMES)));
        T::named(&name).map(Self).ok_or_else(unknown)
    }
}

impl<T: Named> Serialize for Choice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

/// Returns the names as words: `` `a`, `b` or `c` ``.
pub(in crate::config) fn alternatives(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
