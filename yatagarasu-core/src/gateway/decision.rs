//! All policy of the request path, in one place and without I/O.

use crate::cache::reuse::Reuse;
use crate::caching::cache_status::Forward;
use crate::http::method::Method;

/// What is known before anything is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What the client wants.
    pub method: Method,
    /// How much of it.
    pub scope: Scope,
    /// What the client's directives allow.
    pub leave: Leave,
    /// Whether the bucket has a cache.
    pub caching: Caching,
    /// What is stored that could answer.
    pub stored: Stored,
}

/// Whether a bucket's objects are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// Those that may be.
    On,
    /// None.
    Off,
}

/// How much of an object a request needs, where it is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of it, or so much that all of it is fetched.
    Whole,
    /// A part that the source can send by itself.
    Part,
}

/// What a client's directives allow where nothing stored may answer (RFC 9111 5.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// To ask the source, and to store what it says.
    Everything,
    /// To ask the source (`no-store`).
    NotToStore,
    /// Nothing (`only-if-cached`).
    NotToForward,
}

/// What is stored that could answer a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Nothing.
    Nothing(Forward),
    /// That the object is not stored.
    Passed,
    /// This.
    Usable(Reuse),
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Answer from what is stored.
    Serve,
    /// Answer from what is stored, and revalidate it for the next ones.
    ServeAndRevalidate,
    /// Answer that nothing stored may be used (504).
    Decline,
    /// Join the fill that is running, or begin one: have the whole object fetched or confirmed, and stored.
    Fill(Forward),
    /// Join the fill that is running, or let the source decide.
    Join(Forward),
    /// Let the source decide, and keep of the answer what may be kept.
    PassAndKeep(Forward),
    /// Let the source decide.
    Pass(Forward),
}

/// Decides what to do with a request.
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
