//! The policy of the request path as one pure function, without I/O.

use crate::cache::reuse::Reuse;
use crate::caching::cache_status::ForwardReason;
use crate::http::method::Method;

/// The facts a decision is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFacts {
    /// The request method.
    pub method: Method,
    /// How much of the object the request needs.
    pub scope: Scope,
    /// The actions that the client's directives allow.
    pub leave: Leave,
    /// Whether the bucket has a cache.
    pub caching: Caching,
    /// The stored entry that could answer.
    pub stored: Stored,
}

/// Whether a bucket stores objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// It stores the objects that may be stored.
    On,
    /// It stores nothing.
    Off,
}

/// How much of an object a request needs if the object is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The whole object, or enough that the whole is fetched.
    Whole,
    /// A part that the source can send by itself.
    Part,
}

/// The actions that a client's directives allow if no stored entry may answer (RFC 9111 5.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Forwarding the request and storing the answer.
    Everything,
    /// Forwarding the request, but not storing the answer (`no-store`).
    NotToStore,
    /// Neither (`only-if-cached`).
    NotToForward,
}

/// The stored entry that could answer a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// None. Holds the forward reason.
    Nothing(ForwardReason),
    /// A note that the object is not storable.
    Passed,
    /// An entry that may be used this way.
    Usable(Reuse),
}

/// The action to take for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Serve the stored entry.
    Serve,
    /// Serve the stored entry, and revalidate it in the background.
    ServeAndRevalidate,
    /// Answer 504: no stored entry may be used, and the client forbids forwarding.
    Decline,
    /// Join the running fill or begin one, which fetches or revalidates the whole object and stores it.
    Fill(ForwardReason),
    /// Join the running fill. If there is none, pass to the source, and store the answer if allowed.
    Join(ForwardReason),
    /// Pass to the source, and store the answer if allowed.
    PassAndKeep(ForwardReason),
    /// Pass to the source, and store nothing.
    Pass(ForwardReason),
}

/// Returns the action to take for a request.
pub fn decide(facts: RequestFacts) -> Decision {
    let reason = match (facts.caching, facts.stored) {
        (Caching::Off, _) => return Decision::Pass(ForwardReason::Bypass),
        (Caching::On, Stored::Usable(Reuse::Fresh | Reuse::Accepted)) => return Decision::Serve,
        (Caching::On, Stored::Usable(Reuse::WhileRevalidating)) => return Decision::ServeAndRevalidate,
        (Caching::On, Stored::Usable(Reuse::Validated(reason)) | Stored::Nothing(reason)) => reason,
        (Caching::On, Stored::Passed) => ForwardReason::UriMiss,
    };
    match (facts.leave, facts.stored, facts.method, facts.scope) {
        (Leave::NotToForward, ..) => Decision::Decline,
        (Leave::NotToStore, ..) => Decision::Pass(reason),
        (Leave::Everything, Stored::Passed, ..) => Decision::PassAndKeep(reason),
        (Leave::Everything, _, Method::Get, Scope::Whole) => Decision::Fill(reason),
        (Leave::Everything, _, Method::Get, Scope::Part) | (Leave::Everything, _, Method::Head, _) => {
            Decision::Join(reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: RequestFacts = RequestFacts {
        method: Method::Get,
        scope: Scope::Whole,
        leave: Leave::Everything,
        caching: Caching::On,
        stored: Stored::Nothing(ForwardReason::UriMiss),
    };

    #[test]
    fn every_case_has_its_decision() {
        use ForwardReason::{Bypass, Request, Stale, UriMiss, VaryMiss};
        let check = |facts, expected| assert_eq!(decide(facts), expected, "{facts:?}");
        let stored = |stored| RequestFacts { stored, ..PLAIN };
        check(
            RequestFacts { caching: Caching::Off, leave: Leave::NotToForward, ..PLAIN },
            Decision::Pass(Bypass),
        );
        check(stored(Stored::Usable(Reuse::Fresh)), Decision::Serve);
        check(stored(Stored::Usable(Reuse::Accepted)), Decision::Serve);
        check(stored(Stored::Usable(Reuse::WhileRevalidating)), Decision::ServeAndRevalidate);
        check(stored(Stored::Usable(Reuse::Validated(Request))), Decision::Fill(Request));
        check(stored(Stored::Nothing(VaryMiss)), Decision::Fill(VaryMiss));
        check(stored(Stored::Passed), Decision::PassAndKeep(UriMiss));
        check(RequestFacts { scope: Scope::Part, ..PLAIN }, Decision::Join(UriMiss));
        check(RequestFacts { method: Method::Head, ..PLAIN }, Decision::Join(UriMiss));
        let stale = Stored::Usable(Reuse::Validated(Stale));
        check(RequestFacts { method: Method::Head, stored: stale, ..PLAIN }, Decision::Join(Stale));
        check(RequestFacts { leave: Leave::NotToStore, ..PLAIN }, Decision::Pass(UriMiss));
        check(
            RequestFacts { leave: Leave::NotToStore, stored: Stored::Passed, ..PLAIN },
            Decision::Pass(UriMiss),
        );
        check(RequestFacts { leave: Leave::NotToForward, ..PLAIN }, Decision::Decline);
        check(RequestFacts { leave: Leave::NotToForward, stored: stale, ..PLAIN }, Decision::Decline);
        let fresh = Stored::Usable(Reuse::Fresh);
        check(RequestFacts { leave: Leave::NotToForward, stored: fresh, ..PLAIN }, Decision::Serve);
    }
}
