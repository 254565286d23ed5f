//! Access checks of an origin.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::{S3Result, s3_error};

use super::MemoryObjects;

/// The ID of the only access key that an origin accepts.
pub const ACCESS_KEY: &str = "AKIDYATAGARASUTEST";

/// The secret of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "secret/of+the=test";

/// The only session token that an origin accepts. Requests may also have none.
pub const SESSION_TOKEN: &str = "token//of+the==test";

pub(super) fn keys() -> SimpleAuth {
    SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY)
}

/// Rejects requests that S3 rejects and `s3s` does not: unsigned `x-amz-*` fields, unknown tokens, and anonymous
/// requests for a bucket that is not public.
pub(super) struct Strict(pub(super) Arc<MemoryObjects>);

#[async_trait::async_trait]
impl S3Access for Strict {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return if self.0.is_public() { Ok(()) } else { Err(s3_error!(AccessDenied, "anonymous")) };
        }
        let headers = context.headers();
        let authorization =
            headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let signed = authorization.split("SignedHeaders=").nth(1).and_then(|rest| rest.split(',').next());
        let signed: Vec<&str> = signed.unwrap_or_default().split(';').collect();
        let must = |name: &str| name == "host" || name.starts_with("x-amz-");
        if !authorization.starts_with("AWS4-HMAC-SHA256 ")
            || !headers
                .keys()
                .map(http::HeaderName::as_str)
                .filter(|name| must(name))
                .all(|name| signed.contains(&name))
        {
            return Err(s3_error!(
                AccessDenied,
                "There were headers present in the request which were not signed"
            ));
        }
        match headers.get("x-amz-security-token") {
            Some(token) if token != super::SESSION_TOKEN => Err(s3_error!(InvalidToken)),
            _ => Ok(()),
        }
    }
}
