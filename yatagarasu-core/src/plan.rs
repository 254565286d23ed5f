//! All policy of the request path, in one place and without I/O.

use crate::Method;
use crate::freshness::Freshness;
use crate::outcome::Forward;

/// What is known before anything is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What the client wants.
    pub method: Method,
    /// Whether the bucket has a cache.
    pub caching: Caching,
    /// What is stored under the key.
    pub stored: Option<Freshness>,
    /// What the client makes its request depend on.
    pub scope: Scope,
}

/// Whether a bucket's objects are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// Those that may be.
    On,
    /// None.
    Off,
}

/// How much of an object a client asks for, and on which conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The whole object, whatever it is.
    Whole,
    /// The whole object, if its conditions hold.
    Conditional,
    /// A part of it.
    Part,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Answer from what is stored.
    Serve,
    /// Join the fill that is running, or begin one: fetch the whole object and store it if it may be.
    Fill(Forward),
    /// Let the source decide the client's conditions; store the object if it comes whole.
    PassAndKeep(Forward),
    /// Pass the request and its answer.
    Pass(Forward),
}

/// Decides what to do with a request.
pub fn plan(facts: Facts) -> Plan {
    let reason = match (facts.caching, facts.stored) {
        (Caching::Off, _) => return Plan::Pass(Forward::Bypass),
        (Caching::On, Some(Freshness::Fresh(_))) => return Plan::Serve,
        (Caching::On, Some(Freshness::Stale)) => Forward::Stale,
        (Caching::On, None) => Forward::UriMiss,
    };
    match (facts.method, facts.scope) {
        (Method::Get, Scope::Whole) => Plan::Fill(reason),
        (Method::Get, Scope::Conditional) => Plan::PassAndKeep(reason),
        (Method::Get, Scope::Part) | (Method::Head, _) => Plan::Pass(reason),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_case_has_its_plan() {
        use Forward::{Bypass, Stale, UriMiss};
        let fresh = Some(Freshness::Fresh(Duration::from_secs(1)));
        let stale = Some(Freshness::Stale);
        let check = |caching, stored, method, scope, expected| {
            assert_eq!(plan(Facts { method, caching, stored, scope }), expected);
        };
        check(Caching::Off, None, Method::Get, Scope::Whole, Plan::Pass(Bypass));
        check(Caching::On, fresh, Method::Get, Scope::Part, Plan::Serve);
        check(Caching::On, fresh, Method::Head, Scope::Whole, Plan::Serve);
        check(Caching::On, None, Method::Get, Scope::Whole, Plan::Fill(UriMiss));
        check(Caching::On, stale, Method::Get, Scope::Whole, Plan::Fill(Stale));
        check(Caching::On, None, Method::Get, Scope::Conditional, Plan::PassAndKeep(UriMiss));
        check(Caching::On, None, Method::Get, Scope::Part, Plan::Pass(UriMiss));
        check(Caching::On, stale, Method::Head, Scope::Conditional, Plan::Pass(Stale));
    }
}
