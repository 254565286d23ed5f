//! When to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for a second SIGINT or SIGTERM: whoever asks twice does not want to wait.
///
/// # Errors
///
/// The system takes no more signal handlers.
pub async fn insisted() -> io::Result<()> {
    requested().await?;
    requested().await
}

/// Waits for SIGINT or SIGTERM. From the first poll on, neither ends the process by itself.
///
/// # Errors
///
/// The system takes no more signal handlers.
pub async fn requested() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
