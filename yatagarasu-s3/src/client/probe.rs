//! Whether a bucket can be read now.

use yatagarasu_core::{ObjectKey, ObjectSource, SourceError, SourceRequest};

use crate::credentials::Credentials;

/// A key nobody has. Asking for it costs S3 nothing to read and us nothing to throw away.
const ABSENT: &str = ".yatagarasu-probe";

/// Asks for an object that is not there, and reads from the refusal what is wrong, if anything is.
///
/// Without permission to list the bucket, S3 answers `AccessDenied` for what does not exist: that alone does not
/// tell a wrong policy from a right one and counts as reachable.
pub(crate) async fn probe(source: &dyn ObjectSource, credentials: &Credentials) -> Result<(), SourceError> {
    credentials.current().await?;
    let key = ObjectKey::parse(ABSENT).expect("a valid key");
    match source.get(&key, &SourceRequest::default()).await {
        Ok(_) => Ok(()),
        Err(SourceError::NotFound { code, .. }) if code != "NoSuchBucket" => Ok(()),
        Err(SourceError::Denied { code, .. }) if code.is_empty() || code == "AccessDenied" => Ok(()),
        Err(error) => Err(error),
    }
}
