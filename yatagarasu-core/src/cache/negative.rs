//! How long a refusal is remembered (RFC 9111 3, 4.2; RFC 9110 15.1).

use std::time::SystemTime;

use http::HeaderMap;

use crate::caching::freshness::{FreshnessTerms, effective};
use crate::caching::policy::{CachePolicy, ForwardedFields, Negative, ObjectControl};
use crate::caching::storability::Asker;
use crate::caching::vary::{Vary, selecting};
use crate::source::consequences::Remembered;
use crate::source::error::SourceError;

/// Returns the terms of the negative entry for a 404 or 403 received at the date `dated`, or `None` if the error is not
/// remembered.
///
/// The lifetime is the bucket's `negative_ttl`. A shorter lifetime of the source counts if the policy respects
/// `Cache-Control` and `Expires`. An error that varies with fields in `forwarded` is not remembered, because the entry
/// serves every client.
pub fn refusal_terms(
    error: &SourceError,
    dated: SystemTime,
    policy: &CachePolicy,
    forwarded: &ForwardedFields,
    asker: Asker,
) -> Option<FreshnessTerms> {
    let Negative { ttl, missing, denied } = policy.negative;
    let remembered = match error.consequences().remembered {
        Remembered::AsMissing => missing,
        Remembered::AsDenied => denied,
        Remembered::Never => false,
    };
    if !remembered {
        return None;
    }
    let none = HeaderMap::new();
    let headers = error.response().map_or(&none, |response| &response.headers);
    let differs = match Vary::of(headers) {
        Vary::None => false,
        Vary::Any => true,
        Vary::Fields(names) => !selecting(names, forwarded).is_empty(),
    };
    // The bucket's own lifetime for objects does not count here.
    let counted = CachePolicy { ttl, heuristic_freshness: false, ..policy.clone() };
    let control = effective(headers, &counted);
    let forbidden = control.forbids_storing() || control.no_cache;
    let shared = asker == Asker::Anyone || control.shares_authorized();
    let lifetime = match policy.cache_control {
        ObjectControl::Respect => FreshnessTerms::of(headers, dated, &counted).lifetime.min(ttl),
        ObjectControl::Ignore | ObjectControl::Override => ttl,
    };
    (!differs && !forbidden && shared && !lifetime.is_zero()).then(|| FreshnessTerms::fresh_for(lifetime))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{StatusCode, header};

    use super::*;
    use crate::source::error::{ErrorKind, ErrorResponse};

    fn refusal(kind: ErrorKind, fields: &[(&'static str, &'static str)]) -> SourceError {
        let headers =
            fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        SourceError::new(kind).answered(ErrorResponse::new(StatusCode::NOT_FOUND, &headers))
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn refusals_are_remembered_as_long_as_both_sides_allow() {
        use ObjectControl::{Ignore, Override, Respect};
        let minute = Negative { ttl: Duration::from_secs(60), missing: true, denied: false };
        let check = |fields: &[(&'static str, &'static str)], negative, cache_control, expected: u64| {
            let policy = CachePolicy { cache_control, negative, ..CachePolicy::new(100, HOUR) };
            let (error, none) = (refusal(ErrorKind::NotFound, fields), ForwardedFields::default());
            let terms = refusal_terms(&error, SystemTime::UNIX_EPOCH, &policy, &none, Asker::Anyone);
            assert_eq!(terms.map_or(0, |terms| terms.lifetime.as_secs()), expected, "{fields:?}");
        };
        check(&[], minute, Respect, 60);
        check(&[], Negative::default(), Respect, 0);
        check(&[], Negative { missing: false, ..minute }, Respect, 0);
        check(&[("cache-control", "max-age=5")], minute, Respect, 5);
        check(&[("cache-control", "max-age=500")], minute, Respect, 60);
        check(&[("cache-control", "max-age=5")], minute, Override, 60);
        check(&[("cache-control", "no-store")], minute, Override, 0);
        check(&[("cache-control", "no-store")], minute, Ignore, 60);
        let expires = ("expires", "Sun, 06 Nov 1994 08:49:44 GMT");
        check(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT"), expires], minute, Respect, 7);
        check(&[("expires", "0")], minute, Respect, 0);
        check(&[("expires", "0")], minute, Ignore, 60);
    }

    #[test]
    fn only_refusals_that_are_everybodys_are_remembered() {
        let minute = Negative { ttl: Duration::from_secs(60), missing: true, denied: false };
        let policy = CachePolicy { negative: minute, ..CachePolicy::new(100, HOUR) };
        let both = CachePolicy { negative: Negative { denied: true, ..minute }, ..policy.clone() };
        let language = ForwardedFields::Named(vec![header::ACCEPT_LANGUAGE]);
        let check = |kind, fields: &[(&'static str, &'static str)], policy: &CachePolicy, asker, expected| {
            let terms =
                refusal_terms(&refusal(kind, fields), SystemTime::UNIX_EPOCH, policy, &language, asker);
            assert_eq!(terms.is_some(), expected, "{kind:?} {fields:?} {asker:?}");
        };
        check(ErrorKind::NotFound, &[("vary", "accept-language")], &policy, Asker::Anyone, false);
        check(ErrorKind::NotFound, &[("vary", "accept-encoding")], &policy, Asker::Anyone, true);
        check(ErrorKind::Denied, &[], &policy, Asker::Anyone, false);
        check(ErrorKind::Denied, &[], &both, Asker::Anyone, true);
        check(ErrorKind::Denied, &[], &both, Asker::Authorized, false);
        check(ErrorKind::Unauthenticated, &[], &both, Asker::Anyone, false);
        check(ErrorKind::PreconditionFailed, &[], &both, Asker::Anyone, false);
    }
}
