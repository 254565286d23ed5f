//! Orders the certificates of listeners when they are due.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::spawn_blocking;
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

/// Time after an order that was carried out, at most: if the clock is wrong, the new certificate may be due at once.
const PAUSE_AFTER: Duration = Duration::from_secs(3600);

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
    let mut last: Option<(AcmeConfig, usize, Instant)> = None;
    loop {
        let acme = of(listener).filter(|acme| !others.iter().any(|other| of(other).as_ref() == Some(acme)));
        if let Some(acme) = acme {
            let before = last.as_ref().filter(|(config, ..)| *config == acme);
            let is_pausing = before.is_some_and(|(_, _, until)| Instant::now() < *until);
            if !is_pausing && is_due(&acme).await {
                let failures = before.map_or(0, |(_, failures, _)| *failures);
                last = attempt(&listener.config().key, &acme, failures).await;
            }
        }
        sleep(PERIOD).await;
    }
}

/// Returns whether a certificate is to be ordered. Nobody waits for the disk.
async fn is_due(config: &AcmeConfig) -> bool {
    let config = config.clone();
    let due = spawn_blocking(move || config.is_due(SystemClock.date()));
    due.await.expect("it does not panic, and nobody aborts it")
}

/// Orders a certificate. Returns how many orders have failed in a row, and when the next one may be made.
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
            let lifetime = config.issued().ok().and_then(|one| one.ends().duration_since(one.begins()).ok());
            let pause = PAUSE_AFTER.min(lifetime.unwrap_or_default() / 10);
            Some((config.clone(), 0, Instant::now() + pause))
        }
        Err(error) => {
            let pause = PAUSES[failures.min(PAUSES.len() - 1)];
            let seconds = pause.as_secs();
            tracing::error!(listener, names, %error, "no certificate was issued: tried again in {seconds} s");
            Some((config.clone(), failures + 1, Instant::now() + pause))
        }
    }
}
