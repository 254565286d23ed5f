//! How long a refusal is remembered (RFC 9111 3, 4.2; RFC 9110 15.1).

use std::time::Duration;

use crate::caching::policy::{CachePolicy, ForwardedFields, Negative, ObjectControl};
use crate::caching::storability::Asker;
use crate::caching::vary::{Vary, selecting};
use crate::source::error::{Denial, NegativeCaching, SourceError};

/// Returns the lifetime of the negative entry for a 404 or 403, or `None` if the error is not remembered.
///
/// It is the bucket's `negative_ttl`. A shorter lifetime of the source counts if the policy respects `Cache-Control`.
/// An error that varies with fields in `forwarded` is not remembered, because the entry serves every client.
pub fn refusal_lifetime(
    error: &SourceError,
    policy: &CachePolicy,
    forwarded: &ForwardedFields,
    asker: Asker,
) -> Option<Duration> {
    let Negative { ttl, missing, denied } = policy.negative;
    let NegativeCaching { control, vary } = &**match error {
        SourceError::NotFound { caching, .. } if missing => caching,
        SourceError::Denied { caching, .. } if denied && error.denial() != Denial::Gateway => caching,
        SourceError::NotFound { .. }
        | SourceError::Denied { .. }
        | SourceError::PreconditionFailed
        | SourceError::RangeNotSatisfiable { .. }
        | SourceError::Throttled { .. }
        | SourceError::TimedOut(_)
        | SourceError::Unavailable { .. }
        | SourceError::NoCredentials(_)
        | SourceError::Broken { .. } => return None,
    };
    let differs = match vary {
        Vary::None => false,
        Vary::Any => true,
        Vary::Fields(names) => !selecting(names.clone(), forwarded).is_empty(),
    };
    let named = control.s_maxage.or(control.max_age);
    let lifetime = match policy.cache_control {
        ObjectControl::Respect => named.map_or(ttl, |named| named.min(ttl)),
        ObjectControl::Ignore | ObjectControl::Override => ttl,
    };
    let forbidden = match policy.cache_control {
        ObjectControl::Respect | ObjectControl::Override => control.forbids_storing() || control.no_cache,
        ObjectControl::Ignore => false,
    };
    let shared = asker == Asker::Anyone || control.shares_authorized();
    (!differs && !forbidden && shared && !lifetime.is_zero()).then_some(lifetime)
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;
    use crate::caching::cache_control::CacheControl;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn refusals_are_remembered_as_long_as_both_sides_allow() {
        use ObjectControl::{Ignore, Override, Respect};
        let minute = Negative { ttl: Duration::from_secs(60), missing: true, denied: false };
        let check = |control: CacheControl, negative, cache_control, expected: u64| {
            let policy = CachePolicy { cache_control, negative, ..CachePolicy::new(100, HOUR) };
            let caching = Box::new(NegativeCaching { control, vary: Vary::None });
            let error = SourceError::NotFound { code: String::new(), caching };
            let none = ForwardedFields::default();
            let lifetime = refusal_lifetime(&error, &policy, &none, Asker::Anyone);
            assert_eq!(lifetime.map_or(0, |lifetime| lifetime.as_secs()), expected, "{control:?}");
        };
        let silent = CacheControl::default();
        let seconds = |count| Some(Duration::from_secs(count));
        check(silent, minute, Respect, 60);
        check(silent, Negative::default(), Respect, 0);
        check(silent, Negative { missing: false, ..minute }, Respect, 0);
        check(CacheControl { max_age: seconds(5), ..silent }, minute, Respect, 5);
        check(CacheControl { max_age: seconds(500), ..silent }, minute, Respect, 60);
        check(CacheControl { max_age: seconds(5), ..silent }, minute, Override, 60);
        check(CacheControl { no_store: true, ..silent }, minute, Override, 0);
        check(CacheControl { no_store: true, ..silent }, minute, Ignore, 60);

        let policy = CachePolicy { negative: minute, ..CachePolicy::new(100, HOUR) };
        let language = ForwardedFields::Named(vec![header::ACCEPT_LANGUAGE]);
        let lifetime = |error: &SourceError, policy: &CachePolicy, asker| {
            refusal_lifetime(error, policy, &language, asker)
        };
        let varying = |name| {
            let caching =
                Box::new(NegativeCaching { vary: Vary::Fields(vec![name]), ..NegativeCaching::default() });
            SourceError::NotFound { code: String::new(), caching }
        };
        assert_eq!(lifetime(&varying(header::ACCEPT_LANGUAGE), &policy, Asker::Anyone), None);
        assert_eq!(lifetime(&varying(header::ACCEPT_ENCODING), &policy, Asker::Anyone), seconds(60));
        let denied = SourceError::Denied { code: String::new(), caching: Box::default() };
        assert_eq!(lifetime(&denied, &policy, Asker::Anyone), None);
        let both = CachePolicy { negative: Negative { denied: true, ..minute }, ..policy.clone() };
        assert_eq!(lifetime(&denied, &both, Asker::Anyone), seconds(60));
        assert_eq!(lifetime(&denied, &both, Asker::Authorized), None);
        assert_eq!(lifetime(&SourceError::PreconditionFailed, &both, Asker::Anyone), None);
    }
}
