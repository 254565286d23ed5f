//! Whether a response may be stored, and how (RFC 9111 3).

use std::time::{Duration, SystemTime};

use http::header;

use crate::cache_control::CacheControl;
use crate::freshness::{initial_age, lifetime};
use crate::{CachePolicy, ObjectMeta};

/// What a response head says about keeping the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storable {
    /// It has this many bytes, and they may be stored for this long.
    Whole {
        /// Length of the object in bytes.
        length: u64,
        /// Until it is stale, counted from when it was generated.
        lifetime: Duration,
    },
    /// It may be stored, if it turns out to end within the limit.
    UnknownLength {
        /// Until it is stale, counted from when it was generated.
        lifetime: Duration,
    },
    /// It is to be passed on only.
    No,
}

/// Decides from a response head alone. Only whole objects are stored.
///
/// Fields that are forwarded are part of what an object is stored under, and those that never reach the source
/// cannot make it answer differently: of `Vary` only `*` is left to heed (RFC 9111 4.1). A cookie is one client's.
pub fn decide(meta: &ObjectMeta, received: SystemTime, policy: &CachePolicy) -> Storable {
    let control = CacheControl::of(meta.headers());
    let lifetime = lifetime(meta.headers(), received, policy.ttl);
    if meta.is_partial()
        || control.no_store
        || control.private
        || control.no_cache
        || lifetime <= initial_age(meta.headers(), received)
        || meta.headers().contains_key(header::SET_COOKIE)
        || varies(meta)
    {
        return Storable::No;
    }
    match meta.content_length() {
        Some(length) if length <= policy.max_item_size => Storable::Whole { length, lifetime },
        None if meta.end_is_certain() => Storable::UnknownLength { lifetime },
        Some(_) | None => Storable::No,
    }
}

fn varies(meta: &ObjectMeta) -> bool {
    let fields = meta.headers().get_all(header::VARY).iter();
    fields
        .flat_map(|field| field.as_bytes().split(|&byte| byte == b','))
        .any(|member| member.trim_ascii() == b"*")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[track_caller]
    fn check(fields: &[(&'static str, &str)], expected: Storable) {
        let headers =
            fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let policy = CachePolicy { max_item_size: 100, ttl: HOUR };
        let storable = decide(&ObjectMeta::new(headers), SystemTime::UNIX_EPOCH, &policy);
        assert_eq!(storable, expected, "{fields:?}");
    }

    #[test]
    fn size_and_lifetime_decide() {
        check(&[("content-length", "100")], Storable::Whole { length: 100, lifetime: HOUR });
        check(&[("content-length", "0")], Storable::Whole { length: 0, lifetime: HOUR });
        check(&[("content-length", "101")], Storable::No);
        check(&[], Storable::UnknownLength { lifetime: HOUR });
        check(&[("content-length", "1"), ("content-range", "bytes 0-0/5")], Storable::No);
        check(&[("content-length", "1"), ("cache-control", "max-age=5"), ("age", "5")], Storable::No);
        check(
            &[("content-length", "1"), ("cache-control", "max-age=5"), ("age", "4")],
            Storable::Whole { length: 1, lifetime: Duration::from_secs(5) },
        );
    }

    #[test]
    fn the_object_has_the_last_word() {
        for control in ["no-store", "private", "no-cache", "max-age=0", "s-maxage=0, max-age=9"] {
            check(&[("content-length", "1"), ("cache-control", control)], Storable::No);
        }
    }

    #[test]
    fn what_is_not_for_everyone_is_not_stored() {
        check(&[("content-length", "1"), ("vary", "accept, *")], Storable::No);
        check(&[("content-length", "1"), ("set-cookie", "a=b")], Storable::No);
        check(&[("content-length", "1"), ("vary", "accept")], Storable::Whole { length: 1, lifetime: HOUR });
    }

    #[test]
    fn a_body_that_may_have_been_cut_short_is_not_stored() {
        let policy = CachePolicy { max_item_size: 100, ttl: HOUR };
        let meta = ObjectMeta::default().with_uncertain_end();
        assert_eq!(decide(&meta, SystemTime::UNIX_EPOCH, &policy), Storable::No);
    }
}
