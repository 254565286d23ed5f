//! The `cache` commands: ask a running server over its admin API.
//!
//! [`client`] sends one request over the [`connector`] and turns a refusal into an [`error`]. [`stats`] prints the
//! answer as a [`table`]. [`warm`] sends many, for the pages of a [`sitemap`] as well, while [`progress`] shows how far it
//! is.

pub(crate) mod client;
mod connector;
pub(crate) mod error;
mod progress;
mod sitemap;
mod stats;
mod table;
mod warm;

use crate::args::{CacheArguments, CacheCommand, PurgeArguments};
use crate::words::counted;

use client::AdminClient;
use error::AdminError;

/// Runs a command against a running server. Returns the text to print.
pub(crate) async fn run(arguments: &CacheArguments) -> Result<String, AdminError> {
    let client = AdminClient::new(&arguments.server)?;
    match &arguments.command {
        CacheCommand::Stats { bucket, wide, json } => {
            let mut stats = client.stats().await?;
            if let Some(bucket) = bucket {
                stats = stats.only(bucket)?;
            }
            Ok(match (json, wide) {
                (true, _) => stats.json(),
                (false, true) => stats.wide_table(),
                (false, false) => stats.table(),
            })
        }
        CacheCommand::Purge(arguments) => {
            let purged = client.purge(arguments).await?;
            let mut text = report(purged, arguments);
            if purged == 0
                && let (Some(bucket), Some(named)) = (&arguments.bucket, arguments.selection.key_or_prefix())
                // The purge has been carried out, whatever becomes of the question after it.
                && let Ok(stats) = client.stats().await
                && let Some(hint) = stats.only(bucket)?.hint(named)
            {
                text.push_str(&hint);
            }
            Ok(text)
        }
        CacheCommand::Warm(arguments) => warm::run(&client, arguments).await,
    }
}

fn report(purged: u64, arguments: &PurgeArguments) -> String {
    let objects = counted(purged, "object");
    let place =
        arguments.bucket.as_ref().map_or("all buckets".to_owned(), |bucket| format!("bucket {bucket}"));
    if arguments.soft {
        format!("{objects} marked stale in {place}\n")
    } else {
        format!("{objects} purged from {place}\n")
    }
}
