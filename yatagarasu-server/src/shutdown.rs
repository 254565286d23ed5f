//! Signals: when to stop, and what does not stop the server.

use std::convert::Infallible;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM, waited for from the moment this is made: neither ends the process by itself any more.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// The system takes no more signal handlers.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// SIGHUP, waited for from the moment this is made: it does not end the process by itself any more.
#[derive(Debug)]
pub struct Hangup(Signal);

impl Hangup {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// The system takes no more signal handlers.
    pub fn listen() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }

    /// Notes each one in the log, for ever.
    pub async fn ignore(&mut self) -> Infallible {
        loop {
            self.next().await;
            tracing::info!("SIGHUP: nothing is reloaded; restart the server to apply another configuration");
        }
    }
}
