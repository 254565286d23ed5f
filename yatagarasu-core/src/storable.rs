//! Whether a response may be stored, and how (RFC 9111 3).

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderName};

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
/// A response that varies on a field this gateway forwards is not stored; fields that never reach the source
/// cannot make it answer differently.
pub fn decide(
    meta: &ObjectMeta,
    received: SystemTime,
    policy: &CachePolicy,
    forward_headers: &[HeaderName],
) -> Storable {
    let control = CacheControl::of(meta.headers());
    let lifetime = lifetime(meta.headers(), received, policy.ttl);
    if meta.is_partial()
        || control.no_store
        || control.private
        || control.no_cache
        || lifetime <= initial_age(meta.headers(), received)
        || varies(meta, forward_headers)
    {
        return Storable::No;
    }
    match meta.content_length() {
        Some(length) if length <= policy.max_item_size => Storable::Whole { length, lifetime },
        Some(_) => Storable::No,
        None => Storable::UnknownLength { lifetime },
    }
}

fn varies(meta: &ObjectMeta, forward_headers: &[HeaderName]) -> bool {
    meta.headers().get_all(header::VARY).iter().any(|field| {
        field.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii).any(|member| {
            member == b"*" || forward_headers.iter().any(|name| member.eq_ignore_ascii_case(name.as_ref()))
        })
    })
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
        let storable = decide(&ObjectMeta::new(headers), SystemTime::UNIX_EPOCH, &policy, &[header::ORIGIN]);
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
    fn what_varies_on_a_forwarded_field_is_not_stored() {
        check(&[("content-length", "1"), ("vary", "*")], Storable::No);
        check(&[("content-length", "1"), ("vary", "accept, Origin")], Storable::No);
        check(&[("content-length", "1"), ("vary", "accept")], Storable::Whole { length: 1, lifetime: HOUR });
    }
}
