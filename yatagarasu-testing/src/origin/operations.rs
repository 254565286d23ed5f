//! The operations of S3 on the objects of an origin.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderValue};
use s3s::dto::{
    CommonPrefix, ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    ListObjectsV2Input, ListObjectsV2Output, Metadata, Object, Timestamp,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use yatagarasu_core::Method;
use yatagarasu_core::source::list::{Listed, Listing};

use super::MemoryObjects;
use crate::listing::page_of;

/// Reads and lists objects. Everything else is not implemented.
pub(super) struct Operations(pub(super) Arc<MemoryObjects>);

#[async_trait::async_trait]
impl S3 for Operations {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.0.gets.fetch_add(1, Ordering::Relaxed);
        let input = &request.input;
        let (stored, part, content_range) =
            self.0.open(Method::Get, &input.bucket, &input.key, &request.headers)?;
        let mut response = S3Response::new(GetObjectOutput {
            content_length: i64::try_from(part.end - part.start).ok(),
            content_range,
            accept_ranges: Some("bytes".to_owned()),
            e_tag: etag(&stored.headers),
            last_modified: modified(&stored.headers),
            metadata: Some(metadata(&stored.headers)),
            body: Some(stored.content.part(part, &self.0.pattern_bytes)),
            ..GetObjectOutput::default()
        });
        response.headers = others(&stored.headers);
        Ok(response)
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.0.heads.fetch_add(1, Ordering::Relaxed);
        let input = &request.input;
        let (stored, ..) = self.0.open(Method::Head, &input.bucket, &input.key, &request.headers)?;
        let mut response = S3Response::new(HeadObjectOutput {
            content_length: i64::try_from(stored.content.length()).ok(),
            accept_ranges: Some("bytes".to_owned()),
            e_tag: etag(&stored.headers),
            last_modified: modified(&stored.headers),
            metadata: Some(metadata(&stored.headers)),
            ..HeadObjectOutput::default()
        });
        response.headers = others(&stored.headers);
        Ok(response)
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let is_escaped = input.encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == "url");
        let form = |text: String| if is_escaped { escaped(&text) } else { text };
        let listing = Listing {
            prefix: input.prefix.unwrap_or_default(),
            delimiter: input.delimiter,
            continuation: input.continuation_token,
            keys_max: input.max_keys.and_then(|keys| keys.try_into().ok()).unwrap_or(1000),
        };
        let page =
            page_of(self.0.listed(&input.bucket)?, &listing).ok_or_else(|| s3_error!(InvalidArgument))?;
        let object = |object: Listed| Object {
            key: Some(form(object.key)),
            size: i64::try_from(object.size).ok(),
            last_modified: object.modified.map(Timestamp::from),
            e_tag: object.etag.map(|etag| ETag::Strong(etag.trim_matches('"').to_owned())),
            ..Object::default()
        };
        let folder = |prefix: String| CommonPrefix { prefix: Some(form(prefix)) };
        Ok(S3Response::new(ListObjectsV2Output {
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            encoding_type: input.encoding_type,
            contents: Some(page.objects.into_iter().map(object).collect()),
            common_prefixes: Some(page.folders.into_iter().map(folder).collect()),
            name: Some(input.bucket),
            ..ListObjectsV2Output::default()
        }))
    }
}

/// Escapes a text as S3 does if it is asked to (`encoding-type=url`).
fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Returns the value of a field that `s3s` has a typed member for. All other fields are set on the response
/// unchanged.
fn typed(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn etag(headers: &HeaderMap) -> Option<ETag> {
    typed(headers, "etag").map(|etag| ETag::Strong(etag.trim_matches('"').to_owned()))
}

fn modified(headers: &HeaderMap) -> Option<Timestamp> {
    let modified = httpdate::parse_http_date(&typed(headers, "last-modified")?).ok()?;
    let seconds = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    Some(Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
}

fn metadata(headers: &HeaderMap) -> Metadata {
    let named = headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().strip_prefix("x-amz-meta-")?.to_owned(), value.to_str().ok()?.to_owned()))
    });
    named.collect()
}

/// Returns the fields to set on the response in addition to the typed ones.
fn others(headers: &HeaderMap) -> HeaderMap {
    let mut others = headers.clone();
    for name in ["etag", "last-modified"] {
        others.remove(name);
    }
    let named: Vec<_> =
        others.keys().filter(|name| name.as_str().starts_with("x-amz-meta-")).cloned().collect();
    for name in named {
        others.remove(name);
    }
    others.insert("x-amz-request-id", HeaderValue::from_static("4442587FB7D0A2F9"));
    others.insert(
        "x-amz-id-2",
        HeaderValue::from_static(
            "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYBDXOo6QBU0Wo=",
        ),
    );
    others
}
