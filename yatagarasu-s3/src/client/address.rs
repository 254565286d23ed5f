//! Builds request URIs from a bucket and a key.

use http::Uri;
use http::uri::InvalidUri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use yatagarasu_core::ObjectKey;

use crate::config::{Addressing, SourceConfig};

/// The bytes of a key that are percent-encoded. S3 encodes exactly these when it computes a signature, so the URI
/// must encode the same ones, or the signatures differ.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The base address of one bucket.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// `scheme://authority`, and with path-style addressing `/bucket`.
    base: String,
}

/// An endpoint or bucket that cannot be addressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The endpoint is not the address of a server.
    #[error("the endpoint `{0}` is not `http://HOST[:PORT]` or `https://HOST[:PORT]`")]
    Endpoint(String),
    /// The bucket's name cannot be part of a URI.
    #[error(
        "the bucket `{0}` cannot be addressed: use letters, digits, `-`, `_` and single `.` between them"
    )]
    Bucket(String),
}

impl AddressError {
    /// Returns `true` if the bucket's name is invalid, and `false` if the endpoint is.
    pub fn is_bucket(&self) -> bool {
        match self {
            Self::Bucket(_) => true,
            Self::Endpoint(_) => false,
        }
    }
}

impl Address {
    /// Returns the address of the configured bucket. `region` is used if no endpoint is configured.
    pub(crate) fn new(config: &SourceConfig, region: &str) -> Result<Self, AddressError> {
        let endpoint = match &config.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!(
                "https://s3.{region}.{}",
                if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
            ),
        };
        let unusable = || {
            // The part before an `@` may be a secret, so the message must not contain it.
            let shown = endpoint.rsplit_once('@').map_or(endpoint.clone(), |(_, host)| format!("***@{host}"));
            AddressError::Endpoint(shown)
        };
        let uri: Uri = endpoint.parse().map_err(|_| unusable())?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(unusable());
        };
        let port = authority.as_str().rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        if port && authority.port_u16().is_none() {
            return Err(unusable());
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(unusable());
        }
        let bucket = &config.bucket;
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let dots = bucket.starts_with('.') || bucket.ends_with('.') || bucket.contains("..");
        if bucket.is_empty() || dots || !bucket.chars().all(usable) {
            return Err(AddressError::Bucket(bucket.clone()));
        }
        let base = match config.addressing {
            Addressing::Path => format!("{scheme}://{authority}/{bucket}"),
            Addressing::VirtualHost => format!("{scheme}://{bucket}.{authority}"),
        };
        base.parse::<Uri>().map_err(|_| AddressError::Bucket(bucket.clone()))?;
        Ok(Self { base })
    }

    /// Returns `true` if requests use TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.base.starts_with("https://")
    }

    /// Returns the URI of an object. `key` and `query` are percent-encoded.
    pub(crate) fn locate(&self, key: &str, query: Option<&str>) -> Result<Uri, InvalidUri> {
        let (mark, query) = query.map_or(("", ""), |query| ("?", query));
        format!("{}/{key}{mark}{query}", self.base).parse()
    }
}

/// Percent-encodes a key once for the path of a URI, as S3 does for the signature.
pub(crate) fn escape(key: &ObjectKey) -> String {
    utf8_percent_encode(key.as_str(), KEY).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Access, SourceBackend};

    fn config(bucket: &str, endpoint: Option<&str>, addressing: Addressing) -> SourceConfig {
        SourceConfig {
            backend: SourceBackend::Native,
            bucket: bucket.to_owned(),
            region: None,
            endpoint: endpoint.map(str::to_owned),
            addressing,
            access: Access::Anonymous,
            connect_timeout: Duration::from_secs(1),
            receive_buffer: None,
        }
    }

    #[track_caller]
    fn check(region: &str, endpoint: Option<&str>, addressing: Addressing, expected: &str) {
        let address = Address::new(&config("my.bucket", endpoint, addressing), region).unwrap();
        let key = escape(&ObjectKey::parse("a b/\u{e9}+%?#'(x)").unwrap());
        assert_eq!(address.locate(&key, None).unwrap(), expected);
    }

    const KEY: &str = "/a%20b/%C3%A9%2B%25%3F%23%27%28x%29";

    #[test]
    fn buckets_stand_in_the_path_or_in_the_host() {
        use Addressing::{Path, VirtualHost};
        check("eu-west-1", None, VirtualHost, &format!("https://my.bucket.s3.eu-west-1.amazonaws.com{KEY}"));
        check("eu-west-1", None, Path, &format!("https://s3.eu-west-1.amazonaws.com/my.bucket{KEY}"));
        check("cn-north-1", None, Path, &format!("https://s3.cn-north-1.amazonaws.com.cn/my.bucket{KEY}"));
        check("x", Some("http://127.0.0.1:9000"), Path, &format!("http://127.0.0.1:9000/my.bucket{KEY}"));
        check("x", Some("HTTP://minio"), Path, &format!("http://minio/my.bucket{KEY}"));
        check("x", Some("http://minio:9000/"), VirtualHost, &format!("http://my.bucket.minio:9000{KEY}"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for endpoint in [
            "127.0.0.1:9000",
            "ftp://a",
            "http://h:99999",
            "http://h:",
            "http://a/path",
            "http://a?x",
            "http://",
        ] {
            let refused = Address::new(&config("b", Some(endpoint), Addressing::Path), "r");
            assert_eq!(refused.unwrap_err(), AddressError::Endpoint(endpoint.to_owned()));
        }
        let secret = Address::new(&config("b", Some("http://user:secret@host"), Addressing::Path), "r");
        assert_eq!(secret.unwrap_err(), AddressError::Endpoint("***@host".to_owned()));
        for bucket in ["", "a/b", "a b", "a?b", "\u{e9}", "..", ".a", "a."] {
            let refused = Address::new(&config(bucket, None, Addressing::Path), "r");
            assert_eq!(refused.unwrap_err(), AddressError::Bucket(bucket.to_owned()));
        }
    }
}
