//! Objects that stand beside others in a content coding: `app.js.br` for `app.js`.

use std::sync::Arc;

use http::StatusCode;
use http::header::{ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use yatagarasu_core::http::coding::{Accepted, Coding, is_about_bytes, vary_by_coding};
use yatagarasu_core::{CacheKey, Gateway, ObjectKey, Outcome, Reply, Request, SourceTrace};

use crate::service::buckets::Bucket;
use crate::service::content_types;
use crate::service::site::{is_missing, is_refused};

/// Types that say nothing of what is packed.
const PACKED: [&str; 8] = [
    "binary/octet-stream",
    "application/octet-stream",
    "application/gzip",
    "application/x-gzip",
    "application/zstd",
    "application/x-zstd",
    "application/brotli",
    "application/x-brotli",
];

/// The codings of an object that a client may get, the best one first.
#[derive(Debug)]
pub(super) struct Precompressed(Vec<Coding>);

impl Precompressed {
    /// Returns the codings to look for. Returns `None` if the object is served as it is.
    pub(super) fn of(bucket: &Bucket, key: &str, headers: &HeaderMap) -> Option<Self> {
        if is_about_bytes(headers) {
            return None;
        }
        Self::accepted(bucket, key, || Accepted::of(headers))
    }

    /// Returns the codings to look for, for a client that accepts these.
    pub(super) fn accepted(bucket: &Bucket, key: &str, accepted: impl FnOnce() -> Accepted) -> Option<Self> {
        let compression = bucket.config.compression.as_ref().filter(|_| bucket.config.precompressed)?;
        content_types::of_key(key).filter(|value| compression.types.have(value.as_bytes()))?;
        let codings: Vec<_> = compression.codings_for(accepted()).collect();
        (!codings.is_empty()).then_some(Self(codings))
    }

    /// Returns what the keys of the objects end with, in the order in which they are looked for.
    pub(super) fn extensions(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|coding| coding.extension())
    }

    /// Looks for the object in one of the codings. Returns `None` if there is none, or S3 cannot say. `trace` records the
    /// requests to S3.
    pub(super) async fn find(
        &self,
        gateway: &Gateway,
        request: &Request,
        trace: &Arc<SourceTrace>,
    ) -> Option<Outcome> {
        // It must not be compressed a second time.
        let mut headers = request.headers.clone();
        headers.remove(ACCEPT_ENCODING);
        for coding in &self.0 {
            let object = ObjectKey::parse(&format!("{}{}", request.key.object, coding.extension())).ok()?;
            let key = CacheKey::new(object, request.key.query.clone());
            let beside = Request { method: request.method, key, headers: headers.clone() };
            let mut outcome = gateway.execute_uncounted(beside, trace).await;
            if let Ok(reply) = &mut outcome.reply {
                describe(reply, *coding, &request.key.object);
                return Some(outcome);
            }
            // If S3 cannot say, the object itself may be stored.
            if !is_missing(&outcome) && !is_refused(&outcome) {
                return None;
            }
        }
        None
    }
}

/// Writes the fields of an object that is sent in the place of `object`.
fn describe(reply: &mut Reply, coding: Coding, object: &ObjectKey) {
    vary_by_coding(&mut reply.headers);
    // Ranges are those of the object itself.
    reply.headers.remove(ACCEPT_RANGES);
    if reply.status == StatusCode::NOT_MODIFIED {
        return;
    }
    reply.headers.insert(CONTENT_ENCODING, coding.value());
    let is_packed = reply.headers.get(CONTENT_TYPE).is_none_or(|value| {
        let essence = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        PACKED.iter().any(|packed| essence.trim_ascii().eq_ignore_ascii_case(packed.as_bytes()))
    });
    if let Some(value) = content_types::of_key(object.as_str()).filter(|_| is_packed) {
        reply.headers.insert(CONTENT_TYPE, value);
    }
}
