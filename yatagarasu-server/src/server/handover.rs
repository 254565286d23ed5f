//! Hands the listeners over to another process, as for an upgrade: no client is refused meanwhile.
//!
//! The other process gets the listeners as systemd passes them (`LISTEN_FDS`), and a pipe to say when it serves. Until
//! then this one goes on. The kernel's queue of clients belongs to the listener, so that both may accept from it.

use std::ffi::OsString;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Weak};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::admin::Admin;
use crate::config::Config;
use crate::listener::given::KEPT_NAMES;
use crate::server::warm_restart::{self, KEYS_FD};

/// The number of the first descriptor that is passed on (`sd_listen_fds(3)`).
const FIRST: u8 = 3;

/// The variable with the number of the descriptor that the other process writes to when it serves.
const READY_FD: &str = "YATAGARASU_READY_FD";

/// What it writes.
const READY: &[u8] = b"READY\n";

/// Longest wait for the other process to serve.
const START_MAX: Duration = Duration::from_secs(60);

/// The reason why another process has not taken over. This one still serves.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The server has stopped.
    #[error("the server stops already")]
    Stopped,
    /// The process cannot be started.
    #[error("the process cannot be started: {0}")]
    Spawn(#[from] io::Error),
    /// The process has ended, or does not serve in time.
    #[error("the process {0} did not begin to serve: see its messages")]
    NotReady(u32),
}

/// A socket of a server, for another process.
#[derive(Clone)]
pub(super) struct Passed {
    pub(super) name: String,
    /// Weak, because one that this process does not serve any more must be closed.
    pub(super) socket: Weak<dyn AsFd + Send + Sync>,
    /// Whether the supervisor keeps the socket, and its file.
    pub(super) is_kept: bool,
}

/// The listeners of a server, for another process.
#[derive(Clone)]
pub struct Handover {
    listeners: Vec<Passed>,
    /// The list that the other process warms its caches with.
    keys: Keys,
}

/// Makes the list of stored keys.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) admin: Weak<Admin>,
    pub(super) settings: watch::Receiver<Arc<Config>>,
}

impl Keys {
    /// Returns the list for the other process, in memory. Returns `None` if warming is off, or if making the list failed.
    async fn list(&self) -> Option<OwnedFd> {
        let settings = self.settings.borrow().server.warm_restart.clone();
        let admin = self.admin.upgrade().filter(|_| settings.rate > 0)?;
        let list = warm_restart::list(&admin, settings.objects_max).await;
        let keys = list.map(|list| warm_restart::in_memory(&list));
        let reason = match keys {
            Some(Ok(keys)) => return Some(keys),
            Some(Err(error)) => error.to_string(),
            None => "it took too long".to_owned(),
        };
        tracing::warn!(reason, "the list of `server.warm_restart` is not handed over");
        None
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.listeners.iter().map(|passed| &passed.name)).finish()
    }
}

impl Handover {
    pub(super) fn new(listeners: Vec<Passed>, keys: Keys) -> Self {
        Self { listeners, keys }
    }

    /// Starts the program of this process again, with the same arguments, and waits until it serves. Returns its id.
    ///
    /// # Errors
    ///
    /// Returns the reason if it does not serve. It has ended then.
    pub async fn to_successor(&self) -> Result<u32, HandoverError> {
        let mut arguments = std::env::args_os();
        let program = arguments.next().unwrap_or_else(|| OsString::from("yatagarasu-server"));
        let mut command = Command::new(program);
        command.args(arguments);
        self.to(command).await
    }

    async fn to(&self, mut command: Command) -> Result<u32, HandoverError> {
        let (mut ready, says_ready) = io::pipe()?;
        let mut passed: Vec<OwnedFd> = Vec::new();
        for Passed { socket, .. } in &self.listeners {
            let socket: Arc<_> = socket.upgrade().ok_or(HandoverError::Stopped)?;
            passed.push(socket.as_fd().try_clone_to_owned()?);
        }
        command.stdin(Stdio::null()).env("LISTEN_FDS", passed.len().to_string());
        command.env("LISTEN_FDNAMES", names(self.listeners.iter()));
        command.env(KEPT_NAMES, names(self.listeners.iter().filter(|passed| passed.is_kept)));
        // Both hold this process's id. With them the new process would ignore the sockets and the watchdog.
        command.env_remove("LISTEN_PID").env_remove("WATCHDOG_PID");
        let sockets = passed.len();
        passed.push(says_ready.into());
        command.env(READY_FD, number_of(sockets)).env_remove(KEYS_FD);
        if let Some(keys) = self.keys.list().await {
            command.env(KEYS_FD, number_of(passed.len()));
            passed.push(keys);
        }
        let mappings = passed
            .into_iter()
            .zip(FIRST.into()..)
            .map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(mappings.collect()).map_err(io::Error::other)?;
        let mut child = spawn_blocking(move || command.spawn()).await.map_err(io::Error::other)??;
        let id = child.id();
        let said = spawn_blocking(move || {
            let mut said = [0; READY.len()];
            ready.read_exact(&mut said).is_ok_and(|()| said == READY)
        });
        if timeout(START_MAX, said).await.is_ok_and(|said| said.unwrap_or(false)) {
            Ok(id)
        } else {
            end(&mut child);
            Err(HandoverError::NotReady(id))
        }
    }
}

/// Returns the descriptor number that the other process has for this position.
fn number_of(place: usize) -> String {
    (usize::from(FIRST) + place).to_string()
}

fn names<'a>(passed: impl Iterator<Item = &'a Passed>) -> String {
    passed.map(|passed| passed.name.as_str()).collect::<Vec<_>>().join(":")
}

/// Ends a process that does not take over, so that none is left behind.
fn end(child: &mut Child) {
    // It may have ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Tells the process that this one replaces, if there is one, that this one serves. Returns whether there is one.
#[expect(clippy::disallowed_methods, reason = "no configuration: it comes from the other process")]
pub fn tell_predecessor() -> bool {
    let Some(number) = std::env::var(READY_FD).ok().and_then(|number| number.parse::<u32>().ok()) else {
        return false;
    };
    let pipe = OpenOptions::new().write(true).open(format!("/proc/self/fd/{number}"));
    // Without a reader, the other process has ended.
    pipe.and_then(|mut pipe| pipe.write_all(READY)).is_ok()
}
