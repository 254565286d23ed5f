//! Reads the certificates of listeners again when their files have changed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use yatagarasu_core::{Clock, SystemClock};

use crate::listener::Listener;
use crate::listener::terms::{Stamp, stamps};

/// Time between two looks at the files. They are polled: the files of a secret in Kubernetes are links to a folder that
/// is replaced, which no watch on them reports.
const PERIOD: Duration = Duration::from_secs(1);

/// Time after which files that could not be used are tried again although they have not changed.
const RETRY: Duration = Duration::from_secs(60);

/// Looks at the files of the listeners for ever.
pub(crate) async fn renew(listeners: &[Listener]) {
    let mut watches: Vec<_> = listeners.iter().map(Watch::new).collect();
    let mut looks = interval(PERIOD);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        watches.iter_mut().for_each(Watch::look);
    }
}

/// The files of one listener.
struct Watch<'a> {
    listener: &'a Listener,
    /// The files at the last look.
    seen: Vec<Stamp>,
    /// Files that could not be used, and when. They are tried again when they change, or after some time: the fault may
    /// lie elsewhere.
    unusable: Option<(Vec<Stamp>, Instant)>,
}

impl<'a> Watch<'a> {
    fn new(listener: &'a Listener) -> Self {
        Self { listener, seen: Vec::new(), unusable: None }
    }

    /// Reads the files if they have changed since they were read, and not since the last look: a certificate and its
    /// key are not written at the same time.
    fn look(&mut self) {
        let (config, terms) = (self.listener.config(), self.listener.terms());
        let now = stamps(&config);
        let is_settled = now == self.seen;
        self.seen = now;
        let is_unusable =
            self.unusable.as_ref().is_some_and(|(files, at)| *files == self.seen && at.elapsed() < RETRY);
        if self.seen == terms.stamps || !is_settled || is_unusable {
            return;
        }
        let listener = &*config.key;
        match terms.again(&config) {
            Ok(renewed) => {
                for certificate in renewed.tls.iter().flat_map(|tls| tls.certificates.all()) {
                    tracing::info!(listener, certificate = %certificate, "certificate read again");
                    if let Some(warning) = certificate.warning(SystemClock.date()) {
                        tracing::warn!(listener, "{warning}");
                    }
                }
                self.listener.terms.store(Arc::new(renewed));
                self.listener.renewals[0].fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::error!(listener, %error, "a changed certificate cannot be used: the one before stays");
                self.listener.renewals[1].fetch_add(1, Ordering::Relaxed);
                self.unusable = Some((self.seen.clone(), Instant::now()));
            }
        }
    }
}
