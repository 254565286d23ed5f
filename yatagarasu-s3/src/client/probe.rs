//! Checks whether a bucket can be read now.

use yatagarasu_core::{ErrorKind, ObjectKey, ObjectSource, SourceError, SourceRequest, Traffic};

use crate::credentials::Credentials;

/// A key that should not exist, so that a response has no object to transfer.
const ABSENT: &str = ".yatagarasu-probe";

/// Requests an object that does not exist, and returns an error if the response shows a problem.
///
/// Without permission to list the bucket, S3 returns `AccessDenied` for a missing object. That alone does not
/// distinguish a wrong policy from a correct one, so it counts as reachable.
pub(crate) async fn probe(source: &dyn ObjectSource, credentials: &Credentials) -> Result<(), SourceError> {
    // Here the reason is shown. It is too long for a line of each request.
    credentials.current().await.map_err(|_| credentials.missing())?;
    let key = ObjectKey::parse(ABSENT).expect("a valid key");
    let Err(error) =
        source.get(&key, &SourceRequest { traffic: Traffic::Probe, ..SourceRequest::default() }).await
    else {
        return Ok(());
    };
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Unexplained(_) => Ok(()),
        _ => Err(error),
    }
}
