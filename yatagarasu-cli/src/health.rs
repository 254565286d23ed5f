//! The `health` command: asks a running server whether it is alive, or ready for clients.

use crate::args::HealthArguments;
use crate::cache::client::AdminClient;
use crate::cache::error::AdminError;

/// Asks the server. Returns the text to print if it is well.
pub(crate) async fn run(arguments: &HealthArguments) -> Result<String, AdminError> {
    let client = AdminClient::new(&arguments.server)?;
    if arguments.ready {
        client.check("/ready", "ready").await?;
        return Ok("ready\n".to_owned());
    }
    client.check("/health", "alive").await?;
    Ok("alive\n".to_owned())
}
