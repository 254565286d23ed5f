//! The policy of the request path as one pure function, without I/O.

use crate::cache::reuse::Reuse;
use crate::caching::cache_status::Forward;
use crate::http::method::Method;

/// The facts a plan is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
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
    Nothing(Forward),
    /// A note that the object is not storable.
    Passed,
    /// An entry that may be used this way.
    Usable(Reuse),
}

/// The action to take for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Serve the stored entry.
    Serve,
    /// Serve the stored entry, and revalidate it in the background.
    ServeAndRevalidate,
    /// Answer 504: no stored entry may be used, and the client forbids forwarding.
    Decline,
    /// Join the running fill or begin one, which fetches or revalidates the whole object and stores it.
    Fill(Forward),
    /// Join the running fill, or pass to the source if there is none.
    Join(Forward),
    /// Pass to the source, and store the answer if allowed.
    PassAndKeep(Forward),
    /// Pass to the source, and store nothing.
    Pass(Forward),
}

/// Returns the action to take for a request.
pub fn plan(facts: Facts) -> Plan {
    let reason = match (facts.caching, facts.stored) {
        (Caching::Off, _) => return Plan::Pass(Forward::Bypass),
        (Caching::On, Stored::Usable(Reuse::Fresh | Reuse::Accepted)) => return Plan::Serve,
        (Caching::On, Stored::Usable(Reuse::WhileRevalidating)) => return Plan::ServeAndRevalidate,
        (Caching::On, Stored::Usable(Reuse::Validated(reason)) | Stored::Nothing(reason)) => reason,
        (Caching::On, Stored::Passed) => Forward::UriMiss,
    };
    match (facts.leave, facts.stored, facts.method, facts.scope) {
        (Leave::NotToForward, ..) => Plan::Decline,
        (Leave::NotToStore, ..) => Plan::Pass(reason),
        (Leave::Everything, Stored::Passed, ..) => Plan::PassAndKeep(reason),
        (Leave::Everything, _, Method::Get, Scope::Whole) => Plan::Fill(reason),
        (Leave::Everything, _, Method::Get, Scope::Part) | (Leave::Everything, _, Method::Head, _) => {
            Plan::Join(reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Facts = Facts {
        method: Method::Get,
        scope: Scope::Whole,
        leave: Leave::Everything,
        caching: Caching::On,
        stored: Stored::Nothing(Forward::UriMiss),
    };

    #[test]
    fn every_case_has_its_plan() {
        use Forward::{Bypass, Request, Stale, UriMiss, VaryMiss};
        let check = |facts, expected| assert_eq!(plan(facts), expected, "{facts:?}");
        let stored = |stored| Facts { stored, ..PLAIN };
        check(Facts { caching: Caching::Off, leave: Leave::NotToForward, ..PLAIN }, Plan::Pass(Bypass));
        check(stored(Stored::Usable(Reuse::Fresh)), Plan::Serve);
        check(stored(Stored::Usable(Reuse::Accepted)), Plan::Serve);
        check(stored(Stored::Usable(Reuse::WhileRevalidating)), Plan::ServeAndRevalidate);
        check(stored(Stored::Usable(Reuse::Validated(Request))), Plan::Fill(Request));
        check(stored(Stored::Nothing(VaryMiss)), Plan::Fill(VaryMiss));
        check(stored(Stored::Passed), Plan::PassAndKeep(UriMiss));
        check(Facts { scope: Scope::Part, ..PLAIN }, Plan::Join(UriMiss));
        check(Facts { method: Method::Head, ..PLAIN }, Plan::Join(UriMiss));
        let stale = Stored::Usable(Reuse::Validated(Stale));
        check(Facts { method: Method::Head, stored: stale, ..PLAIN }, Plan::Join(Stale));
        check(Facts { leave: Leave::NotToStore, ..PLAIN }, Plan::Pass(UriMiss));
        check(Facts { leave: Leave::NotToStore, stored: Stored::Passed, ..PLAIN }, Plan::Pass(UriMiss));
        check(Facts { leave: Leave::NotToForward, ..PLAIN }, Plan::Decline);
        check(Facts { leave: Leave::NotToForward, stored: stale, ..PLAIN }, Plan::Decline);
        let fresh = Stored::Usable(Reuse::Fresh);
        check(Facts { leave: Leave::NotToForward, stored: fresh, ..PLAIN }, Plan::Serve);
    }
}
