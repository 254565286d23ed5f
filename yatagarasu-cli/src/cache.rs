//! The `cache` commands: a client of the admin API.

mod client;
mod connector;
mod error;
mod stats;
mod table;

use crate::args::{CacheArguments, CacheCommand};
use crate::words::counted;

use client::AdminClient;
use error::AdminError;

/// Asks a running server, and gives what is to be printed.
pub(crate) async fn run(arguments: &CacheArguments) -> Result<String, AdminError> {
    let client = AdminClient::new(&arguments.server)?;
    match &arguments.command {
        CacheCommand::Stats { bucket, json } => {
            let mut stats = client.stats().await?;
            if let Some(bucket) = bucket {
                stats = stats.only(bucket)?;
            }
            Ok(if *json { stats.json() } else { stats.table() })
        }
        CacheCommand::Purge { bucket, selection } => {
            let purged = client.purge(bucket, selection).await?;
            Ok(format!("{} purged from bucket {bucket}\n", counted(purged, "object")))
        }
    }
}
