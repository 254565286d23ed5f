use std::io;
use std::path::{Path, PathBuf};

use http::header::{self, HeaderMap, HeaderValue};
use s3s::dto::{
    ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Range as S3Range, Timestamp,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use yatagarasu_core::Method;
use yatagarasu_core::http::conditional::{Verdict, evaluate, range_applies};
use yatagarasu_core::http::content_range::unsatisfied_range;
use yatagarasu_core::http::range::requested;

use super::located::{Located, locate};
use super::sidecars::BUCKET;
use super::sidecars::Sidecars;

/// The files of one folder as the objects of one bucket: `s3s-fs` reads them, but decides nothing.
///
/// It takes keys for paths as they come, knows no conditions, and reads whole files to compute entity tags.
pub(super) struct ReadOnlyFiles {
    files: FileSystem,
    objects: PathBuf,
    sidecars: Sidecars,
}

impl ReadOnlyFiles {
    /// Serves what lies in the bucket's folder below `root`; `objects` is its canonical path.
    pub(super) fn new(root: &Path, objects: &Path) -> io::Result<Self> {
        let files = FileSystem::new(root).map_err(|error| io::Error::other(S3Error::from(error)))?;
        Ok(Self { files, objects: objects.to_owned(), sidecars: Sidecars::new(root) })
    }

    /// Finds the object that is asked for, decides the request's conditions, and readies `s3s-fs` for it.
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
}

/// Finds the part of an object that a GET asks for, cut to what the object has; `None` where it is the whole.
fn part(found: &Located, asked: &HeaderMap) -> S3Result<Option<S3Range>> {
    // Several ranges at once S3 does not know.
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

/// An error whose answer has one field of its own.
fn with_field(code: S3ErrorCode, name: header::HeaderName, value: HeaderValue) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.insert(name, value);
    let mut error = S3Error::new(code);
    error.set_headers(headers);
    error
}

/// The media type that a key's extension stands for.
fn content_type(key: &str) -> String {
    mime_guess::from_path(key).first_raw().unwrap_or("application/octet-stream").to_owned()
}
