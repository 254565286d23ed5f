//! Reads the notifications in a queue of Amazon SQS, and purges the objects that they name.
//!
//! A message is deleted when its objects are purged. A process that another one replaces stops reading at once: what it has
//! received and not deleted comes again, and goes to the other one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use yatagarasu_core::{LogLimit, SystemClock};
use yatagarasu_s3::{Message, NotificationQueue, QueueConfig, QueueError};

use crate::admin::Admin;
use crate::admin::events::{Teller, take};
use crate::config::Config;

/// Time until the queue is asked again after a failure. It doubles with each further one, up to the maximum.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The results of messages, with their names in metrics.
pub(crate) const RESULTS: [&str; 2] = ["taken", "unreadable"];

/// Counts the messages of the queue, and the failed requests to it.
#[derive(Debug, Default)]
pub(crate) struct QueueCounts {
    /// Messages in the order of [`RESULTS`].
    messages: [AtomicU64; RESULTS.len()],
    /// Requests to the queue that failed.
    failures: AtomicU64,
}

/// A snapshot of [`QueueCounts`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueRead {
    pub(crate) messages: [u64; RESULTS.len()],
    pub(crate) failures: u64,
}

impl QueueCounts {
    /// Returns the current counts.
    pub(crate) fn read(&self) -> QueueRead {
        QueueRead {
            messages: self.messages.each_ref().map(|count| count.load(Ordering::Relaxed)),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

/// Reads the queue of the configuration that runs, if it has one. Never returns.
pub(super) async fn read(admin: Arc<Admin>, mut config: watch::Receiver<Arc<Config>>) {
    loop {
        let settings = config.borrow_and_update().events.sqs.clone();
        let has_another = async {
            // An error means that the server ends.
            let _ = config.wait_for(|config| config.events.sqs != settings).await;
        };
        tokio::select! {
            () = read_on(&admin, settings.as_ref()) => {}
            () = has_another => {}
        }
    }
}

/// Reads a queue forever.
async fn read_on(admin: &Admin, settings: Option<&QueueConfig>) {
    let Some(settings) = settings else { return std::future::pending().await };
    let (failures, unreadable) = (LogLimit::default(), LogLimit::default());
    let (mut pause, mut queue) = (PAUSE, None);
    loop {
        // Made once: it keeps its connections, its credentials, and the time of the queue.
        let made = match queue.take() {
            Some(made) => Ok(made),
            None => NotificationQueue::new(settings, Arc::new(SystemClock)).await,
        };
        let error = match made {
            Ok(made) => {
                let Err(error) = read_until_failure(admin, &made, &mut pause, &unreadable).await;
                queue = Some(made);
                error
            }
            Err(error) => error,
        };
        admin.queue.failures.fetch_add(1, Ordering::Relaxed);
        if let Some(failures) = failures.due() {
            let url = settings.url.as_str();
            tracing::warn!(%error, url, failures, "notifications cannot be read from the queue (`events.sqs`)");
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Reads a queue until a request fails. Resets `pause` after each that succeeds.
async fn read_until_failure(
    admin: &Admin,
    queue: &NotificationQueue,
    pause: &mut Duration,
    unreadable: &LogLimit,
) -> Result<std::convert::Infallible, QueueError> {
    loop {
        let messages = queue.receive().await?;
        for Message { id, body, .. } in &messages {
            let taken = take(&admin.buckets(), body, Teller::Queue).await;
            admin.queue.messages[usize::from(taken.is_err())].fetch_add(1, Ordering::Relaxed);
            // It would come again and again.
            if let (Err(reason), Some(messages)) = (taken, unreadable.due()) {
                tracing::warn!(
                    reason,
                    id,
                    messages,
                    "a message of the queue is not a notification: it is deleted"
                );
            }
        }
        if !messages.is_empty() {
            queue.delete(&messages).await?;
        }
        *pause = PAUSE;
    }
}
