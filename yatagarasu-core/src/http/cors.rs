//! The CORS mode of a bucket, and the gateway's own CORS rules (Fetch, "CORS protocol").

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::response_fields::{Pattern, ResponseFields, VaryOrigin, vary_by_origin};

/// All names.
const ALL: &str = "*";

/// The CORS mode: the source, the gateway or nobody answers pages of other origins.
#[derive(Debug, Clone, Default)]
pub enum Cors {
    /// The source. It is told the origin, and its answers to different origins may differ.
    #[default]
    Pass,
    /// Nobody. The source is not told the origin.
    Off,
    /// The gateway. The source is not told the origin, and one stored copy serves all of them.
    Rules(Arc<CorsRules>),
}

/// The rules of a bucket.
#[derive(Debug, Clone)]
pub struct CorsRules {
    /// The origins that may use the objects.
    pub origins: AllowedOrigins,
    /// The methods that they may use.
    pub allow_methods: Vec<String>,
    /// The request fields that they may send. `*` alone stands for all.
    pub allow_headers: Vec<String>,
    /// The response fields that they may read. `*` alone stands for all.
    pub expose_headers: Vec<String>,
    /// How long a browser may remember the answer to a preflight.
    pub max_age: Duration,
    /// Whether requests may have credentials.
    pub credentials: bool,
}

/// The origins that may use the objects.
#[derive(Debug, Clone)]
pub enum AllowedOrigins {
    /// All of them.
    All,
    /// Those that match a pattern, in lower case.
    These(Vec<Pattern>),
}

impl Cors {
    /// Returns the changes to the fields of responses, with those that follow from these rules.
    #[must_use]
    pub fn applied_to(&self, fields: ResponseFields) -> ResponseFields {
        let varies = match self {
            Self::Pass => true,
            Self::Off => false,
            Self::Rules(rules) => rules.varies(),
        };
        fields.varying(if varies { VaryOrigin::Always } else { VaryOrigin::AsTheSource })
    }

    /// Returns the gateway's own rules, if it has some.
    pub fn rules(&self) -> Option<&Arc<CorsRules>> {
        match self {
            Self::Pass | Self::Off => None,
            Self::Rules(rules) => Some(rules),
        }
    }
}

impl CorsRules {
    /// Returns the allowed origins as they are in a configuration.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        let (all, these) = match &self.origins {
            AllowedOrigins::All => (Some(ALL), [].iter()),
            AllowedOrigins::These(patterns) => (None, patterns.iter()),
        };
        all.into_iter().chain(these.map(Pattern::as_str))
    }

    /// Returns whether responses to other origins differ.
    fn varies(&self) -> bool {
        match self.origins {
            AllowedOrigins::All => false,
            AllowedOrigins::These(_) => true,
        }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        match &self.origins {
            AllowedOrigins::All => true,
            AllowedOrigins::These(patterns) => {
                let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
                patterns.iter().any(|pattern| pattern.matches(&origin))
            }
        }
    }

    /// Returns the fields of the answer to a preflight, or `None` if the request that it is about is not allowed.
    pub fn preflight(&self, headers: &HeaderMap) -> Option<HeaderMap> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let method = text(ACCESS_CONTROL_REQUEST_METHOD)?;
        let asked = text(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let names = || asked.split(',').map(str::trim).filter(|name| !name.is_empty());
        let all = self.allow_headers == [ALL];
        let allowed =
            |name: &str| all || self.allow_headers.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
        let origin = headers.get(ORIGIN)?;
        if !self.allows(origin) || !self.allow_methods.iter().any(|allowed| allowed == method) {
            return None;
        }
        if !names().all(allowed) {
            return None;
        }
        let mut answer = HeaderMap::new();
        self.write_origin(Some(origin), &mut answer);
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, list(&self.allow_methods));
        if names().next().is_some() {
            // Names them one by one, because `*` excludes some names and is none with credentials.
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, list(&names().collect::<Vec<_>>()));
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age.as_secs()));
        Some(answer)
    }

    fn write_origin(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let allowed = origin.filter(|origin| self.allows(origin));
        match (&self.origins, allowed) {
            (AllowedOrigins::All, _) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static(ALL));
            }
            (AllowedOrigins::These(_), Some(origin)) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                if self.credentials {
                    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                }
            }
            (AllowedOrigins::These(_), None) => {}
        }
        if self.varies() {
            vary_by_origin(headers);
        }
    }

    /// Writes the fields that let a page of `origin` use a response, in the place of the source's. Errors need them, too:
    /// the page could not see the status otherwise.
    pub fn write(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let source: Vec<HeaderName> =
            headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
        for name in source {
            headers.remove(name);
        }
        if origin.is_some() {
            self.write_origin(origin, headers);
        } else if self.varies() {
            vary_by_origin(headers);
        }
        if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) && !self.expose_headers.is_empty() {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, list(&self.expose_headers));
        }
    }
}

fn list(names: &[impl AsRef<str>]) -> HeaderValue {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    HeaderValue::from_str(&names.join(", ")).expect("names of fields and methods are values")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(origins: AllowedOrigins, credentials: bool) -> CorsRules {
        CorsRules {
            origins,
            allow_methods: vec!["GET".to_owned()],
            allow_headers: vec!["Range".to_owned()],
            expose_headers: vec!["ETag".to_owned()],
            max_age: Duration::from_secs(60),
            credentials,
        }
    }

    fn example(credentials: bool) -> CorsRules {
        rules(AllowedOrigins::These(vec![Pattern::new("https://*.example").unwrap()]), credentials)
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[track_caller]
    fn check(rules: &CorsRules, origin: Option<&str>, expected: &[(&'static str, &str)]) {
        let mut found = headers(&[("access-control-allow-origin", "https://of-s3")]);
        rules.write(origin.map(|origin| origin.parse().unwrap()).as_ref(), &mut found);
        assert_eq!(found, headers(expected), "{origin:?}");
    }

    #[test]
    fn allowed_pages_may_read_and_others_may_not() {
        let origin = ("access-control-allow-origin", "https://a.Example");
        let (exposed, vary) = (("access-control-expose-headers", "ETag"), ("vary", "Origin"));
        check(&example(false), Some("https://a.Example"), &[origin, exposed, vary]);
        let credentials = ("access-control-allow-credentials", "true");
        check(&example(true), Some("https://a.Example"), &[origin, credentials, exposed, vary]);
        for other in ["https://evil", "http://a.example", "https://a.example.evil", "null"] {
            check(&example(true), Some(other), &[vary]);
        }
        check(&example(false), None, &[vary]);
        let all = || rules(AllowedOrigins::All, false);
        check(&all(), Some("https://any"), &[("access-control-allow-origin", "*"), exposed]);
        check(&all(), None, &[]);
    }

    #[test]
    fn preflights_are_answered_for_what_is_allowed() {
        let check = |fields: &[(&'static str, &str)], expected: bool| {
            assert_eq!(example(false).preflight(&headers(fields)).is_some(), expected, "{fields:?}");
        };
        let (origin, get) = (("origin", "https://a.example"), ("access-control-request-method", "GET"));
        check(&[origin, get], true);
        check(&[origin, get, ("access-control-request-headers", "RANGE")], true);
        check(&[origin, get, ("access-control-request-headers", "range, x-other")], false);
        check(&[origin, ("access-control-request-method", "PUT")], false);
        check(&[("origin", "https://evil"), get], false);
        let answer =
            example(false).preflight(&headers(&[origin, get, ("access-control-request-headers", "range")]));
        let expected = headers(&[
            ("access-control-allow-origin", "https://a.example"),
            ("vary", "Origin"),
            ("access-control-allow-methods", "GET"),
            ("access-control-allow-headers", "range"),
            ("access-control-max-age", "60"),
        ]);
        assert_eq!(answer, Some(expected));
    }
}
