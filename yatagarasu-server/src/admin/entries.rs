//! `POST /entries` lists what is stored, in the order of the keys. Nothing is asked of S3, and no entry counts as used.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::spawn_blocking;
use yatagarasu_core::cache::entry::EntryKind;
use yatagarasu_core::cache::{Page, Position};
use yatagarasu_core::caching::freshness::Freshness;
use yatagarasu_core::clock::Moment;
use yatagarasu_core::{CacheEntry, CacheKey, Gateway, ObjectKey, Selector};

use crate::admin::{document, order, problem, purge};
use crate::service::buckets::Buckets;

const EXPECTED: &str = "expected {\"bucket\": NAME}, and if need be one of \"key\": KEY, \"prefix\": PREFIX or \
                        \"tag\": TAG, and \"after\": the \"next\" of the page before";

/// Number of entries that a response has at least, if there are so many.
const PAGE: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    bucket: String,
    key: Option<String>,
    prefix: Option<String>,
    tag: Option<String>,
    after: Option<Next>,
}

/// Where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// The key of the last object of this page.
    pub key: String,
    /// Tells apart the entries of one object.
    pub number: u64,
}

/// An entry of the cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The key of the object.
    pub key: String,
    /// The forwarded query, if the entry is for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Which pages' origins it is for, if that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The request fields that the variant is for, one a line, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What is stored.
    pub kind: Kind,
    /// Length of the object, or of what is stored of it.
    pub bytes: u64,
    /// Memory that the entry takes, without the bookkeeping of the cache.
    pub memory: u64,
    /// Age in seconds, that of the response included (RFC 9111 4.2.3).
    pub age: u64,
    /// Seconds for which it stays fresh. Negative for those since it is stale.
    pub ttl: i64,
    /// The codings in which it is stored, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codings: Vec<String>,
    /// The header fields, if a single key was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String)>,
    /// More about a note, such as the error that is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A whole object.
    Object,
    /// Parts of an object.
    Parts,
    /// A remembered error: a missing object, or one that may not be read.
    Error,
    /// A note of the request fields by which variants are chosen.
    Variants,
    /// A note that the object is not stored, so that nobody waits for a fill.
    Pass,
}

/// Returns a page of the entries that the JSON body selects.
pub(super) async fn answer(
    buckets: &Arc<Buckets>,
    headers: &HeaderMap,
    body: Incoming,
) -> Response<Full<Bytes>> {
    let order: Order = match order::read(headers, body, EXPECTED).await {
        Ok(order) => order,
        Err(refused) => return refused,
    };
    let Some(bucket) = buckets.named(&order.bucket) else {
        return purge::no_such_bucket(buckets.all(), &order.bucket);
    };
    let selector = match (order.key, order.prefix, order.tag) {
        (Some(key), None, None) => match ObjectKey::parse(&key) {
            Ok(key) => Selector::Key(key),
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
        },
        (None, Some(prefix), None) => Selector::Prefix(prefix),
        (None, None, Some(tag)) => Selector::Tag(tag),
        (None, None, None) => Selector::All,
        _ => return problem(StatusCode::BAD_REQUEST, EXPECTED),
    };
    let after = order.after.map(|Next { key, number }| Position { object: key.into(), number });
    let (gateway, now) = (bucket.gateway.clone(), bucket.gateway.now());
    // Visiting many entries takes long.
    let listing = spawn_blocking(move || {
        let with_fields = matches!(selector, Selector::Key(_));
        let page = page(&gateway, &selector, after);
        let entries = page.entries.iter().map(|(key, stored)| Entry::of(key, stored, now, with_fields));
        let next = page.next.map(|at| Next { key: at.object.as_ref().to_owned(), number: at.number });
        json!({ "entries": entries.collect::<Vec<_>>(), "next": next })
    });
    match listing.await {
        Ok(listed) => document(StatusCode::OK, &listed),
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "the server stops"),
    }
}

/// Returns at least [`PAGE`] entries, unless there are no more.
fn page(gateway: &Gateway, selector: &Selector, mut after: Option<Position>) -> Page {
    let mut all = Page::default();
    loop {
        let page = gateway.page(selector, after.as_ref());
        all.entries.extend(page.entries);
        after.clone_from(&page.next);
        all.next = page.next;
        if all.next.is_none() || all.entries.len() >= PAGE {
            return all;
        }
    }
}

/// Counts the objects that `selector` selects. Runs on a blocking thread.
pub(super) async fn count(gateway: &Gateway, selector: &Selector) -> u64 {
    let (gateway, selector) = (gateway.clone(), selector.clone());
    let counting = spawn_blocking(move || {
        let (mut count, mut after) = (0, None);
        loop {
            let page = gateway.page(&selector, after.as_ref());
            count += page.entries.iter().filter(|(_, stored)| stored.is_object()).count() as u64;
            after = page.next;
            if after.is_none() {
                return count;
            }
        }
    });
    // The runtime ends, and the cache with it.
    counting.await.unwrap_or(0)
}

impl Entry {
    fn of(key: &CacheKey, stored: &CacheEntry, now: Moment, with_fields: bool) -> Self {
        let (kind, detail) = match stored.kind() {
            EntryKind::Full(_) | EntryKind::Coded(_) => (Kind::Object, None),
            EntryKind::Partial(parts) => (Kind::Parts, Some(format!("of {} bytes", parts.complete_length()))),
            EntryKind::Negative(error) => (Kind::Error, Some(error.to_string())),
            EntryKind::VaryMarker(names) => {
                let names: Vec<_> = names.iter().map(http::HeaderName::as_str).collect();
                (Kind::Variants, Some(names.join(", ")))
            }
            EntryKind::HitForPass => (Kind::Pass, None),
        };
        let seconds = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let text = |value: &Option<Arc<str>>| value.as_deref().map(str::to_owned);
        let forms = stored.forms().iter().filter(|form| form.stored.is_some());
        let headers = if with_fields { stored.meta().headers().into_owned() } else { HeaderMap::new() };
        let shown = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Self {
            key: key.object.as_str().to_owned(),
            query: text(&key.query),
            origin: text(&key.origin),
            variant: text(&key.variant),
            kind,
            bytes: stored.length(),
            memory: stored.weight() as u64,
            age: stored.age(now).as_secs(),
            ttl: match stored.freshness(now) {
                Freshness::Fresh(left) => seconds(left),
                Freshness::Stale(since) => -seconds(since),
            },
            codings: forms.map(|form| form.coding.name().to_owned()).collect(),
            fields: headers.iter().map(shown).collect(),
            detail,
        }
    }
}
