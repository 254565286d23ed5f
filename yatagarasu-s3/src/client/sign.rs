//! Signature Version 4 for the requests of the gateway: without a body, signed in header fields.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningParams, SigningSettings,
    UriPathNormalizationMode,
};
use aws_sigv4::sign::v4;
use http::{HeaderName, HeaderValue, Request};

use crate::client::address::Address;

/// The SHA-256 of an empty body, in hex.
const EMPTY_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An error in signing a request.
#[derive(Debug, thiserror::Error)]
#[error("the request cannot be signed")]
pub struct SignError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// The scope of a signature, besides its date.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The region.
    pub region: &'a str,
    /// The service: `s3`, or the one of an access point.
    pub service: &'a str,
}

/// Adds the header fields that sign a request to `address` at `now`.
pub(crate) fn sign(
    request: &mut Request<()>,
    credentials: &Credentials,
    address: &Address,
    now: SystemTime,
) -> Result<(), SignError> {
    sign_request(request, credentials, Scope { region: address.region(), service: address.service() }, now)
}

/// Adds the header fields that sign a request for `scope` at `now`.
///
/// Only `host` and `x-amz-*` fields are signed. `Range`, conditions and what intermediaries may touch, such as
/// `Accept-Encoding`, stay unsigned. The path of the request must be percent-encoded already.
pub fn sign_request(
    request: &mut Request<()>,
    credentials: &Credentials,
    scope: Scope<'_>,
    now: SystemTime,
) -> Result<(), SignError> {
    let wrap = |error: Box<dyn std::error::Error + Send + Sync>| SignError(error);
    let identity = credentials.clone().into();
    let params: SigningParams<'_> = v4::SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(scope.service)
        .time(now)
        .settings(settings())
        .build()
        .map_err(|error| wrap(error.into()))?
        .into();
    let uri = request.uri().to_string();
    let signed = request.headers().iter().filter_map(|(name, value)| {
        Some((name.as_str(), value.to_str().ok()?)).filter(|(name, _)| name.starts_with("x-amz-"))
    });
    let signable = SignableRequest::new(
        request.method().as_str(),
        &uri,
        signed,
        SignableBody::Precomputed(EMPTY_PAYLOAD.to_owned()),
    )
    .map_err(|error| wrap(error.into()))?;
    let (instructions, _) =
        aws_sigv4::http_request::sign(signable, &params).map_err(|error| wrap(error.into()))?.into_parts();
    let (fields, _) = instructions.into_parts();
    for field in fields {
        let mut value = HeaderValue::from_str(field.value()).map_err(|error| wrap(error.into()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(HeaderName::from_static(field.name()), value);
    }
    Ok(())
}

/// Returns the settings in which S3 differs from other services: paths are encoded once and not normalized.
fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_host_and_amz_fields_are_signed() {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", Some("token".into()), None, "test");
        let uri = "https://examplebucket.s3.amazonaws.com/test%24file.text";
        let request =
            Request::get(uri).header("range", "bytes=0-9").header("x-amz-request-payer", "requester");
        let mut request = request.body(()).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        sign_request(&mut request, &credentials, Scope { region: "us-east-1", service: "s3" }, now).unwrap();
        let headers = request.headers();
        let authorization = headers["authorization"].to_str().unwrap();
        assert!(
            authorization.contains("Credential=AKIDEXAMPLE/20130524/us-east-1/s3/aws4_request"),
            "{authorization}"
        );
        assert!(
            authorization.contains(
                "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-request-payer;x-amz-security-token"
            ),
            "{authorization}"
        );
        assert_eq!(headers["x-amz-date"], "20130524T000000Z");
        assert!(headers["authorization"].is_sensitive() && headers["x-amz-security-token"].is_sensitive());
    }
}
