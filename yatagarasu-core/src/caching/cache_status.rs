//! How the cache handled a request, and its text in the `Cache-Status` field.

use std::fmt;

use http::StatusCode;

use crate::caching::freshness::Freshness;
use crate::caching::storability::NotStoredReason;

/// How the cache handled a request. Its text is a member of `Cache-Status` (RFC 9211 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// Served from the cache without the source.
    Hit {
        /// The remaining lifetime, or the time since it ended.
        freshness: Freshness,
        /// A remark on the hit.
        detail: Option<Detail>,
    },
    /// Forwarded to the source, or joined to a running fill.
    Forwarded(Forwarding),
    /// Answered by the gateway itself.
    Own(Detail),
}

/// How a request was forwarded to the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarding {
    /// Why the cache could not answer.
    pub reason: ForwardReason,
    /// The source's status, if known. It may differ from the response's.
    pub status: Option<StatusCode>,
    /// The object's freshness, if it is stored.
    pub freshness: Option<Freshness>,
    /// Whether the object is being stored.
    pub stored: bool,
    /// Whether the request joined another request's fill.
    pub collapsed: bool,
    /// A remark on the answer.
    pub detail: Option<Detail>,
    /// The origin of the content.
    pub provenance: Provenance,
}

/// The origin of a forwarded request's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// The source's response.
    Source,
    /// The cache, after the source confirmed the entry.
    Confirmed,
    /// The cache, because the source failed.
    Stale,
}

/// Why a request was forwarded (RFC 9211 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardReason {
    /// The bucket has no cache.
    Bypass,
    /// Nothing is stored under the key.
    UriMiss,
    /// Only other variants are stored.
    VaryMiss,
    /// The stored entry is stale.
    Stale,
    /// The stored entry is fresh, but the client's directives forbid its use.
    Request,
    /// Only other parts are stored.
    Partial,
    /// Answers to this method are not stored.
    Method,
}

/// A remark for the `detail` parameter (RFC 9211 2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Served stale while it is revalidated.
    WhileRevalidating,
    /// Served stale because the client accepts it.
    MaxStale,
    /// Served stale because the source failed.
    IfError,
    /// Served stale because the source takes long.
    IfSlow,
    /// The client sent `only-if-cached`, and no stored entry may be used.
    OnlyIfCached,
    /// Answered from a negative entry.
    Negative,
    /// Fetched to be stored, but not stored.
    NotStored(NotStoredReason),
    /// Answered without looking for an object: none was requested, or none could be.
    Local,
}

impl CacheStatus {
    /// Returns a plain forward for `reason`.
    pub fn forwarded(reason: ForwardReason) -> Self {
        Self::Forwarded(Forwarding::new(reason))
    }

    /// Returns the value of `X-Cache`: `HIT`, `REVALIDATED`, `STALE` or `MISS`.
    pub fn x_cache(&self) -> &'static str {
        match self {
            Self::Hit { .. } => "HIT",
            Self::Forwarded(forwarding) => match forwarding.provenance {
                Provenance::Source => "MISS",
                Provenance::Confirmed => "REVALIDATED",
                Provenance::Stale => "STALE",
            },
            Self::Own(_) => "MISS",
        }
    }

    /// Returns the handling to report beside a response of `status`. It omits the source's status if that is the
    /// same.
    #[must_use]
    pub fn beside(self, status: StatusCode) -> Self {
        match self {
            Self::Forwarded(forwarding) if forwarding.status == Some(status) => {
                Self::Forwarded(Forwarding { status: None, ..forwarding })
            }
            Self::Forwarded(_) | Self::Hit { .. } | Self::Own(_) => self,
        }
    }
}

impl Forwarding {
    /// Returns a plain forward for `reason`.
    pub fn new(reason: ForwardReason) -> Self {
        Self {
            reason,
            status: None,
            freshness: None,
            stored: false,
            collapsed: false,
            detail: None,
            provenance: Provenance::Source,
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = match self {
            Self::Hit { freshness, detail } => {
                f.write_str("hit; ttl=")?;
                fmt::Display::fmt(&Ttl(*freshness), f)?;
                *detail
            }
            Self::Forwarded(forwarding) => {
                write!(f, "{forwarding}")?;
                forwarding.detail
            }
            Self::Own(detail) => return write!(f, "detail={detail}"),
        };
        detail.map_or(Ok(()), |detail| write!(f, "; detail={detail}"))
    }
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fwd={}", self.reason)?;
        if let Some(status) = self.status {
            write!(f, "; fwd-status={}", status.as_u16())?;
        }
        if let Some(freshness) = self.freshness {
            write!(f, "; ttl={}", Ttl(freshness))?;
        }
        if self.stored {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        Ok(())
    }
}

/// The remaining lifetime in whole seconds, negative if the entry is stale (RFC 9211 2.4).
struct Ttl(Freshness);

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = match self.0 {
            Freshness::Fresh(rest) => rest.as_secs(),
            Freshness::Stale(since) => {
                if since.as_secs() > 0 {
                    f.write_str("-")?;
                }
                since.as_secs()
            }
        };
        // Every response has this text, and the formatter's own integers take several times as long.
        f.write_str(itoa::Buffer::new().format(seconds))
    }
}

impl fmt::Display for ForwardReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bypass => "bypass",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
            Self::Partial => "partial",
            Self::Method => "method",
        })
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WhileRevalidating => "stale-while-revalidate",
            Self::MaxStale => "max-stale",
            Self::IfError => "stale-if-error",
            Self::IfSlow => "stale-if-slow",
            Self::OnlyIfCached => "only-if-cached",
            Self::Negative => "negative",
            Self::NotStored(NotStoredReason::TooLarge) => "too-large",
            Self::NotStored(NotStoredReason::NotStorable) => "not-storable",
            Self::NotStored(NotStoredReason::Authorized) => "authorized",
            Self::NotStored(NotStoredReason::NoFillMemory) => "no-fill-memory",
            Self::Local => "local",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn its_text_is_a_member_of_cache_status() {
        let check = |handling: CacheStatus, expected: &str| assert_eq!(handling.to_string(), expected);
        let (fresh, stale) =
            (Freshness::Fresh(Duration::from_secs(7)), Freshness::Stale(Duration::from_millis(7200)));
        check(CacheStatus::Hit { freshness: fresh, detail: None }, "hit; ttl=7");
        check(
            CacheStatus::Hit { freshness: stale, detail: Some(Detail::MaxStale) },
            "hit; ttl=-7; detail=max-stale",
        );
        check(CacheStatus::Own(Detail::Local), "detail=local");
        check(CacheStatus::forwarded(ForwardReason::UriMiss), "fwd=uri-miss");
        let all = Forwarding {
            status: Some(StatusCode::NOT_MODIFIED),
            freshness: Some(Freshness::Stale(Duration::ZERO)),
            stored: true,
            collapsed: true,
            detail: Some(Detail::IfError),
            ..Forwarding::new(ForwardReason::Stale)
        };
        let all = CacheStatus::Forwarded(all);
        check(all, "fwd=stale; fwd-status=304; ttl=0; stored; collapsed; detail=stale-if-error");
        check(
            all.beside(StatusCode::NOT_MODIFIED),
            "fwd=stale; ttl=0; stored; collapsed; detail=stale-if-error",
        );
        assert_eq!(all.beside(StatusCode::OK), all);
    }
}
