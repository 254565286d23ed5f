//! What the gateway of a bucket would do for an object.

use std::collections::BTreeMap;

use http::StatusCode;
use http::request::Parts;
use yatagarasu_core::caching::cache_status::ForwardReason;
use yatagarasu_core::caching::freshness::Freshness;
use yatagarasu_core::gateway::decision::Decision;
use yatagarasu_core::gateway::explain::{StoredContent, StoredState};
use yatagarasu_core::http::coding::Accepted;
use yatagarasu_core::http::fields::drop_hops;
use yatagarasu_core::{CachePolicy, Method, ObjectControl, ObjectMeta, Request, SourceRequest};

use crate::service::buckets::Bucket;
use crate::service::destination::Destination;
use crate::service::explain::{Explanation, Finding, RuleFile, Sent, Stored, shown};
use crate::service::precompressed::Precompressed;
use crate::service::router::{decode, without_dots, without_port};
use crate::service::site::rules::redirects::Ruled;
use crate::service::site::{RulesSeen, SeenFile, Website};
use crate::service::target::host_of;

/// Completes the explanation of a request for an object.
pub(super) fn explain(
    explanation: &mut Explanation,
    bucket: &Bucket,
    destination: Destination,
    head: &Parts,
) {
    let Destination { method, key, .. } = destination;
    let seen = site(explanation, bucket, key.object.as_str(), head);
    if seen {
        return;
    }
    let mut headers = head.headers.clone();
    drop_hops(&mut headers);
    let request = Request { method, key, headers };
    let found = bucket.gateway.explain(request.clone());
    if let (Decision::Serve, Some(state)) = (found.decision, &found.stored) {
        explanation.status = state.status.map(|status| status.as_u16());
    }
    explanation.stored = found.stored.map(stored);
    if let Some(note) = beside(bucket, &request) {
        explanation.notes.push(note);
    }
    let origin = &bucket.origins[0];
    explanation.s3 = found.asked.map(|asked| Sent {
        method: sent_method(method, found.decision).to_owned(),
        url: origin.built.url_of(&request.key.object, asked.query.as_deref()),
        headers: sent(&asked),
    });
    let filling = if found.is_filling { "; it joins the fill that runs" } else { "" };
    let (is, because) = decided(found.decision);
    explanation.decision = Finding::new(is, format!("{because}{filling}"));
    if let (Decision::Serve, Some(site)) = (found.decision, &bucket.site) {
        served_by_site(explanation, site, found.meta.as_ref());
    }
    if found.decision == Decision::Decline {
        explanation.status = Some(StatusCode::GATEWAY_TIMEOUT.as_u16());
    }
    explanation.lifetime = Some(match &bucket.config.cache {
        None => Finding::new("none", "the bucket has no cache (`cache.enabled: false`)"),
        Some(cache) => lifetime(&cache.policy),
    });
    if found.decision != Decision::Serve {
        notes(explanation, bucket);
    }
}

/// Records what a website has to say. Returns `true` if that is all.
fn site(explanation: &mut Explanation, bucket: &Bucket, key: &str, head: &Parts) -> bool {
    let Some(site) = &bucket.site else { return false };
    let host = host_of(head).map(without_port);
    let path = decode(head.uri.path()).map(without_dots).unwrap_or_default();
    let RulesSeen { redirects, fields, first, otherwise, is_hidden } = site.see(host.as_deref(), &path, key);
    for file in [redirects, fields].into_iter().flatten() {
        explanation.rules.push(rule_file(file));
    }
    if is_hidden {
        let because = "the object has rules of the website, which clients do not get";
        explanation.decision = Finding::new("not_found", because);
        explanation.status = Some(404);
        return true;
    }
    if let Some((line, ruled)) = first {
        let because = format!("line {line} of the website's redirects goes before objects (`!`)");
        match ruled {
            Ruled::Redirect(status, location) => {
                explanation.decision = Finding::new("redirect", because);
                explanation.status = Some(status.as_u16());
                explanation.location = Some(shown(&site.reference(location)));
            }
            Ruled::Page(status, path) => {
                explanation.decision = Finding::new("page", format!("{because}: the page is `{path}`"));
                explanation.status = Some(status.as_u16());
            }
        }
        return true;
    }
    let mut instead = site.instead_of(key, head.uri.path());
    if let Some((line, ruled)) = otherwise {
        let rule = match ruled {
            Ruled::Redirect(status, location) => {
                format!("{} to `{}`", status.as_u16(), shown(&site.reference(location)))
            }
            Ruled::Page(status, path) => format!("the page `{path}` with {}", status.as_u16()),
        };
        instead.push(format!("by line {line} of the website's redirects, {rule}"));
    } else {
        instead.extend(site.pages_instead());
    }
    if !instead.is_empty() {
        explanation.notes.push(format!("if there is no such object: {}", instead.join("; else ")));
    }
    false
}

/// Records what a website makes of what is stored.
fn served_by_site(explanation: &mut Explanation, site: &Website, meta: Option<&ObjectMeta>) {
    if explanation.status == Some(404) {
        let because = "it is stored that there is no such object: see what is served then";
        explanation.decision = Finding::new("instead", because);
        explanation.status = None;
    }
    if let Some(location) = meta.and_then(|meta| site.redirect_of(&meta.headers())) {
        let because = "the stored object is a redirect (`x-amz-website-redirect-location`)";
        explanation.decision = Finding::new("redirect", because);
        explanation.status = Some(301);
        explanation.location = Some(shown(&location));
    }
}

fn rule_file(file: SeenFile) -> RuleFile {
    RuleFile {
        key: file.key.as_str().to_owned(),
        rules: file.rules,
        matching: file.matching,
        left_out: file.bad.first().iter().map(|bad| (bad.line, bad.reason.clone())).collect(),
        more_left_out: file.bad.others,
        endless: file.endless,
    }
}

fn stored(state: StoredState) -> Stored {
    let StoredState { content, length, age, freshness, terms, .. } = state;
    let (fresh_for, stale_for) = match freshness {
        Freshness::Fresh(rest) => (Some(rest.as_secs()), None),
        Freshness::Stale(since) => (None, Some(since.as_secs())),
    };
    let content = match content {
        StoredContent::Whole => "object",
        StoredContent::Part => "part",
        StoredContent::Error => "error",
        StoredContent::Unstorable => "not storable",
    };
    Stored {
        content: content.to_owned(),
        bytes: length,
        age: age.as_secs(),
        fresh_for,
        stale_for,
        lifetime: terms.lifetime.as_secs(),
        stale_while_revalidate: terms.stale_while_revalidate.as_secs(),
        stale_if_error: terms.stale_if_error.as_secs(),
    }
}

/// Returns the name of a decision, and its reason.
fn decided(decision: Decision) -> (&'static str, String) {
    match decision {
        Decision::Serve => ("serve", "it is stored, and may be served as it is".to_owned()),
        Decision::ServeAndRevalidate => {
            ("serve_and_revalidate", "it is stale, and served while it is revalidated".to_owned())
        }
        Decision::Decline => {
            ("refuse", "the client has `only-if-cached`, and nothing stored may be served".to_owned())
        }
        Decision::Fill(reason) => {
            ("fill", format!("{}: the whole object is fetched and stored", why(reason)))
        }
        Decision::Join(reason) => (
            "join",
            format!("{}: a fill that runs is joined, else S3 is asked as the client asks", why(reason)),
        ),
        Decision::PassAndKeep(reason) => (
            "pass",
            format!("{}: S3 is asked as the client asks, and its answer stored if it may be", why(reason)),
        ),
        Decision::Pass(reason) => {
            ("pass", format!("{}: S3 is asked as the client asks, and nothing is stored", why(reason)))
        }
    }
}

fn why(reason: ForwardReason) -> &'static str {
    match reason {
        ForwardReason::Bypass => "the bucket has no cache",
        ForwardReason::UriMiss => "nothing that may be served is stored under the key",
        ForwardReason::VaryMiss => "other variants of the object are stored, but not this one",
        ForwardReason::Stale => "what is stored is stale",
        ForwardReason::Request => "the client's `Cache-Control` wants what is stored validated",
        ForwardReason::Partial => "only other parts of the object are stored",
        ForwardReason::Method => "answers to this method are not stored",
    }
}

/// Returns what is looked for in content codings before the object, or instead of it.
fn beside(bucket: &Bucket, request: &Request) -> Option<String> {
    let key = request.key.object.as_str();
    if let Some(precompressed) = Precompressed::of(bucket, key, &request.headers) {
        let keys: Vec<_> =
            precompressed.extensions().map(|extension| format!("`{key}{extension}`")).collect();
        return Some(format!("before it, {} (`compression.precompressed`)", keys.join(", then ")));
    }
    let compression = bucket.config.compression.as_ref().filter(|compression| compression.compress)?;
    let coding = compression.codings_for(Accepted::of(&request.headers)).next()?;
    let name = coding.name();
    Some(format!(
        "if it is stored and may be compressed, in `{name}` once that has been made (`compression`)"
    ))
}

/// Returns the method of the request to S3.
fn sent_method(method: Method, decision: Decision) -> &'static str {
    match (method, decision) {
        (Method::Head, Decision::Join(_) | Decision::Pass(_) | Decision::PassAndKeep(_)) => "HEAD",
        (Method::Get | Method::Head, _) => "GET",
    }
}

fn sent(asked: &SourceRequest) -> BTreeMap<String, String> {
    asked.headers.iter().map(|(name, value)| (name.to_string(), shown(value))).collect()
}

/// Returns the lifetime of an object as far as the configuration tells.
fn lifetime(policy: &CachePolicy) -> Finding {
    let ttl = format!("{} s", policy.ttl.as_secs());
    match policy.cache_control {
        ObjectControl::Respect => {
            let heuristic = if policy.heuristic_freshness {
                ", or a tenth of the time since its last change (`heuristic_freshness`)"
            } else {
                ""
            };
            let because = format!(
                "`cache.ttl`, unless the object's `Cache-Control` or `Expires` says otherwise{heuristic}"
            );
            Finding::new(ttl, because)
        }
        ObjectControl::Ignore => {
            Finding::new(ttl, "`cache.ttl`, whatever the object says (`cache_control: ignore`)")
        }
        ObjectControl::Override => Finding::new(
            ttl,
            "`cache.ttl`, unless the object forbids storing or reuse (`cache_control: override`)",
        ),
    }
}

fn notes(explanation: &mut Explanation, bucket: &Bucket) {
    if let Some(cache) = &bucket.config.cache {
        let most = cache.policy.max_item_size;
        explanation.notes.push(format!(
            "an object of more than {most} bytes is streamed and not stored (`cache.max_item_size`)"
        ));
    }
    if bucket.origins[0].circuit.is_open() {
        let note =
            "S3 has failed too often of late: it is left alone for a while, and requests for it fail at once";
        explanation.notes.push(note.to_owned());
    }
    if !bucket.config.fallbacks.is_empty() {
        let number = bucket.config.fallbacks.len();
        explanation
            .notes
            .push(format!("if S3 cannot answer, there are {number} further sources (`fallbacks`)"));
    }
    let own = &bucket.config.origin.source.request_headers;
    if !own.is_empty() {
        let names: Vec<_> = own.keys().map(|name| format!("`{name}`")).collect();
        explanation
            .notes
            .push(format!("requests to S3 also have {} (`s3.request_headers`)", names.join(", ")));
    }
}
