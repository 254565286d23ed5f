//! Validates the rules for pages of other origins.

use std::sync::Arc;

use http::{HeaderName, Uri};
use yatagarasu_core::http::cors::{AllowedOrigins, Cors, CorsRules};
use yatagarasu_core::http::response_fields::Pattern;

use crate::config::error::ErrorSink;
use crate::config::keys::{ALL, CorsMode, CorsSettings, Either};

/// Validates who answers pages of other origins. Returns `None` on an error.
pub(super) fn cors(
    settings: &Either<CorsMode, CorsSettings>,
    place: &str,
    complain: ErrorSink<'_>,
) -> Option<Cors> {
    match settings {
        Either::Name(CorsMode::Pass) => Some(Cors::Pass),
        Either::Name(CorsMode::Off) => Some(Cors::Off),
        Either::Section(rules) => self::rules(rules, place, complain).map(Arc::new).map(Cors::Rules),
    }
}

fn rules(settings: &CorsSettings, place: &str, complain: ErrorSink<'_>) -> Option<CorsRules> {
    let given = settings.allow_origins.as_deref().unwrap_or_default();
    let origins = origins(given, &format!("{place}.allow_origins"), complain);
    let mut good = true;
    for (index, method) in settings.allow_methods.iter().enumerate() {
        if !matches!(method.as_str(), "GET" | "HEAD") {
            let message = format!("expected `GET` or `HEAD`, found `{method}`: this gateway only reads");
            complain(&format!("{place}.allow_methods[{index}]"), &message);
            good = false;
        }
    }
    for (key, names) in
        [("allow_headers", &settings.allow_headers), ("expose_headers", &settings.expose_headers)]
    {
        for (index, name) in names.iter().enumerate() {
            let is_all = name == ALL && names.len() == 1;
            if !is_all && (name == ALL || HeaderName::from_bytes(name.as_bytes()).is_err()) {
                let message = format!("expected a header field's name, or `*` alone; found `{name}`");
                complain(&format!("{place}.{key}[{index}]"), &message);
                good = false;
            }
        }
    }
    if settings.credentials && given == [ALL] {
        let message = "browsers refuse credentials for all origins: name the origins in `allow_origins`";
        complain(&format!("{place}.credentials"), message);
        good = false;
    }
    let origins = origins.filter(|_| good)?;
    Some(CorsRules {
        origins,
        allow_methods: settings.allow_methods.clone(),
        allow_headers: settings.allow_headers.clone(),
        expose_headers: settings.expose_headers.clone(),
        max_age: settings.max_age.0,
        credentials: settings.credentials,
    })
}

fn origins(given: &[String], place: &str, complain: ErrorSink<'_>) -> Option<AllowedOrigins> {
    if given == [ALL] {
        return Some(AllowedOrigins::All);
    }
    if given.is_empty() {
        complain(place, "expected at least one origin such as \"https://app.example\", or \"*\"");
        return None;
    }
    let mut good = true;
    let mut patterns = Vec::new();
    for (index, origin) in given.iter().enumerate() {
        let Some(pattern) = pattern(origin) else {
            let message = format!(
                "expected an origin such as \"https://app.example\" or \"https://*.example\", without a path and with single `*`; found \
                 `{origin}`"
            );
            complain(&format!("{place}[{index}]"), &message);
            good = false;
            continue;
        };
        patterns.push(pattern);
    }
    good.then_some(AllowedOrigins::These(patterns))
}

/// Returns the pattern of an origin: a scheme, a host and an optional port (RFC 6454 6.2), or `null`.
fn pattern(origin: &str) -> Option<Pattern> {
    let lower = origin.to_ascii_lowercase();
    if lower != "null" {
        let uri: Uri = lower.replace('*', "x").parse().ok()?;
        let plain = uri.scheme().is_some() && matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !plain || lower.ends_with('/') || lower.contains(['?', '[', '@']) || lower.contains("**") {
            return None;
        }
    }
    Pattern::new(&lower).ok()
}
