//! Validates one bucket: its name, its path prefix, and its connection to S3.

use std::path::PathBuf;
use std::sync::Arc;

use yatagarasu_core::ObjectKey;
use yatagarasu_core::source::failover::FailoverCause;
use yatagarasu_core::source::healing::RetryPolicy;
use yatagarasu_s3::{
    Access, Addressing, AwsEndpoint, BuildError, SourceConfig, StaticCredentials, TlsConfig,
};

use crate::config::error::ErrorSink;
use crate::config::keys::{Again, BucketSettings, FallbackSettings, S3Settings, SiteSettings};
use crate::config::text::check_field_value;
use crate::config::validate::{cache, compression, cors, fields, forward, routing, socket_bytes};
use crate::config::{BucketConfig, FallbackConfig, OriginConfig, Secret};
use crate::service::listing::ListingFormat;
use crate::service::site::{ErrorClass, Site};

/// Validates one bucket. Reports every error to `complain`. Returns `None` if the error leaves no value to go on with.
pub(super) fn bucket(settings: BucketSettings, key: &str, complain: ErrorSink<'_>) -> Option<BucketConfig> {
    let name = settings.name.filter(|name| !name.is_empty());
    if name.is_none() {
        complain(&format!("{key}.name"), "expected the bucket's name");
    }
    let path_prefix = path_prefix(settings.path_prefix.as_deref(), &format!("{key}.path_prefix"), complain);
    let hosts = routing::hosts(&settings.hosts, &format!("{key}.hosts"), complain);
    let key_prefix =
        routing::key_prefix(&settings.key_prefix, hosts.as_deref(), &format!("{key}.key_prefix"), complain);
    let place = (hosts.as_deref(), path_prefix.as_deref());
    let rewrites = routing::rewrites(&settings.rewrite, place, &format!("{key}.rewrite"), complain);
    let site = settings.site.0.as_ref().map(|settings| site(settings, &format!("{key}.site"), complain));
    let s3 = &settings.s3;
    let forward_headers =
        forward::headers(&s3.forward_headers, &format!("{key}.s3.forward_headers"), complain);
    let forward_query = forward::query(&s3.forward_query, &format!("{key}.s3.forward_query"), complain);
    let at_s3 = s3.bucket.as_deref().or(name.as_deref());
    let origin = origin(s3, name.as_deref(), at_s3, &format!("{key}.s3"), complain);
    let fallbacks = settings.fallbacks.0.iter().enumerate().map(|(index, settings)| {
        fallback(settings, name.as_deref(), at_s3, (index, &format!("{key}.fallbacks[{index}]")), complain)
    });
    let fallbacks: Vec<_> = fallbacks.collect();
    let cache = cache::cache(&settings.cache, &format!("{key}.cache"), complain);
    let cors = cors::cors(&settings.cors, &format!("{key}.cors"), complain);
    let section = settings.compression.0.as_ref();
    let precompressed = section.is_some_and(|section| section.precompressed);
    let compression = section.map(|section| {
        compression::compression(section, &format!("{key}.compression"), complain).map(Arc::new)
    });
    let compression = match compression {
        None => Some(None),
        Some(given) => given.map(Some),
    };
    let coded = compression.clone().flatten().map(|compression| Arc::clone(&compression.types));
    let response_fields = fields::response(
        (&settings.hide_headers, &settings.response_headers),
        section.is_some(),
        key,
        complain,
    );
    Some(BucketConfig {
        name: name?,
        hosts: hosts?,
        path_prefix: path_prefix?,
        key_prefix: key_prefix?,
        strip_prefix: settings.strip_prefix,
        rewrites: rewrites?,
        download: settings.download,
        site: match site {
            None => None,
            Some(site) => Some(site?),
        },
        origin: origin?,
        fallbacks: fallbacks.into_iter().collect::<Option<_>>()?,
        forward_headers: forward_headers?,
        forward_query: forward_query?,
        response_fields: Arc::new(cors.as_ref()?.applied_to(response_fields?.coding(coded))),
        compression: compression?,
        precompressed,
        cors: cors?,
        cache,
    })
}

fn site(settings: &SiteSettings, key: &str, complain: ErrorSink<'_>) -> Option<Site> {
    let SiteSettings {
        index,
        clean_urls,
        spa,
        not_found,
        errors,
        listing,
        content_types,
        redirects,
        headers,
    } = settings;
    let is_name = !index.contains('/') && !matches!(index.as_str(), "." | "..");
    if !is_name {
        let message = format!("expected a name without `/` such as \"index.html\", found `{index}`");
        complain(&format!("{key}.index"), &message);
    }
    let mut page = |given: &str, name: &str| {
        let key = format!("{key}.{name}");
        if let Some(rest) = given.strip_prefix('/') {
            let message = format!("expected the key of an object at S3, without `/` at its front: `{rest}`");
            complain(&key, &message);
            return Err(());
        }
        ObjectKey::parse(given)
            .map_err(|error| complain(&key, &format!("expected the key of an object at S3: {error}")))
    };
    let spa = spa.as_deref().map(|given| page(given, "spa")).transpose();
    let not_found = not_found.as_deref().map(|given| page(given, "not_found")).transpose();
    let redirects = redirects.as_deref().map(|given| page(given, "redirects")).transpose();
    let headers = headers.as_deref().map(|given| page(given, "headers")).transpose();
    let errors = errors.0.iter().map(|(status, given)| {
        Some((ErrorClass::parse(status), page(given, &format!("errors.{status}")).ok()?, status))
    });
    let errors: Vec<_> = errors.collect();
    let (mut classes, mut good) = (Vec::new(), true);
    for (class, page, status) in errors.into_iter().collect::<Option<Vec<_>>>()? {
        if let Some(class) = class {
            classes.push((class, page));
            continue;
        }
        let hint = match status.as_str() {
            "404" => "; the page for 404 is `not_found`",
            "412" | "416" => "; those about conditions and ranges are for programs, and have no page",
            _ => "",
        };
        let message = format!("expected a status such as `403`, or `4xx` or `5xx`, found `{status}`{hint}");
        complain(&format!("{key}.errors.{status}"), &message);
        good = false;
    }
    let index = Some(index.clone()).filter(|index| !index.is_empty());
    let (spa, not_found, redirects, headers) = (spa.ok()?, not_found.ok()?, redirects.ok()?, headers.ok()?);
    if index.is_none() && listing.0 != ListingFormat::Off {
        complain(
            &format!("{key}.listing"),
            "needs `index`: it is the name that a page in the place of a list has",
        );
        return None;
    }
    (is_name && good).then_some(Site {
        index,
        clean_urls: *clean_urls,
        spa,
        not_found,
        listing: listing.0,
        content_types: *content_types,
        errors: classes,
        redirects,
        headers,
    })
}

/// Validates a path prefix and returns it in canonical form, so that `/static` and `/static/` compare equal.
fn path_prefix(given: Option<&str>, key: &str, complain: ErrorSink<'_>) -> Option<String> {
    const EXPECTED: &str = "expected a path such as \"/static\", or \"/\" for all paths";
    let Some(given) = given else {
        complain(key, EXPECTED);
        return None;
    };
    let Some(inner) = given.strip_prefix('/') else {
        complain(key, &format!("{EXPECTED}; found `{given}`"));
        return None;
    };
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let plain =
        |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains(['%', '?', '#', '\0']);
    // White space at the end of a text is taken for a mistake, and goes.
    if !inner.is_empty() && (!inner.split('/').all(plain) || inner.ends_with(char::is_whitespace)) {
        let form = "not escaped, without `//`, `.` or `..` segments, and without a space at its end";
        complain(key, &format!("{EXPECTED}, {form}; found `{given}`"));
        return None;
    }
    Some(one_form(given))
}

/// Returns a prefix in canonical form: with a leading slash and without a trailing one.
pub(super) fn one_form(given: &str) -> String {
    let inner = given.strip_prefix('/').unwrap_or(given);
    format!("/{}", inner.strip_suffix('/').unwrap_or(inner))
}

/// Validates a further source. `at_s3` is the name of the bucket at the first one.
fn fallback(
    settings: &FallbackSettings,
    name: Option<&str>,
    at_s3: Option<&str>,
    (index, key): (usize, &str),
    complain: ErrorSink<'_>,
) -> Option<FallbackConfig> {
    let FallbackSettings { when, s3: Again(s3) } = settings;
    let causes = when.iter().enumerate().map(|(index, cause)| match cause.as_str() {
        "unavailable" => Some(FailoverCause::Unavailable),
        "not_found" => Some(FailoverCause::NotFound),
        _ => {
            let message = format!("expected `unavailable` or `not_found`, found `{cause}`");
            complain(&format!("{key}.when[{index}]"), &message);
            None
        }
    });
    let causes: Vec<_> = causes.collect();
    if when.is_empty() {
        complain(&format!("{key}.when"), "is empty: the fallback would never be asked");
    }
    for (name, values) in [("forward_headers", &s3.forward_headers), ("forward_query", &s3.forward_query)] {
        if !values.is_empty() {
            complain(
                &format!("{key}.s3.{name}"),
                "is for all sources of a bucket: set it in the bucket's `s3`",
            );
        }
    }
    let name = name.map(|name| format!("{name} (fallback {})", index + 1));
    let origin = origin(s3, name.as_deref(), at_s3, &format!("{key}.s3"), complain);
    Some(FallbackConfig { when: causes.into_iter().collect::<Option<_>>()?, origin: origin? })
}

fn origin(
    s3: &S3Settings,
    name: Option<&str>,
    at_s3: Option<&str>,
    key: &str,
    complain: ErrorSink<'_>,
) -> Option<OriginConfig> {
    Some(OriginConfig {
        source: source(s3, name, at_s3, key, complain)?,
        response_timeout: s3.response_timeout.0,
        idle_timeout: s3.idle_timeout.0,
        retry: RetryPolicy { attempts: s3.attempts.into(), deadline: s3.deadline.0 },
        hedging: s3.hedging,
    })
}

fn source(
    settings: &S3Settings,
    name: Option<&str>,
    at_s3: Option<&str>,
    key: &str,
    complain: ErrorSink<'_>,
) -> Option<SourceConfig> {
    let region = region(settings.region.as_deref(), key, complain)?;
    let keys = [&settings.access_key, &settings.secret_key, &settings.session_token];
    let access = access(settings.anonymous, keys, key, complain);
    let request_headers =
        fields::request(&settings.request_headers, &format!("{key}.request_headers"), complain);
    if settings.connections_max == 0 {
        complain(&format!("{key}.connections_max"), "expected 1 to 65535, found 0");
    }
    if !(1..=10).contains(&settings.attempts) {
        let message = format!("expected 1 to 10, found {}; `1` sends no request again", settings.attempts);
        complain(&format!("{key}.attempts"), &message);
    }
    let path_style = settings.path_style.unwrap_or(settings.endpoint.is_some());
    // Invalid values are replaced with valid ones here, so that `check` can report further errors.
    let config = SourceConfig {
        name: name.unwrap_or("unnamed").into(),
        backend: settings.backend.0,
        bucket: settings.bucket.as_deref().or(at_s3).unwrap_or("unnamed").to_owned(),
        region,
        endpoint: settings.endpoint.clone(),
        aws: AwsEndpoint {
            dualstack: settings.dualstack,
            fips: settings.fips,
            accelerate: settings.accelerate,
        },
        addressing: if path_style { Addressing::Path } else { Addressing::VirtualHost },
        access: access.clone().unwrap_or(Access::Anonymous),
        request_headers: request_headers.clone().unwrap_or_default(),
        access_denied: settings.access_denied.0,
        tls: TlsConfig {
            ca_file: settings.tls.ca_file.as_ref().map(PathBuf::from),
            pin_self_signed: settings.tls.pin_self_signed,
            insecure: settings.tls.insecure,
        },
        connections_max: settings.connections_max.into(),
        connect_timeout: settings.connect_timeout.0,
        receive_buffer: socket_bytes(settings.receive_buffer),
    };
    if let Err(error) = config.check() {
        let part = match &error {
            BuildError::NotCompiled { .. } => "backend",
            BuildError::Address(error) => error.key(),
            BuildError::Tls(_) => "tls.ca_file",
        };
        if part == "bucket" && settings.bucket.is_none() {
            let message =
                "cannot be the name at S3: set `s3.bucket`, or use letters, digits, `-`, `_` and single `.`";
            complain(&key.replace(".s3", ".name"), message);
        } else {
            complain(&format!("{key}.{part}"), &error.to_string());
        }
    }
    access.and(request_headers).map(|_| config)
}

/// Returns the region of the section `key`, if it names one.
#[expect(clippy::option_option, reason = "there is an error, or none; and then there is a region, or none")]
pub(super) fn region(given: Option<&str>, key: &str, complain: ErrorSink<'_>) -> Option<Option<String>> {
    let Some(region) = given.filter(|region| !region.is_empty()) else { return Some(None) };
    if !region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        let message = format!("expected a region such as `us-east-1`, found `{region}`");
        complain(&format!("{key}.region"), &message);
        return None;
    }
    Some(Some(region.to_owned()))
}

/// Returns what requests are signed with: `access_key`, `secret_key` and `session_token` of the section `key`, if they are set.
pub(super) fn access(
    anonymous: bool,
    keys: [&Option<Secret>; 3],
    key: &str,
    complain: ErrorSink<'_>,
) -> Option<Access> {
    let [access_key, secret_key, session_token] =
        keys.map(|secret| secret.as_ref().map(|secret| secret.expose().to_owned()));
    // `"${AWS_SESSION_TOKEN}"` expands to an empty string if the keys are not temporary.
    let session_token = session_token.filter(|token| !token.is_empty());
    for (name, value) in [("access_key", &access_key), ("session_token", &session_token)] {
        if let Some(Err(message)) = value.as_deref().map(check_field_value) {
            complain(&format!("{key}.{name}"), &message);
            return None;
        }
    }
    for (name, value) in [("access_key", &access_key), ("secret_key", &secret_key)] {
        if value.as_ref().is_some_and(String::is_empty) {
            complain(&format!("{key}.{name}"), "is empty: leave it out for the AWS credential chain");
            return None;
        }
    }
    match (anonymous, access_key, secret_key) {
        (true, None, None) if session_token.is_none() => Some(Access::Anonymous),
        (true, ..) => {
            complain(
                &format!("{key}.anonymous"),
                "requests cannot be anonymous and signed: drop it or the keys",
            );
            None
        }
        (false, Some(access_key), Some(secret_key)) => {
            Some(Access::Static(StaticCredentials { access_key, secret_key, session_token }))
        }
        (false, Some(_), None) => {
            complain(&format!("{key}.secret_key"), "expected the secret that goes with `access_key`");
            None
        }
        (false, None, Some(_)) => {
            complain(&format!("{key}.access_key"), "expected the id that goes with `secret_key`");
            None
        }
        (false, None, None) if session_token.is_some() => {
            complain(&format!("{key}.session_token"), "expected `access_key` and `secret_key` with it");
            None
        }
        (false, None, None) => Some(Access::Chain),
    }
}
