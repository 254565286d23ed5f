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

/// Signals that would end the process by default, and do not from the moment this is made.
#[derive(Debug)]
pub struct Ignored {
    hangup: Signal,
    user: [Signal; 2],
    /// A file has reached the limit of its size (`ulimit -f`): writing the log fails then.
    _file_size: Signal,
}

impl Ignored {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// The system takes no more signal handlers.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
            _file_size: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }

    /// Waits for the next SIGHUP: the terminal is gone, or the configuration has changed.
    pub async fn hangup(&mut self) {
        self.hangup.recv().await;
    }

    /// Notes each signal in the log, for ever.
    pub async fn note(&mut self) -> Infallible {
        let [first, second] = &mut self.user;
        loop {
            let signal = tokio::select! {
                _ = self.hangup.recv() => "SIGHUP",
                _ = first.recv() => "SIGUSR1",
                _ = second.recv() => "SIGUSR2",
            };
            tracing::info!(
                "{signal}: nothing is reloaded; restart the server to apply another configuration"
            );
        }
    }
}
