//! Orders the certificates of listeners when they are due.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use yatagarasu_core::{Clock, SystemClock};

use crate::listener::Listener;
use crate::tls::acme::AcmeConfig;
use crate::tls::acme::order::order;

/// Time between two looks at the certificates. The configuration may change, and so may the files.
const PERIOD: Duration = Duration::from_secs(5);

/// Time after a failed order, by the number of those in a row. Authorities count failures: Let's Encrypt takes five an hour.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
];

/// Keeps the certificates of all listeners for ever.
pub(crate) async fn keep(listeners: &[Listener]) {
    join_all((0..listeners.len()).map(|index| keep_one(&listeners[index], &listeners[..index]))).await;
}

/// Returns the certificate that a listener has from an authority.
fn of(listener: &Listener) -> Option<AcmeConfig> {
    listener.config().tls.as_ref()?.acme.clone()
}

/// Keeps the certificate of a listener, unless it is that of one of the others.
async fn keep_one(listener: &Listener, others: &[Listener]) {
    let mut failed: Option<(AcmeConfig, usize, Instant)> = None;
    loop {
        let acme = of(listener).filter(|acme| !others.iter().any(|other| of(other).as_ref() == Some(acme)));
        if let Some(acme) = acme {
            let before = failed.as_ref().filter(|(config, ..)| *config == acme);
            let is_pausing = before.is_some_and(|(_, _, until)| Instant::now() < *until);
            if !is_pausing && acme.is_due(SystemClock.date()) {
                let failures = before.map_or(0, |(_, failures, _)| *failures);
                failed = attempt(&listener.config().key, &acme, failures).await;
            }
        }
        sleep(PERIOD).await;
    }
}

/// Orders a certificate. Returns the failure, if it is one.
async fn attempt(
    listener: &str,
    config: &AcmeConfig,
    failures: usize,
) -> Option<(AcmeConfig, usize, Instant)> {
    let names = config.domains.join(", ");
    tracing::info!(listener, names, authority = config.directory, "a certificate is ordered");
    match order(config).await {
        Ok(()) => {
            tracing::info!(listener, names, "a certificate was issued");
            None
        }
        Err(error) => {
            let pause = PAUSES[failures.min(PAUSES.len() - 1)];
            let seconds = pause.as_secs();
            tracing::error!(listener, names, %error, "no certificate was issued: tried again in {seconds} s");
            Some((config.clone(), failures + 1, Instant::now() + pause))
        }
    }
}
