//! Validates the lists of forwarded header fields and query parameters.

use http::HeaderName;
use yatagarasu_core::ForwardedFields;
use yatagarasu_core::http::fields::may_forward;

use crate::config::error::ErrorSink;
use crate::config::keys::ALL;
use crate::config::{ForwardedQuery, query};

/// The error message if the wildcard stands beside names.
const NOT_ALONE: &str = "`*` is everything: it stands alone in the list";

/// Parses the request header fields to forward. Returns `None` on an error.
pub(super) fn headers(given: &[String], key: &str, complain: ErrorSink<'_>) -> Option<ForwardedFields> {
    if given == [ALL] {
        return Some(ForwardedFields::All);
    }
    let (mut names, mut good) = (Vec::new(), true);
    for (index, given) in given.iter().enumerate() {
        match field_name(given) {
            Ok(name) if names.contains(&name) => {}
            Ok(name) => names.push(name),
            Err(message) => {
                complain(&format!("{key}[{index}]"), &message);
                good = false;
            }
        }
    }
    good.then_some(ForwardedFields::Named(names))
}

fn field_name(given: &str) -> Result<HeaderName, String> {
    if given == ALL {
        return Err(NOT_ALONE.to_owned());
    }
    match HeaderName::from_bytes(given.as_bytes()) {
        Ok(name) if may_forward(&name) => Ok(name),
        Ok(name) => Err(format!("`{name}` cannot be listed: the gateway itself decides whether S3 gets it")),
        Err(_) => Err(format!("expected a header field's name, found `{given}`")),
    }
}

/// Parses the query parameters to forward, sorted and without duplicates. Returns `None` on an error.
pub(super) fn query(given: &[String], key: &str, complain: ErrorSink<'_>) -> Option<ForwardedQuery> {
    if given == [ALL] {
        return Some(ForwardedQuery::All);
    }
    let mut good = true;
    for (index, given) in given.iter().enumerate() {
        if let Err(message) = parameter(given) {
            complain(&format!("{key}[{index}]"), &message);
            good = false;
        }
    }
    let mut names = given.to_vec();
    names.sort();
    names.dedup();
    good.then_some(ForwardedQuery::Named(names))
}

fn parameter(given: &str) -> Result<(), String> {
    if given == ALL {
        return Err(NOT_ALONE.to_owned());
    }
    if query::may_forward(given) {
        return Ok(());
    }
    Err(format!("`{given}` cannot be forwarded: it selects an S3 sub-resource or is part of a signature"))
}
