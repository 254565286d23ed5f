//! Signals: those that stop the server, and those that must not.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::server::Stop;

/// Receives SIGINT and SIGTERM. From its creation on, neither signal ends the process by default.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Installs the signal handlers.
    ///
    /// # Errors
    ///
    /// Returns an error if the system refuses a signal handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next SIGINT or SIGTERM. SIGTERM comes from a supervisor, whose load balancer has to take note;
    /// SIGINT from somebody who waits at a terminal.
    pub async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Now,
            _ = self.terminate.recv() => Stop::Drain,
        }
    }
}

/// Receives signals that end a process by default. From its creation on, they no longer do.
#[derive(Debug)]
pub struct Ignored {
    hangup: Signal,
    user: [Signal; 2],
    /// SIGXFSZ: a file has reached the size limit (`ulimit -f`). A write to the log then fails instead of ending the
    /// process.
    _file_size: Signal,
}

impl Ignored {
    /// Installs the signal handlers.
    ///
    /// # Errors
    ///
    /// Returns an error if the system refuses a signal handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
            _file_size: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }

    /// Waits for the next SIGHUP: the terminal has closed, or an operator has changed the configuration.
    pub async fn hangup(&mut self) {
        self.hangup.recv().await;
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Further {
        let [first, second] = &mut self.user;
        tokio::select! {
            _ = self.hangup.recv() => Further::Hangup,
            _ = first.recv() => Further::User1,
            _ = second.recv() => Further::User2,
        }
    }
}

/// A signal that does not stop the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Further {
    /// SIGHUP: the terminal has closed, or an operator has changed the configuration.
    Hangup,
    /// SIGUSR1.
    User1,
    /// SIGUSR2: another process is to take over.
    User2,
}
