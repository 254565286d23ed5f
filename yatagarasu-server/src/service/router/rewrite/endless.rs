//! Finds redirects without an end.

use percent_encoding::percent_decode_str;

use crate::service::router::rewrite::pattern::PathPattern;
use crate::service::router::rewrite::target::Target;

/// After this many redirects browsers give up (Fetch, "HTTP-redirect fetch").
const REDIRECTS_MAX: usize = 20;

/// A step of a client. Without a target it is the last one.
pub(crate) type Hop<'a> = (&'a PathPattern, Option<&'a Target>);

/// What becomes of a redirect from a path to the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SamePath {
    /// It is sent, and clients come back.
    LeadsOn,
    /// It is not sent.
    Ends,
}

/// Returns the numbers of the redirects that lead back to themselves, or on and on. A path that no pattern is for may have
/// another form. At most `compared_max` paths are compared with patterns: what is beyond that counts as ending.
pub(crate) fn endless_hops(
    hops: &[Hop<'_>],
    other_form: impl Fn(&str) -> String,
    same_path: SamePath,
    compared_max: usize,
) -> impl Iterator<Item = usize> {
    let is_redirect = |to: Option<&Target>| to.is_some_and(Target::is_path);
    let mut left = compared_max;
    (0..hops.len()).filter(move |&index| is_redirect(hops[index].1)).filter(move |&index| {
        let mut path = hops[index].0.sample();
        for _ in 0..=REDIRECTS_MAX {
            left = left.saturating_sub(hops.len());
            if left == 0 {
                return false;
            }
            let other = other_form(&path);
            let matching = hops.iter().find_map(|(from, to)| {
                let captured = from.captures(&path).or_else(|| from.captures(&other))?;
                Some((*to, captured))
            });
            let Some((Some(to), captured)) = matching.filter(|(to, _)| is_redirect(*to)) else {
                return false;
            };
            // What gets longer and longer leads on and on, too.
            let Some(next) = to.path(&captured) else { return true };
            // A query or a fragment is no part of the next path.
            let end = next.find(['?', '#']).unwrap_or(next.len());
            let next = percent_decode_str(&next[..end]).decode_utf8_lossy().into_owned();
            if next == path && same_path == SamePath::Ends {
                return false;
            }
            path = next;
        }
        true
    })
}
