//! Fetches credentials from the AWS credential chain.

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;

use crate::credentials::http;
use crate::credentials::refresh::Fetch;

/// The AWS credential chain: environment, profile, SSO, web identity, ECS and EKS, IMDSv2.
#[derive(Debug)]
pub(super) struct Chain;

#[async_trait]
impl Fetch for Chain {
    /// Builds a new chain for each call, because a chain caches the files it has read, and never recovers from a
    /// missing profile.
    async fn fetch(&self) -> Result<Credentials, String> {
        let region = Region::new(crate::credentials::region::find().await);
        let config = ProviderConfig::without_region()
            .with_http_client(http::client())
            .with_behavior_version(Some(BehaviorVersion::latest()));
        // The region is set because the chain would otherwise ask IMDS for one.
        let chain = DefaultCredentialsChain::builder().configure(config).region(region).build().await;
        let found = chain.provide_credentials().await.map_err(|error| {
            let mut reason = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                reason = format!("{reason}: {error}");
                cause = error.source();
            }
            in_one_line(&reason)
        })?;
        trimmed(&found)
    }
}

/// Returns the reason in one line of the log. The chain lists its providers in lines of their own.
fn in_one_line(reason: &str) -> String {
    let lines: Vec<_> = reason.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ").replace(":; ", ": ").replace("the credential provider was not enabled: ", "")
}

/// Returns the credentials without surrounding white space, because variables and files often end with a line break.
///
/// # Errors
///
/// Returns a message if the access key or the session token contains characters that no header field can carry.
fn trimmed(found: &Credentials) -> Result<Credentials, String> {
    let token = found.session_token().map(str::trim);
    let (access_key, secret_key) = (found.access_key_id().trim(), found.secret_access_key().trim());
    for (part, text) in [("access key", Some(access_key)), ("session token", token)] {
        if !text.is_none_or(|text| text.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(format!("the {part} that was found has other characters than printable ASCII"));
        }
    }
    Ok(Credentials::new(access_key, secret_key, token.map(str::to_owned), found.expiry(), "chain"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line() {
        let reason = "the credential provider was not enabled: nothing. Attempted:\n  Environment: unset\n  Profile: none";
        assert_eq!(in_one_line(reason), "nothing. Attempted: Environment: unset; Profile: none");
    }

    #[test]
    fn what_is_found_is_trimmed_and_can_be_sent() {
        let found = |key, token: Option<&str>| {
            trimmed(&Credentials::new(key, "s\n", token.map(str::to_owned), None, "test"))
        };
        let good = found("AKIA\n", Some(" t\r\n")).unwrap();
        assert_eq!((good.access_key_id(), good.secret_access_key()), ("AKIA", "s"));
        assert_eq!(good.session_token(), Some("t"));
        assert!(found("AK\nIA", None).unwrap_err().contains("the access key"));
        assert!(found("AKIA", Some("a b")).unwrap_err().contains("the session token"));
    }
}
