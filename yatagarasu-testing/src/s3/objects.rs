use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use http::header::{self, HeaderMap, HeaderValue};
use s3s::dto::{
    ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Metadata, StreamingBlob,
    Timestamp,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use yatagarasu_core::Method;
use yatagarasu_core::http::conditional::{Verdict, evaluate, range_applies};
use yatagarasu_core::http::content_range::{content_range, unsatisfied_range};
use yatagarasu_core::http::range::requested;
use yatagarasu_core::http::validator::Validators;

/// Objects by bucket and key. Counts what it is asked.
#[derive(Debug, Default)]
pub struct MemoryObjects {
    objects: Mutex<HashMap<(String, String), Arc<Stored>>>,
    public: Mutex<Vec<String>>,
    gets: AtomicU64,
    heads: AtomicU64,
    pattern_bytes: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Stored {
    headers: HeaderMap,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Bytes(Bytes),
    /// This many bytes, each the low byte of its offset over `PATTERN_RUN`: no memory for large objects.
    Pattern(u64),
}

/// Bytes of a pattern that are handed on at a time.
const PATTERN_CHUNK: u64 = 64 * 1024;

/// Bytes of a pattern that are the same in a row; a prime, so that no buffer's length is a multiple of it.
const PATTERN_RUN: usize = 1021;

impl MemoryObjects {
    /// Holds `content` from now on. Fields without an `etag` or `last-modified` get one.
    pub fn put(&self, bucket: &str, key: &str, headers: &[(&str, &str)], content: impl Into<Bytes>) {
        self.hold(bucket, key, headers, Content::Bytes(content.into()));
    }

    /// Holds an object of `length` bytes from now on, without keeping them: see [`pattern`](Self::pattern).
    pub fn put_pattern(&self, bucket: &str, key: &str, length: u64) {
        self.hold(bucket, key, &[], Content::Pattern(length));
    }

    /// The bytes of a pattern object from `start` to `end`.
    pub fn pattern(start: u64, end: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::try_from(end - start).expect("within memory"));
        let mut offset = start;
        // By runs, because a build without optimization takes far too long for gibibytes one by one.
        while offset < end {
            let number = offset / PATTERN_RUN as u64;
            let next = end.min((number + 1) * PATTERN_RUN as u64);
            let run = [number.to_le_bytes()[0]; PATTERN_RUN];
            bytes.extend_from_slice(&run[..usize::try_from(next - offset).expect("within a run")]);
            offset = next;
        }
        bytes
    }

    /// Drops an object.
    pub fn remove(&self, bucket: &str, key: &str) {
        self.objects().remove(&(bucket.to_owned(), key.to_owned()));
    }

    /// Lets anyone read `bucket`.
    pub fn publish(&self, bucket: &str) {
        self.public.lock().unwrap_or_else(PoisonError::into_inner).push(bucket.to_owned());
    }

    /// `GetObject` requests so far.
    pub fn gets(&self) -> u64 {
        self.gets.load(Ordering::Relaxed)
    }

    /// `HeadObject` requests so far.
    pub fn heads(&self) -> u64 {
        self.heads.load(Ordering::Relaxed)
    }

    /// Bytes of pattern objects handed to connections so far.
    pub fn pattern_bytes(&self) -> u64 {
        self.pattern_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_public(&self, bucket: &str) -> bool {
        self.public.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|public| public == bucket)
    }

    fn hold(&self, bucket: &str, key: &str, headers: &[(&str, &str)], content: Content) {
        let mut fields = HeaderMap::new();
        fields.insert(header::ETAG, HeaderValue::from_static("\"d41d8cd98f00b204e9800998ecf8427e\""));
        fields.insert(header::LAST_MODIFIED, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        for (name, value) in headers {
            let name: header::HeaderName = name.parse().expect("a test names valid fields");
            fields.insert(name, value.parse().expect("a test gives valid values"));
        }
        self.objects()
            .insert((bucket.to_owned(), key.to_owned()), Arc::new(Stored { headers: fields, content }));
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<(String, String), Arc<Stored>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides conditions and range of a request; gives the object and the part of it that is asked for.
    fn open(
        &self,
        method: Method,
        bucket: &str,
        key: &str,
        asked: &HeaderMap,
    ) -> S3Result<(Arc<Stored>, std::ops::Range<u64>, Option<String>)> {
        let objects = self.objects();
        let Some(stored) = objects.get(&(bucket.to_owned(), key.to_owned())).cloned() else {
            let known = objects.keys().any(|(name, _)| name == bucket);
            return Err(if known { s3_error!(NoSuchKey) } else { s3_error!(NoSuchBucket) });
        };
        drop(objects);
        let validators = Validators::of(&stored.headers);
        match evaluate(asked, &validators) {
            Verdict::PreconditionFailed => return Err(s3_error!(PreconditionFailed)),
            Verdict::NotModified => {
                let mut error = S3Error::new(S3ErrorCode::NotModified);
                error.set_headers(stored.headers.clone());
                return Err(error);
            }
            Verdict::Proceed => {}
        }
        let length = stored.content.length();
        // Several ranges at once S3 does not know.
        let range = requested(asked).and_then(|ranges| ranges.single());
        let (true, Some(range)) = (range_applies(method, asked, &validators), range) else {
            return Ok((stored, 0..length, None));
        };
        let Some(part) = range.resolve(length) else {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, unsatisfied_range(length));
            let mut error = s3_error!(InvalidRange);
            error.set_headers(headers);
            return Err(error);
        };
        let field = content_range(&part, length).to_str().expect("digits").to_owned();
        Ok((stored, part, Some(field)))
    }
}

impl Content {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Pattern(length) => *length,
        }
    }

    fn part(&self, part: std::ops::Range<u64>, sent: &Arc<AtomicU64>) -> StreamingBlob {
        match self {
            Self::Bytes(bytes) => {
                let bound = |offset| usize::try_from(offset).expect("within memory");
                StreamingBlob::from(s3s::Body::from(bytes.slice(bound(part.start)..bound(part.end))))
            }
            Self::Pattern(_) => {
                StreamingBlob::wrap(stream::unfold((part, Arc::clone(sent)), |(mut part, sent)| async move {
                    let next = part.end.min(part.start + PATTERN_CHUNK);
                    sent.fetch_add(next - part.start, Ordering::Relaxed);
                    let chunk = MemoryObjects::pattern(part.start, next);
                    part.start = next;
                    (!chunk.is_empty()).then_some((Ok::<_, std::io::Error>(Bytes::from(chunk)), (part, sent)))
                }))
            }
        }
    }
}

/// Fields that `s3s` has a typed place for; all others are set on the response as they are.
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

/// Fields to be set on the response beside the typed ones.
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

#[async_trait::async_trait]
impl S3 for MemoryObjects {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let input = &request.input;
        let (stored, part, content_range) =
            self.open(Method::Get, &input.bucket, &input.key, &request.headers)?;
        let mut response = S3Response::new(GetObjectOutput {
            content_length: i64::try_from(part.end - part.start).ok(),
            content_range,
            accept_ranges: Some("bytes".to_owned()),
            e_tag: etag(&stored.headers),
            last_modified: modified(&stored.headers),
            metadata: Some(metadata(&stored.headers)),
            body: Some(stored.content.part(part, &self.pattern_bytes)),
            ..GetObjectOutput::default()
        });
        response.headers = others(&stored.headers);
        Ok(response)
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.heads.fetch_add(1, Ordering::Relaxed);
        let input = &request.input;
        let (stored, ..) = self.open(Method::Head, &input.bucket, &input.key, &request.headers)?;
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
}
