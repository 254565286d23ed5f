//! The `cache` commands: ask a running server over its admin API.
//!
//! [`client`] sends one request to the [`address`] of a server over the [`connector`] and turns a refusal into an [`error`]. [`stats`] prints the
//! answer as a [`table`], and [`watch`] repeats them. [`entries`] lists what is stored. [`warm`] sends many, for
//! the pages of a [`sitemap`] as well, while [`progress`] shows how far it is.

mod address;
pub(crate) mod client;
mod connector;
mod entries;
pub(crate) mod error;
pub(crate) mod progress;
mod sitemap;
mod stats;
mod table;
mod warm;
mod watch;

use crate::args::{CacheArguments, CacheCommand, PurgeArguments};
use crate::words::counted;

use client::AdminClient;
use error::AdminError;
use stats::Form;

/// Runs a command against a running server. Returns the text to print.
pub(crate) async fn run(arguments: &CacheArguments) -> Result<String, AdminError> {
    let client = AdminClient::new(&arguments.server)?;
    match &arguments.command {
        CacheCommand::Stats { bucket, wide, json, watch } => {
            let form = match (json, wide) {
                (true, _) => Form::Json,
                (false, true) => Form::WideTable,
                (false, false) => Form::Table,
            };
            if let Some(seconds) = watch {
                watch::run(&client, bucket.as_deref(), form, *seconds).await?;
                return Ok(String::new());
            }
            let mut stats = client.stats().await?;
            if let Some(bucket) = bucket {
                stats = stats.only(bucket)?;
            }
            Ok(stats.rendered(form))
        }
        CacheCommand::List(arguments) => entries::list(&client, arguments).await,
        CacheCommand::Inspect(arguments) => entries::inspect(&client, arguments).await,
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
    if arguments.dry_run {
        format!("{objects} would be purged from {place}\n")
    } else if arguments.soft {
        format!("{objects} marked stale in {place}\n")
    } else {
        format!("{objects} purged from {place}\n")
    }
}
