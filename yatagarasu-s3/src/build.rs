//! Creates sources from their configuration.

use std::sync::{Arc, RwLock};

use yatagarasu_core::{Clock, ObjectKey, ObjectSource};

use crate::client::address::{Address, AddressError, escape};
use crate::client::sender::BucketClient;
use crate::client::sign::Signer;
use crate::client::skew::Skew;
use crate::config::{SourceBackend, SourceConfig};
use crate::credentials::{Credentials, CredentialsStatus};
use crate::http_client::Transport;
use crate::http_client::tls::TlsError;

/// An error in creating a source.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The backend is not part of this build.
    #[error("the source backend `{backend}` is not compiled in: build with `--features {feature}`")]
    NotCompiled {
        /// The backend's name in the configuration.
        backend: &'static str,
        /// The Cargo feature of this crate that enables it.
        feature: &'static str,
    },
    /// The endpoint or the bucket's name cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// TLS cannot be set up, for example because there are no CA certificates to verify S3 with.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A source, together with the state of its credentials.
#[derive(Debug, Clone)]
pub struct BuiltSource {
    /// The source of the bucket's objects.
    pub source: Arc<dyn ObjectSource>,
    sender: Arc<BucketClient>,
}

impl BuiltSource {
    /// Returns the state of the credentials. Fetches none.
    pub fn credentials(&self) -> CredentialsStatus {
        self.sender.credentials.status()
    }

    /// Returns the URL of the bucket, as requests use it.
    pub fn url(&self) -> String {
        self.sender.address().locate("", None).map(|uri| uri.to_string()).unwrap_or_default()
    }

    /// Returns the URL of an object, as requests use it. `query` is percent-encoded.
    pub fn url_of(&self, key: &ObjectKey, query: Option<&str>) -> String {
        let uri = self.sender.address().locate(&escape(key), query);
        uri.map(|uri| uri.to_string()).unwrap_or_default()
    }

    /// Returns the region that requests are signed for.
    pub fn region(&self) -> String {
        self.sender.region()
    }
}

impl SourceBackend {
    /// Returns an error if the backend is not part of this build.
    pub fn compiled(self) -> Result<(), BuildError> {
        match self {
            Self::Native if cfg!(feature = "native") => Ok(()),
            Self::Native => Err(BuildError::NotCompiled { backend: "native", feature: "native" }),
            Self::Rusoto if cfg!(feature = "rusoto") => Ok(()),
            Self::Rusoto => Err(BuildError::NotCompiled { backend: "rusoto", feature: "rusoto" }),
        }
    }
}

impl SourceConfig {
    /// Returns an error if no source can be created from this configuration. Does not use the network.
    pub fn check(&self) -> Result<(), BuildError> {
        self.backend.compiled()?;
        Address::new(self, self.region.as_deref().unwrap_or("us-east-1"))?;
        self.tls.check()?;
        Ok(())
    }
}

/// Creates the source that `config` describes. Opens no connection and fetches no credentials yet.
pub async fn build(config: &SourceConfig, clock: Arc<dyn Clock>) -> Result<BuiltSource, BuildError> {
    config.backend.compiled()?;
    let region = match &config.region {
        Some(region) => region.clone(),
        None => crate::credentials::region::find().await,
    };
    let address = Address::new(config, &region)?;
    let transport = Transport::new(config, address.is_tls())?;
    let sender = Arc::new(BucketClient {
        signer: Signer::default(),
        address: RwLock::new(Arc::new(address)),
        name: Arc::clone(&config.name),
        credentials: Credentials::new(&config.name, &config.access, Arc::clone(&clock)),
        transport,
        clock,
        skew: Skew::default(),
        request_headers: config.request_headers.clone(),
        access_denied: config.access_denied,
    });
    let source: Arc<dyn ObjectSource> = match config.backend {
        #[cfg(feature = "native")]
        SourceBackend::Native => Arc::new(crate::native::NativeSource::new(Arc::clone(&sender))),
        #[cfg(feature = "rusoto")]
        SourceBackend::Rusoto => {
            Arc::new(crate::rusoto::RusotoSource::new(Arc::clone(&sender), &config.bucket))
        }
        #[cfg(not(all(feature = "native", feature = "rusoto")))]
        backend => return backend.compiled().map(|()| unreachable!("checked above")),
    };
    Ok(BuiltSource { source, sender })
}
