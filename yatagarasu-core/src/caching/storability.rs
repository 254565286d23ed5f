//! Whether a response may be stored, and how (RFC 9111 3).

use std::time::Duration;

use http::header;

use crate::caching::cache_control::{CacheControl, withheld};
use crate::caching::freshness::{Exchange, FreshnessTerms, StaleUse, effective, initial_age};
use crate::caching::policy::CachePolicy;
use crate::caching::vary::Vary;
use crate::object::meta::ObjectMeta;

/// What a response head says about keeping the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storable {
    /// It has this many bytes, and they may be stored.
    Whole {
        /// Length of the content in bytes.
        length: u64,
        /// What they may be used for.
        terms: FreshnessTerms,
    },
    /// It may be stored, if it turns out to end within the limit.
    UnknownLength {
        /// What it may be used for.
        terms: FreshnessTerms,
    },
    /// It is to be passed on only.
    No(NotStoredReason),
}

/// Why an object is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStoredReason {
    /// It is longer than the bucket stores.
    TooLarge,
    /// Its fields forbid it, or leave nothing it could be used for.
    NotStorable,
    /// It answers a request with `Authorization`, and does not say that it may be shared (RFC 9111 3.5).
    Authorized,
    /// The memory for running fills is spent.
    NoFillMemory,
}

impl NotStoredReason {
    /// Whether it lies in the object, so that the next request for it will most likely meet it again.
    pub fn lasts(self) -> bool {
        match self {
            Self::TooLarge | Self::NotStorable => true,
            Self::Authorized | Self::NoFillMemory => false,
        }
    }
}

/// Whose request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Anyone.
    Anyone,
    /// A client that showed who it is.
    Authorized,
}

/// Decides from a response head alone. A part is as storable as the whole; its length is what is counted.
///
/// What is stale on arrival is stored if it can be revalidated or may be served stale. A cookie is one client's.
pub fn decide(meta: &ObjectMeta, exchange: Exchange, policy: &CachePolicy, asker: Asker) -> Storable {
    let headers = meta.headers();
    let control = effective(headers, policy);
    let terms = FreshnessTerms::of(headers, exchange.received, policy);
    let cookie = headers.contains_key(header::SET_COOKIE) && !withheld(headers).contains(&header::SET_COOKIE);
    if control.forbids_storing()
        || cookie
        || !usable(meta, &terms, exchange)
        || matches!(Vary::of(headers), Vary::Any)
    {
        return Storable::No(NotStoredReason::NotStorable);
    }
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

/// Whether anything can be done with the object once it is stored.
fn usable(meta: &ObjectMeta, terms: &FreshnessTerms, exchange: Exchange) -> bool {
    let window = match terms.stale {
        StaleUse::Allowed => terms.stale_while_revalidate.max(terms.stale_if_error),
        StaleUse::Forbidden => Duration::ZERO,
    };
    let validated =
        meta.headers().contains_key(header::ETAG) || meta.headers().contains_key(header::LAST_MODIFIED);
    validated || terms.lifetime.saturating_add(window) > initial_age(meta.headers(), exchange)
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
