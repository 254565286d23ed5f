use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::refresh::Fetch;

/// The AWS credential chain: environment, profile, SSO, web identity, ECS and EKS, IMDSv2.
#[derive(Debug)]
pub(super) struct Chain;

#[async_trait]
impl Fetch for Chain {
    /// Builds the chain anew each time: it keeps what it read from files, and gives up for good once a profile
    /// was missing.
    async fn fetch(&self) -> Result<Credentials, String> {
        let region = Region::new(crate::region::find().await);
        let client = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let config = ProviderConfig::without_region()
            .with_http_client(client)
            .with_behavior_version(Some(BehaviorVersion::latest()));
        // Without a region of its own the chain would ask IMDS for one.
        let chain = DefaultCredentialsChain::builder().configure(config).region(region).build().await;
        chain.provide_credentials().await.map(|found| trimmed(&found)).map_err(|error| {
            let mut reason = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                reason = format!("{reason}: {error}");
                cause = error.source();
            }
            reason
        })
    }
}

/// Returns the credentials without white space around them: variables and files often end with a line break, and no
/// request could be signed with it.
fn trimmed(found: &Credentials) -> Credentials {
    let token = found.session_token().map(|token| token.trim().to_owned());
    let (access_key, secret_key) = (found.access_key_id().trim(), found.secret_access_key().trim());
    Credentials::new(access_key, secret_key, token, found.expiry(), "chain")
}
