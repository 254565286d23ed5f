//! Decides if a response may be stored (RFC 9111 3). How long an error is remembered is in `cache::negative`.

use std::time::Duration;

use http::header;

use crate::caching::cache_control::{CacheControl, withheld};
use crate::caching::freshness::{Exchange, FreshnessTerms, StaleUse, effective, initial_age};
use crate::caching::policy::CachePolicy;
use crate::caching::vary::Vary;
use crate::object::meta::ObjectMeta;

/// The storage decision for a response, made from its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storable {
    /// The response may be stored, and its length is known.
    Whole {
        /// Length of the content in bytes.
        length: u64,
        /// How long it may be used.
        terms: FreshnessTerms,
    },
    /// The response may be stored if its body turns out to end within the size limit.
    UnknownLength {
        /// How long it may be used.
        terms: FreshnessTerms,
    },
    /// The response must not be stored; pass it on only.
    No(NotStoredReason),
}

/// The reason why an object is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStoredReason {
    /// It is longer than the bucket's `max_item_size`.
    TooLarge,
    /// Its fields forbid storing, or a stored copy could never be used.
    NotStorable,
    /// The request had `Authorization`, and the response does not allow sharing (RFC 9111 3.5).
    Authorized,
    /// The memory budget of running fills is exhausted.
    NoFillMemory,
}

impl NotStoredReason {
    /// Returns `true` if the reason is in the object itself, so the next request will most likely meet it too.
    pub fn lasts(self) -> bool {
        match self {
            Self::TooLarge | Self::NotStorable => true,
            Self::Authorized | Self::NoFillMemory => false,
        }
    }
}

/// Whether the request that the response answers had `Authorization` (RFC 9111 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// It had none, or the object is fetched in the background for no particular client.
    Anyone,
    /// It had `Authorization`, so only a response that allows sharing may be stored.
    Authorized,
}

/// Decides from its head if a response may be stored.
///
/// A part is storable like a whole object; its own length counts against `max_item_size`. A response that is stale on
/// arrival is storable if it can be revalidated or served stale. A response with `Set-Cookie` is not, because the
/// cookie belongs to one client, unless `private` or `no-cache` withholds that field.
pub fn decide(meta: &ObjectMeta, exchange: Exchange, policy: &CachePolicy, asker: Asker) -> Storable {
    let headers = meta.headers();
    let headers = &*headers;
    let control = effective(headers, policy);
    let terms = FreshnessTerms::of(headers, exchange.dated, policy);
    let cookie = headers.contains_key(header::SET_COOKIE) && !withheld(headers).contains(&header::SET_COOKIE);
    if control.forbids_storing()
        || cookie
        || !usable(meta, &terms, exchange)
        || matches!(Vary::of(headers), Vary::Any)
    {
        return Storable::No(NotStoredReason::NotStorable);
    }
    // From the response itself, also under `ignore` and `override`: the bucket sets lifetimes, and cannot permit
    // sharing.
    if asker == Asker::Authorized && !CacheControl::of(headers).shares_authorized() {
        return Storable::No(NotStoredReason::Authorized);
    }
    match meta.content_length() {
        Some(length) if length <= policy.max_item_size => Storable::Whole { length, terms },
        Some(_) => Storable::No(NotStoredReason::TooLarge),
        None if meta.end_is_certain() => Storable::UnknownLength { terms },
        None => Storable::No(NotStoredReason::NotStorable),
    }
}

/// Returns `true` if a stored copy is of use: it has a validator, or it is fresh or may be served stale on arrival.
fn usable(meta: &ObjectMeta, terms: &FreshnessTerms, exchange: Exchange) -> bool {
    let window = match terms.stale {
        StaleUse::Allowed => terms.stale_while_revalidate.max(terms.stale_if_error),
        StaleUse::Forbidden => Duration::ZERO,
    };
    let has = |name: header::HeaderName| meta.values(name.as_str()).next().is_some();
    let validated = has(header::ETAG) || has(header::LAST_MODIFIED);
    validated || terms.lifetime.saturating_add(window) > initial_age(meta, exchange)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::caching::policy::ObjectControl;

    const HOUR: Duration = Duration::from_secs(3600);

    fn meta(fields: &[(&'static str, &str)]) -> ObjectMeta {
        ObjectMeta::new(
            fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
        )
    }

    fn decided(
        fields: &[(&'static str, &str)],
        policy: &CachePolicy,
        asker: Asker,
    ) -> Result<u64, Option<NotStoredReason>> {
        match decide(&meta(fields), Exchange::at(SystemTime::UNIX_EPOCH), policy, asker) {
            Storable::Whole { length, .. } => Ok(length),
            Storable::UnknownLength { .. } => Err(None),
            Storable::No(obstacle) => Err(Some(obstacle)),
        }
    }

    #[track_caller]
    fn check(fields: &[(&'static str, &str)], expected: Result<u64, Option<NotStoredReason>>) {
        let policy = CachePolicy::new(100, HOUR);
        assert_eq!(decided(fields, &policy, Asker::Anyone), expected, "{fields:?}");
    }

    const NOT: Result<u64, Option<NotStoredReason>> = Err(Some(NotStoredReason::NotStorable));

    #[test]
    fn the_size_decides() {
        check(&[("content-length", "100")], Ok(100));
        check(&[("content-length", "0")], Ok(0));
        check(&[("content-length", "101")], Err(Some(NotStoredReason::TooLarge)));
        check(&[], Err(None));
    }

    #[test]
    fn what_is_stale_on_arrival_must_be_of_some_use() {
        let stale = [("content-length", "1"), ("cache-control", "max-age=5"), ("age", "5")];
        check(&stale, NOT);
        check(&[&stale[..], &[("etag", "\"e\"")]].concat(), Ok(1));
        check(&[&stale[..], &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")]].concat(), Ok(1));
        check(&[("content-length", "1"), ("cache-control", "max-age=5"), ("age", "4")], Ok(1));
        check(
            &[("content-length", "1"), ("cache-control", "max-age=5, stale-if-error=1"), ("age", "5")],
            Ok(1),
        );
        let forbidden = "max-age=5, stale-if-error=1, must-revalidate";
        check(&[("content-length", "1"), ("cache-control", forbidden), ("age", "5")], NOT);
    }

    #[test]
    fn the_object_has_the_last_word_unless_it_is_ignored() {
        for control in ["no-store", "private"] {
            let fields = [("content-length", "1"), ("etag", "\"e\""), ("cache-control", control)];
            check(&fields, NOT);
            for (cache_control, expected) in [(ObjectControl::Override, NOT), (ObjectControl::Ignore, Ok(1))]
            {
                let policy = CachePolicy { cache_control, ..CachePolicy::new(100, HOUR) };
                assert_eq!(decided(&fields, &policy, Asker::Anyone), expected, "{control} {cache_control:?}");
            }
        }
        check(&[("content-length", "1"), ("cache-control", "no-store, must-understand")], Ok(1));
        check(&[("content-length", "1"), ("cache-control", "no-cache")], NOT);
        check(&[("content-length", "1"), ("etag", "\"e\""), ("cache-control", "no-cache")], Ok(1));
    }

    #[test]
    fn what_is_not_for_everyone_is_not_stored() {
        check(&[("content-length", "1"), ("vary", "accept, *")], NOT);
        check(&[("content-length", "1"), ("vary", "accept")], Ok(1));
        check(&[("content-length", "1"), ("set-cookie", "a=b")], NOT);
        let withheld =
            [("content-length", "1"), ("set-cookie", "a=b"), ("cache-control", "private=\"set-cookie\"")];
        check(&withheld, Ok(1));
    }

    #[test]
    fn answers_to_authorized_clients_are_shared_where_they_say_so() {
        let policy = CachePolicy::new(100, HOUR);
        let check = |control: &'static str, expected| {
            let fields = [("content-length", "1"), ("cache-control", control)];
            assert_eq!(decided(&fields, &policy, Asker::Authorized), expected, "{control}");
        };
        check("max-age=60", Err(Some(NotStoredReason::Authorized)));
        check("max-age=60, public", Ok(1));
        check("max-age=60, must-revalidate", Ok(1));
        check("s-maxage=60", Ok(1));
    }

    #[test]
    fn a_body_that_may_have_been_cut_short_is_not_stored() {
        let policy = CachePolicy::new(100, HOUR);
        let meta = ObjectMeta::default().with_uncertain_end();
        let decided = decide(&meta, Exchange::at(SystemTime::UNIX_EPOCH), &policy, Asker::Anyone);
        assert_eq!(decided, Storable::No(NotStoredReason::NotStorable));
    }
}
