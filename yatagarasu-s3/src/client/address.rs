//! Builds request URIs from a bucket and a key.

use std::borrow::Cow;

use http::Uri;
use http::uri::InvalidUri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use yatagarasu_core::ObjectKey;

use crate::client::arn::{AccessPoint, ArnError};
use crate::client::partition::dns_suffix;
use crate::config::{Addressing, AwsEndpoint, SourceConfig};

/// The bytes of a key that are percent-encoded. S3 encodes exactly these when it computes a signature, so the URI
/// must encode the same ones, or the signatures differ.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The base address of one bucket, and the scope of its signatures.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// `scheme://authority`, the path of the endpoint, and with path-style addressing `/bucket`.
    base: String,
    bucket: String,
    region: String,
    /// The service in the scope of a signature.
    service: &'static str,
    /// What is needed to build the address for another region, unless the configuration names one.
    movable: Option<Box<SourceConfig>>,
}

/// An endpoint or bucket that cannot be addressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The endpoint is not the address of a server.
    #[error("the endpoint `{0}` is not `http://HOST[:PORT][/PATH]` or `https://HOST[:PORT][/PATH]`")]
    Endpoint(String),
    /// The bucket's name cannot be part of a URI.
    #[error(
        "the bucket `{0}` cannot be addressed: use letters, digits, `-`, `_` and single `.` between them, or the ARN of \
         an access point"
    )]
    Bucket(String),
    /// The ARN cannot be used.
    #[error(transparent)]
    Arn(#[from] ArnError),
    /// `dualstack`, `fips` and `accelerate` are properties of AWS.
    #[error("`{0}` is for AWS: leave out the endpoint, or write it into the endpoint's host")]
    Variant(&'static str),
    /// Transfer acceleration has a host of its own.
    #[error("`accelerate` needs a bucket's name without dots, and neither `path_style` nor `fips`")]
    Accelerate,
}

impl AddressError {
    /// Returns the configuration key that is wrong.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Bucket(_) | Self::Arn(_) => "bucket",
            Self::Endpoint(_) => "endpoint",
            Self::Variant(key) => key,
            Self::Accelerate => "accelerate",
        }
    }
}

impl Address {
    /// Returns the address of the configured bucket. `region` is the one to sign for, and to reach AWS in.
    pub(crate) fn new(config: &SourceConfig, region: &str) -> Result<Self, AddressError> {
        let movable = config.region.is_none().then(|| Box::new(config.clone()));
        if config.bucket.starts_with("arn:") {
            return Self::access_point(config);
        }
        let bucket = valid_bucket(&config.bucket)?.to_owned();
        let (base, region) = match &config.endpoint {
            Some(endpoint) => {
                not_for_an_endpoint(config.aws)?;
                (Endpoint::parse(endpoint)?.base(&bucket, config.addressing), region)
            }
            None => (aws_base(config, &bucket, region)?, region),
        };
        base.parse::<Uri>().map_err(|_| AddressError::Bucket(bucket.clone()))?;
        Ok(Self { base, bucket, region: region.to_owned(), service: "s3", movable })
    }

    fn access_point(config: &SourceConfig) -> Result<Self, AddressError> {
        let point = AccessPoint::parse(&config.bucket)?;
        if config.aws.accelerate {
            return Err(AddressError::Accelerate);
        }
        let base = match &config.endpoint {
            Some(endpoint) => {
                not_for_an_endpoint(config.aws)?;
                Endpoint::parse(endpoint)?.base(&point.label(), Addressing::VirtualHost)
            }
            None => format!("https://{}", point.host(config.aws)),
        };
        let (bucket, service) = (config.bucket.clone(), point.service());
        Ok(Self { base, bucket, region: point.region, service, movable: None })
    }

    /// Returns the same bucket's address in another region, or `None` if the configuration names the region.
    pub(crate) fn in_region(&self, region: &str) -> Option<Self> {
        Self::new(self.movable.as_deref()?, region).ok()
    }

    /// Returns the address that a redirect to `location` leads to, if it is a host of the same service.
    pub(crate) fn redirected(&self, location: &str) -> Option<Self> {
        let to: Uri = location.parse().ok()?;
        let from: Uri = self.base.parse().ok()?;
        let (to_host, from_host) = (to.host()?.to_ascii_lowercase(), from.host()?.to_ascii_lowercase());
        let service = |host: &str| {
            let mut suffixes = [".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"].into_iter();
            suffixes.find(|suffix| host.ends_with(suffix))
        };
        let aws = service(&from_host).is_some() && service(&from_host) == service(&to_host);
        let related = to_host == from_host
            || to_host.ends_with(&format!(".{from_host}"))
            || from_host.ends_with(&format!(".{to_host}"));
        if to.scheme() != from.scheme() || to.authority()?.as_str().contains('@') || !(aws || related) {
            return None;
        }
        let authority = to.authority()?;
        // The bucket is in the host, or in the path as before.
        let path = if to_host.starts_with(&format!("{}.", self.bucket)) { "" } else { from.path() };
        let base = format!("{}://{authority}{}", to.scheme_str()?, path.trim_end_matches('/'));
        Some(Self { base, ..self.clone() })
    }

    /// Returns `true` if requests use TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.base.starts_with("https://")
    }

    /// Returns the region that requests are signed for.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// Returns the service that requests are signed for.
    pub(crate) fn service(&self) -> &'static str {
        self.service
    }

    /// Returns the URI of an object. `key` and `query` are percent-encoded.
    pub(crate) fn locate(&self, key: &str, query: Option<&str>) -> Result<Uri, InvalidUri> {
        let mut url = String::with_capacity(self.base.len() + key.len() + query.map_or(0, str::len) + 2);
        let (mark, query) = query.map_or(("", ""), |query| ("?", query));
        for part in [&self.base, "/", key, mark, query] {
            url.push_str(part);
        }
        // The URL takes the memory over.
        Uri::try_from(url)
    }
}

/// The URL of an S3-compatible server.
struct Endpoint {
    scheme: String,
    authority: String,
    /// The path before the bucket, without a slash at its end.
    path: String,
}

impl Endpoint {
    fn parse(endpoint: &str) -> Result<Self, AddressError> {
        let unusable = || {
            // The part before an `@` may be a secret, so the message must not contain it.
            let shown =
                endpoint.rsplit_once('@').map_or(endpoint.to_owned(), |(_, host)| format!("***@{host}"));
            AddressError::Endpoint(shown)
        };
        let uri: Uri = endpoint.parse().map_err(|_| unusable())?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(unusable());
        };
        let port = authority.as_str().rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let plain =
            !uri.path().contains("//") && !uri.path().split('/').any(|part| matches!(part, "." | ".."));
        if (port && authority.port_u16().is_none())
            || !plain
            || uri.query().is_some()
            || authority.as_str().contains('@')
        {
            return Err(unusable());
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { scheme: scheme.to_owned(), authority: authority.to_string(), path })
    }

    fn base(&self, bucket: &str, addressing: Addressing) -> String {
        let Self { scheme, authority, path } = self;
        match addressing {
            Addressing::Path => format!("{scheme}://{authority}{path}/{bucket}"),
            Addressing::VirtualHost => format!("{scheme}://{bucket}.{authority}{path}"),
        }
    }
}

/// Returns the base address of a bucket on AWS (Amazon Simple Storage Service endpoints and quotas).
fn aws_base(config: &SourceConfig, bucket: &str, region: &str) -> Result<String, AddressError> {
    let (AwsEndpoint { dualstack, fips, accelerate }, suffix) = (config.aws, dns_suffix(region));
    let stack = if dualstack { ".dualstack" } else { "" };
    if accelerate {
        if fips || bucket.contains('.') || config.addressing == Addressing::Path {
            return Err(AddressError::Accelerate);
        }
        return Ok(format!("https://{bucket}.s3-accelerate{stack}.{suffix}"));
    }
    let host = format!("s3{}{stack}.{region}.{suffix}", if fips { "-fips" } else { "" });
    // The certificate of `*.s3.amazonaws.com` covers one label only, so that a name with dots stands in the path.
    let in_path = config.addressing == Addressing::Path || bucket.contains('.');
    Ok(if in_path { format!("https://{host}/{bucket}") } else { format!("https://{bucket}.{host}") })
}

fn not_for_an_endpoint(aws: AwsEndpoint) -> Result<(), AddressError> {
    let AwsEndpoint { dualstack, fips, accelerate } = aws;
    let given = [("dualstack", dualstack), ("fips", fips), ("accelerate", accelerate)];
    match given.into_iter().find(|(_, is_set)| *is_set) {
        Some((key, _)) => Err(AddressError::Variant(key)),
        None => Ok(()),
    }
}

fn valid_bucket(bucket: &str) -> Result<&str, AddressError> {
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let dots = bucket.starts_with('.') || bucket.ends_with('.') || bucket.contains("..");
    if bucket.is_empty() || dots || !bucket.chars().all(usable) {
        return Err(AddressError::Bucket(bucket.to_owned()));
    }
    Ok(bucket)
}

/// Percent-encodes a key once for the path of a URI, as S3 does for the signature.
pub(crate) fn escape(key: &ObjectKey) -> String {
    // Most keys have nothing to encode, and are copied at once.
    Cow::from(utf8_percent_encode(key.as_str(), KEY)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bucket: &str, endpoint: Option<&str>, addressing: Addressing) -> SourceConfig {
        SourceConfig { endpoint: endpoint.map(str::to_owned), addressing, ..SourceConfig::new(bucket) }
    }

    fn base(config: &SourceConfig, region: &str) -> Result<String, AddressError> {
        Address::new(config, region).map(|address| address.base)
    }

    #[track_caller]
    fn check(region: &str, endpoint: Option<&str>, addressing: Addressing, expected: &str) {
        assert_eq!(base(&config("bucket", endpoint, addressing), region).unwrap(), expected);
    }

    #[test]
    fn keys_are_escaped_once() {
        let address = Address::new(&config("b", Some("http://minio"), Addressing::Path), "r").unwrap();
        let key = escape(&ObjectKey::parse("a b/\u{e9}+%?#'(x)").unwrap());
        let expected = "http://minio/b/a%20b/%C3%A9%2B%25%3F%23%27%28x%29";
        assert_eq!(address.locate(&key, None).unwrap(), expected);
        assert_eq!(address.locate("k", Some("a=b")).unwrap(), "http://minio/b/k?a=b");
    }

    #[test]
    fn buckets_stand_in_the_path_or_in_the_host() {
        use Addressing::{Path, VirtualHost};
        check("eu-west-1", None, VirtualHost, "https://bucket.s3.eu-west-1.amazonaws.com");
        check("eu-west-1", None, Path, "https://s3.eu-west-1.amazonaws.com/bucket");
        check("cn-north-1", None, Path, "https://s3.cn-north-1.amazonaws.com.cn/bucket");
        check("us-gov-west-1", None, VirtualHost, "https://bucket.s3.us-gov-west-1.amazonaws.com");
        check("us-iso-east-1", None, VirtualHost, "https://bucket.s3.us-iso-east-1.c2s.ic.gov");
        check("x", Some("http://127.0.0.1:9000"), Path, "http://127.0.0.1:9000/bucket");
        check("x", Some("HTTP://minio"), Path, "http://minio/bucket");
        check("x", Some("http://minio:9000/"), VirtualHost, "http://bucket.minio:9000");
        let dotted = config("my.bucket", None, VirtualHost);
        assert_eq!(base(&dotted, "r-1").unwrap(), "https://s3.r-1.amazonaws.com/my.bucket");
    }

    #[test]
    fn an_endpoint_may_have_a_path() {
        use Addressing::{Path, VirtualHost};
        check("x", Some("https://x.example/storage/v1/s3"), Path, "https://x.example/storage/v1/s3/bucket");
        check("x", Some("https://x.example/s3/"), Path, "https://x.example/s3/bucket");
        check("x", Some("https://x.example/s3/"), VirtualHost, "https://bucket.x.example/s3");
    }

    #[test]
    fn aws_has_variants_of_its_endpoints() {
        let check = |aws: AwsEndpoint, expected: Result<&str, AddressError>| {
            let config = SourceConfig { aws, ..config("bucket", None, Addressing::VirtualHost) };
            assert_eq!(base(&config, "us-east-2"), expected.map(str::to_owned), "{aws:?}");
        };
        let none = AwsEndpoint::default();
        check(
            AwsEndpoint { dualstack: true, ..none },
            Ok("https://bucket.s3.dualstack.us-east-2.amazonaws.com"),
        );
        check(AwsEndpoint { fips: true, ..none }, Ok("https://bucket.s3-fips.us-east-2.amazonaws.com"));
        let both = AwsEndpoint { fips: true, dualstack: true, ..none };
        check(both, Ok("https://bucket.s3-fips.dualstack.us-east-2.amazonaws.com"));
        check(AwsEndpoint { accelerate: true, ..none }, Ok("https://bucket.s3-accelerate.amazonaws.com"));
        check(
            AwsEndpoint { accelerate: true, dualstack: true, ..none },
            Ok("https://bucket.s3-accelerate.dualstack.amazonaws.com"),
        );
        check(AwsEndpoint { accelerate: true, fips: true, ..none }, Err(AddressError::Accelerate));
        let fips = AwsEndpoint { fips: true, ..none };
        let own = SourceConfig { aws: fips, ..config("bucket", Some("http://minio"), Addressing::Path) };
        assert_eq!(base(&own, "r").unwrap_err(), AddressError::Variant("fips"));
    }

    #[test]
    fn an_arn_leads_to_its_access_point() {
        let arn = "arn:aws:s3:us-west-2:123456789012:accesspoint/media";
        let address = Address::new(&config(arn, None, Addressing::VirtualHost), "eu-west-1").unwrap();
        assert_eq!(address.base, "https://media-123456789012.s3-accesspoint.us-west-2.amazonaws.com");
        assert_eq!((address.region(), address.service()), ("us-west-2", "s3"));
        let local = Address::new(&config(arn, Some("http://localhost:9000"), Addressing::Path), "x").unwrap();
        assert_eq!(local.base, "http://media-123456789012.localhost:9000");
        let alias = "media-abcdefghijklmnopqrstuvwxyz012345-s3alias";
        let address = Address::new(&config(alias, None, Addressing::VirtualHost), "us-west-2").unwrap();
        assert_eq!(address.base, format!("https://{alias}.s3.us-west-2.amazonaws.com"));
    }

    #[test]
    fn another_region_is_taken_where_none_is_configured() {
        let open = Address::new(&config("bucket", None, Addressing::VirtualHost), "us-east-1").unwrap();
        let moved = open.in_region("eu-west-1").unwrap();
        assert_eq!(moved.base, "https://bucket.s3.eu-west-1.amazonaws.com");
        assert_eq!(moved.region(), "eu-west-1");
        let set =
            SourceConfig { region: Some("us-east-1".to_owned()), ..config("bucket", None, Addressing::Path) };
        assert!(Address::new(&set, "us-east-1").unwrap().in_region("eu-west-1").is_none());
    }

    #[test]
    fn redirects_stay_within_the_service() {
        let virtual_host =
            Address::new(&config("bucket", None, Addressing::VirtualHost), "us-east-1").unwrap();
        let path = Address::new(&config("bucket", Some("http://minio:9000"), Addressing::Path), "r").unwrap();
        let check = |from: &Address, location: &str, expected: Option<&str>| {
            let moved = from.redirected(location);
            assert_eq!(moved.as_ref().map(|moved| &*moved.base), expected, "{location}");
        };
        let west = "https://bucket.s3-us-west-2.amazonaws.com";
        check(&virtual_host, &format!("{west}/k?x=y"), Some(west));
        check(&virtual_host, "https://evil.example/k", None);
        check(&virtual_host, "https://amazonaws.com.evil.example/k", None);
        check(&virtual_host, "http://bucket.s3-us-west-2.amazonaws.com/k", None);
        check(&virtual_host, "https://a@bucket.s3-us-west-2.amazonaws.com/k", None);
        check(&virtual_host, "/k", None);
        check(&path, "http://minio:9001/bucket/k", Some("http://minio:9001/bucket"));
        check(&path, "http://node2.minio:9000/bucket/k", Some("http://node2.minio:9000/bucket"));
        check(&path, "http://bucket.minio:9000/k", Some("http://bucket.minio:9000"));
        check(&path, "http://other:9000/bucket/k", None);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for endpoint in [
            "127.0.0.1:9000",
            "ftp://a",
            "http://h:99999",
            "http://h:",
            "http://a//path",
            "http://a/../path",
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
