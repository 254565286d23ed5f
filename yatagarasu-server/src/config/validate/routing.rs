//! Validates what leads to a bucket: its hosts, what stands before its keys, and the paths that lead to others.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use yatagarasu_core::ObjectKey;

use crate::config::error::ErrorSink;
use crate::config::keys::{BucketSettings, Choice, RewriteSettings, Several};
use crate::config::validate::bucket::one_form;
use crate::service::router::rewrite::{PathPattern, Target, endless};
use crate::service::router::{HostPattern, KeyPrefix, Rewrite};

/// Maximum length of what stands before a key. A key has 1,024 bytes at most.
const KEY_PREFIX_BYTES_MAX: usize = 512;

/// Returns the hosts of a bucket.
pub(super) fn hosts(given: &[String], key: &str, complain: ErrorSink<'_>) -> Option<Vec<HostPattern>> {
    let parsed = given.iter().enumerate().map(|(index, text)| {
        let parsed = HostPattern::parse(text);
        parsed
            .map_err(|reason| complain(&format!("{key}[{index}]"), &format!("{reason}; found `{text}`")))
            .ok()
    });
    // All errors, and not the first only.
    let parsed: Vec<_> = parsed.collect();
    parsed.into_iter().collect()
}

/// Returns what stands before the keys of a bucket with these hosts.
pub(super) fn key_prefix(
    given: &str,
    hosts: Option<&[HostPattern]>,
    key: &str,
    complain: ErrorSink<'_>,
) -> Option<KeyPrefix> {
    let prefix = KeyPrefix::parse(given).map_err(|reason| complain(key, &reason)).ok()?;
    let has_dot = given.split('/').any(|segment| matches!(segment, "." | ".."));
    let is_key = given.is_empty() || ObjectKey::parse(given).is_ok();
    let is_folder = given.is_empty() || given.ends_with('/');
    if has_dot || given.starts_with('/') || !is_folder || !is_key || given.len() > KEY_PREFIX_BYTES_MAX {
        // Without the slash, the path `/b` of the host `a` would lead to the keys of the host `ab`.
        let message =
            format!("expected a folder with a `/` at its end such as \"sites/www/\", found `{given}`");
        complain(key, &message);
        return None;
    }
    let are_wild = |hosts: &[HostPattern]| {
        !hosts.is_empty() && hosts.iter().all(|host| matches!(host, HostPattern::Below(_)))
    };
    if prefix.has_label() && hosts.is_some_and(|hosts| !are_wild(hosts)) {
        complain(key, "`{label}` is what the `*` in `hosts` stands for: each host has to begin with `*.`");
        return None;
    }
    Some(prefix)
}

/// Returns the rules that lead the paths of a bucket to others.
pub(super) fn rewrites(
    given: &Several<RewriteSettings>,
    (hosts, path_prefix): (Option<&[HostPattern]>, Option<&str>),
    key: &str,
    complain: ErrorSink<'_>,
) -> Option<Vec<Rewrite>> {
    let rules = given.0.iter().enumerate().map(|(index, rule)| {
        let place = if given.0.len() == 1 { key.to_owned() } else { format!("{key}[{index}]") };
        rewrite(rule, path_prefix?, &place, complain)
    });
    // All errors, and not the first only.
    let rules: Vec<_> = rules.collect();
    let rules: Vec<_> = rules.into_iter().collect::<Option<_>>()?;
    let repeated = |index: &usize| rules[..*index].iter().any(|before| before.from == rules[*index].from);
    if let Some(index) = (1..rules.len()).find(repeated) {
        let message = format!("`{}` is taken by a rule before", rules[index].from);
        complain(&format!("{key}[{index}].from"), &message);
    }
    // A pattern with `*` may have a more specific host beside it.
    let is_own = |host: &str| {
        let is_host = |own: &HostPattern| matches!(own, HostPattern::Exact(name) if name == host);
        hosts.into_iter().flatten().any(is_host)
    };
    if let Some(index) = endless(&rules, is_own) {
        let rule = &rules[index];
        complain(key, &format!("redirects without an end: `{}` leads to `{}`, and on", rule.from, rule.to));
    }
    Some(rules)
}

fn rewrite(rule: &RewriteSettings, path_prefix: &str, key: &str, complain: ErrorSink<'_>) -> Option<Rewrite> {
    let RewriteSettings { from, to, status: Choice(status) } = rule;
    let (from_key, to_key) = (format!("{key}.from"), format!("{key}.to"));
    let Some(from) = from else {
        complain(&from_key, "expected a path such as \"/old/{rest}\"");
        return None;
    };
    let Some(to) = to else {
        complain(&to_key, "expected a path such as \"/new/{rest}\"");
        return None;
    };
    let pattern = PathPattern::parse(from).map_err(|reason| complain(&from_key, &reason)).ok()?;
    let target = Target::parse(to, &pattern).map_err(|reason| complain(&to_key, &reason)).ok()?;
    if let Some(reason) = no_path(from) {
        complain(&from_key, &format!("expected a path {reason}; found `{from}`"));
        return None;
    }
    if let Some(reason) = no_path(to).filter(|_| status.code().is_none()) {
        complain(&to_key, &format!("expected a path {reason}, which no `status` redirects to; found `{to}`"));
        return None;
    }
    let folder = format!("{}/", path_prefix.trim_end_matches('/'));
    if !pattern.beginning().starts_with(&folder) {
        complain(
            &from_key,
            &format!("expected a path below `{folder}`, which is the bucket's; found `{from}`"),
        );
        return None;
    }
    if status.code().is_none() && (!target.is_path() || !target.beginning().starts_with(&folder)) {
        let message = format!(
            "expected a path below `{folder}`, which is the bucket's; found `{to}`: set `status` to redirect there"
        );
        complain(&to_key, &message);
        return None;
    }
    Some(Rewrite { from: pattern, to: target, status: status.code() })
}

/// Returns what a text should be like to be a decoded path, if it is none.
fn no_path(text: &str) -> Option<&'static str> {
    if text.contains(['?', '#']) {
        return Some("without a query or a fragment");
    }
    if percent_decode_str(text).ne(text.bytes()) {
        return Some("that is not escaped");
    }
    text.split('/').any(|segment| matches!(segment, "." | "..")).then_some("without `.` and `..`")
}

/// Reports buckets that others hide: with the same prefix for the same host.
pub(super) fn distinct(buckets: &[BucketSettings], complain: ErrorSink<'_>) {
    let mut seen = HashMap::new();
    for (index, bucket) in buckets.iter().enumerate() {
        // As written, so that duplicates are found even if a bucket has another error.
        let Some(prefix) = bucket.path_prefix.as_deref().filter(|prefix| prefix.starts_with('/')) else {
            continue;
        };
        let prefix = one_form(prefix);
        let named = bucket.hosts.iter().filter_map(|host| HostPattern::parse(host).ok()).map(Some);
        let hosts: Vec<_> = if bucket.hosts.is_empty() { vec![None] } else { named.collect() };
        let taken = hosts.into_iter().find_map(|host| {
            let first = *seen.entry((host.clone(), prefix.clone())).or_insert(index);
            (first != index).then_some((host, first))
        });
        if let Some((host, first)) = taken {
            let host = host.map(|host| format!(" for the host `{host}`")).unwrap_or_default();
            let message = format!("`{prefix}` is taken by buckets[{first}] already{host}");
            complain(&format!("buckets[{index}].path_prefix"), &message);
        }
    }
}
