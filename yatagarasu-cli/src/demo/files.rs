//! Serves the files of a folder as the objects of the demo's bucket.

use std::io;
use std::path::{Path, PathBuf};

use http::header::{self, HeaderMap, HeaderValue};
use s3s::dto::{
    ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, Range as S3Range, Timestamp,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use yatagarasu_core::Method;
use yatagarasu_core::http::conditional::{Verdict, evaluate, range_applies};
use yatagarasu_core::http::content_range::unsatisfied_range;
use yatagarasu_core::http::range::requested;

use super::folder::page;
use super::located::{Located, locate};
use super::sidecars::BUCKET;
use super::sidecars::Sidecars;

/// The files of one folder as the objects of one bucket. `s3s-fs` reads the files, but keys, conditions and ranges
/// are decided here.
///
/// `s3s-fs` uses keys as paths unchecked, ignores conditions, and reads whole files to compute entity tags.
pub(super) struct ReadOnlyFiles {
    files: FileSystem,
    objects: PathBuf,
    sidecars: Sidecars,
}

impl ReadOnlyFiles {
    /// Serves the bucket's folder below `root`. `objects` is the canonical path of that folder.
    pub(super) fn new(root: &Path, objects: &Path) -> io::Result<Self> {
        let files = FileSystem::new(root).map_err(|error| io::Error::other(S3Error::from(error)))?;
        Ok(Self { files, objects: objects.to_owned(), sidecars: Sidecars::new(root) })
    }

    /// Finds the requested object, evaluates the request's conditions, and stores the entity tag for `s3s-fs`.
    async fn open(&self, bucket: &str, key: &str, asked: &HeaderMap) -> S3Result<Located> {
        if bucket != BUCKET {
            return Err(s3_error!(NoSuchBucket));
        }
        let Some(found) = locate(&self.objects, key).await else {
            return Err(s3_error!(NoSuchKey));
        };
        match evaluate(asked, &found.validators()) {
            Verdict::Proceed => {}
            Verdict::NotModified => {
                return Err(with_field(S3ErrorCode::NotModified, header::ETAG, found.tag_field()));
            }
            Verdict::PreconditionFailed => return Err(s3_error!(PreconditionFailed)),
        }
        self.sidecars.write(key, found.tag()).await;
        Ok(found)
    }
}

#[async_trait::async_trait]
impl S3 for ReadOnlyFiles {
    async fn get_object(
        &self,
        mut request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let GetObjectInput { bucket, key, .. } = &request.input;
        let found = self.open(bucket, key, &request.headers).await?;
        let content_type = content_type(key);
        request.input.range = part(&found, &request.headers)?;
        let mut response = self.files.get_object(request).await?;
        response.output.accept_ranges = Some("bytes".to_owned());
        response.output.content_type = Some(content_type);
        response.output.e_tag = Some(ETag::Strong(found.tag().to_owned()));
        response.output.last_modified = Some(Timestamp::from(found.modified()));
        Ok(response)
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let HeadObjectInput { bucket, key, .. } = &request.input;
        let found = self.open(bucket, key, &request.headers).await?;
        let content_type = content_type(key);
        let mut response = self.files.head_object(request).await?;
        response.output.accept_ranges = Some("bytes".to_owned());
        response.output.content_type = Some(content_type);
        response.output.e_tag = Some(ETag::Strong(found.tag().to_owned()));
        response.output.last_modified = Some(Timestamp::from(found.modified()));
        Ok(response)
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        if request.input.bucket != BUCKET {
            return Err(s3_error!(NoSuchBucket));
        }
        page(&self.objects, request.input).await.map(S3Response::new)
    }
}

/// Returns the range that a GET requests, cut to the object's length, or `None` for the whole object.
fn part(found: &Located, asked: &HeaderMap) -> S3Result<Option<S3Range>> {
    // S3 does not support several ranges in one request, so the whole object is returned.
    let range = requested(asked).and_then(|ranges| ranges.single());
    let (true, Some(range)) = (range_applies(Method::Get, asked, &found.validators()), range) else {
        return Ok(None);
    };
    let Some(part) = range.resolve(found.length()) else {
        let length = unsatisfied_range(found.length());
        return Err(with_field(S3ErrorCode::InvalidRange, header::CONTENT_RANGE, length));
    };
    Ok(Some(S3Range::Int { first: part.start, last: Some(part.end - 1) }))
}

/// Returns an error with one additional header field in its response.
fn with_field(code: S3ErrorCode, name: header::HeaderName, value: HeaderValue) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.insert(name, value);
    let mut error = S3Error::new(code);
    error.set_headers(headers);
    error
}

/// Returns the media type for a key's extension.
fn content_type(key: &str) -> String {
    mime_guess::from_path(key).first_raw().unwrap_or("application/octet-stream").to_owned()
}
