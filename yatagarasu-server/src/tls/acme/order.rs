//! Orders a certificate.

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use instant_acme::{
    Account, AccountBuilder, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::KeyPair;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::tls::acme::challenges::Challenges;
use crate::tls::acme::{AcmeConfig, nameless, storage};

/// The longest time that an order takes.
const TIMEOUT: Duration = Duration::from_secs(300);

/// How often the authority is asked for what it does meanwhile.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.3)
    .timeout(Duration::from_secs(120));

/// The reason why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// A file cannot be read or written.
    #[error("`{}` cannot be used: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
    /// The authority cannot be reached, or refuses.
    #[error("the authority: {0}")]
    Authority(#[from] instant_acme::Error),
    /// The authority does not make sure of names in the way that the gateway knows.
    #[error("the authority does not offer TLS-ALPN-01 for `{0}`")]
    NoChallenge(String),
    /// The authority could not make sure of the names.
    #[error(
        "the authority could not make sure of the names: {0}: port 443 of each has to lead to this listener"
    )]
    Unverified(String),
    /// A key or a request cannot be made.
    #[error("a certificate cannot be requested: {0}")]
    Request(#[from] rcgen::Error),
    /// It takes too long.
    #[error("no certificate was issued within {} s", TIMEOUT.as_secs())]
    Slow,
}

/// Orders a certificate and writes its files.
pub(super) async fn order(config: &AcmeConfig) -> Result<(), OrderError> {
    timeout(TIMEOUT, issue(config)).await.map_err(|_| OrderError::Slow)?
}

async fn issue(config: &AcmeConfig) -> Result<(), OrderError> {
    let key = with_files(config, next_key).await?;
    let account = account(config).await?;
    let names: Vec<_> = config.domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    // They are shown until the order has ended, however it ends.
    let mut challenges = Challenges::default();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let challenge = authorization.challenge(ChallengeType::TlsAlpn01);
        let mut challenge = challenge.ok_or_else(|| OrderError::NoChallenge(name.clone()))?;
        challenges.show(&name, challenge.key_authorization().digest().as_ref())?;
        challenge.set_ready().await?;
    }
    let polled = order.poll_ready(&POLLING).await;
    if order.state().status == OrderStatus::Invalid {
        return Err(OrderError::Unverified(refusals(&mut order).await?));
    }
    polled?;
    let request = nameless(config.domains.clone())?.serialize_request(&key)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&POLLING).await?;
    with_files(config, move |config| {
        let (path, used) = (config.files().cert, storage::next_key(config));
        storage::write(&path, (key.serialize_pem() + &chain).as_bytes())
            .and_then(|()| fs::remove_file(used))
            .map_err(|cause| OrderError::File { path, cause })
    })
    .await
}

/// Works with files where nobody waits for the disk.
async fn with_files<T: Send + 'static>(
    config: &AcmeConfig,
    work: impl FnOnce(&AcmeConfig) -> Result<T, OrderError> + Send + 'static,
) -> Result<T, OrderError> {
    let config = config.clone();
    spawn_blocking(move || work(&config)).await.expect("it does not panic, and nobody aborts it")
}

/// Returns the key for the next certificate: one that is left of an order that has not ended, or a new one.
fn next_key(config: &AcmeConfig) -> Result<KeyPair, OrderError> {
    storage::prepare(config).map_err(|cause| OrderError::File { path: config.folder(), cause })?;
    let path = storage::next_key(config);
    if let Some(key) = fs::read_to_string(&path).ok().and_then(|text| KeyPair::from_pem(&text).ok()) {
        return Ok(key);
    }
    let key = KeyPair::generate()?;
    match storage::write(&path, key.serialize_pem().as_bytes()) {
        Ok(()) => Ok(key),
        Err(cause) => Err(OrderError::File { path, cause }),
    }
}

/// Returns the account, which is made with the first order.
async fn account(config: &AcmeConfig) -> Result<Account, OrderError> {
    let stored = with_files(config, |config| {
        let path = storage::account(config);
        let failed = |cause| OrderError::File { path: path.clone(), cause };
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| failed(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    });
    if let Some(credentials) = stored.await? {
        return Ok(builder(config)?.from_credentials(credentials).await?);
    }
    let contact: Vec<_> = config.contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder(config)?.create(&new, config.directory.clone(), None).await?;
    with_files(config, move |config| {
        let path = storage::account(config);
        let text = serde_json::to_vec(&credentials).map_err(io::Error::from);
        let written = text.and_then(|text| storage::write(&path, &text));
        written.map_err(|cause| OrderError::File { path, cause })
    })
    .await?;
    Ok(account)
}

fn builder(config: &AcmeConfig) -> Result<AccountBuilder, instant_acme::Error> {
    match &config.ca_file {
        Some(path) => Account::builder_with_root(path),
        None => Account::builder(),
    }
}

/// Returns what the authority says of the names that it could not make sure of.
async fn refusals(order: &mut Order) -> Result<String, OrderError> {
    let mut refusals = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization?;
        let errors = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        let errors: Vec<_> = errors.map(ToString::to_string).collect();
        if authorization.status != AuthorizationStatus::Valid {
            refusals.push(format!("{} ({})", authorization.identifier(), errors.join(", ")));
        }
    }
    Ok(refusals.join("; "))
}
