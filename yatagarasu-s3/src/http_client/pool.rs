//! Pools idle connections.
//!
//! A socket belongs to the runtime that opened it, and each worker has its own runtime. So every runtime has its own
//! list of idle connections, and a task that closes those not used for some time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::uri::Authority;
use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use yatagarasu_core::{ErrorKind, SourceError};

use crate::http_client::socket::Socket;

/// Time for which an idle connection is kept. S3 closes its side after about 20 s.
const IDLE: Duration = Duration::from_secs(15);

/// Maximum number of idle connections per runtime.
const IDLE_MAX: usize = 512;

/// Interval at which the reaper closes connections that were idle for too long or that S3 has closed.
const PERIOD: Duration = Duration::from_secs(1);

/// The idle connections of one bucket, and the bound on all of its connections.
///
/// A runtime has a shelf for as long as its reaper runs. The most recently used connection is at the end of its
/// shelf.
#[derive(Debug)]
pub(super) struct Pool {
    shelves: Mutex<HashMap<Id, Vec<Idle>>>,
    /// A permit for each connection that may be open.
    permits: Arc<Semaphore>,
    connections_max: usize,
    /// Longest wait for another connection to end.
    wait: Duration,
}

#[derive(Debug)]
struct Idle {
    socket: Socket,
    server: Authority,
    permit: OwnedSemaphorePermit,
    since: Instant,
}

impl Idle {
    fn is_usable(&self) -> bool {
        self.since.elapsed() < IDLE && self.socket.is_quiet()
    }
}

/// A connection in use. Dropping it closes it; [`give_back`](Self::give_back) returns it to its pool.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: Socket,
    /// Whether the server keeps the connection open after the response.
    pub(super) persists: bool,
    /// Whether an earlier request has used it.
    pub(super) reused: bool,
    server: Authority,
    permit: OwnedSemaphorePermit,
    runtime: Id,
    pool: Arc<Pool>,
}

impl Connection {
    fn reused(self) -> Self {
        Self { reused: true, ..self }
    }

    /// Returns the connection to the pool if it persists. Closes it if the current runtime is not the one that opened
    /// it.
    pub(super) fn give_back(self) {
        let Self { socket, persists, server, permit, runtime, pool, .. } = self;
        if persists && Handle::try_current().is_ok_and(|handle| handle.id() == runtime) {
            pool.put(runtime, Idle { socket, server, permit, since: Instant::now() });
        }
    }
}

impl Pool {
    /// Creates a pool of at most `connections_max` connections. A request waits at most `wait` for one of them to end.
    pub(super) fn new(connections_max: usize, wait: Duration) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { shelves: Mutex::default(), permits, connections_max, wait })
    }

    /// Takes the most recently used connection to `server` that is still open and has no unread bytes.
    pub(super) fn take(self: &Arc<Self>, server: &Authority) -> Option<Connection> {
        let runtime = Handle::current().id();
        loop {
            let idle = {
                let mut shelves = self.shelves();
                let shelf = shelves.get_mut(&runtime)?;
                let index = shelf.iter().rposition(|idle| idle.server == *server)?;
                shelf.remove(index)
            };
            if idle.is_usable() {
                let Idle { socket, server, permit, .. } = idle;
                return Some(self.connection(socket, server, permit, runtime).reused());
            }
        }
    }

    /// Waits until one more connection may be opened.
    ///
    /// # Errors
    ///
    /// Returns an error if no connection ends in time.
    pub(super) async fn permit(&self) -> Result<OwnedSemaphorePermit, SourceError> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        // Idle connections of other runtimes, or to other servers, make room.
        let idle = mem::take(&mut *self.shelves());
        drop(idle);
        let permit = timeout(self.wait, Arc::clone(&self.permits).acquire_owned()).await;
        permit.ok().and_then(Result::ok).ok_or_else(|| {
            let (count, wait) = (self.connections_max, self.wait);
            let reason = format!(
                "all {count} were in use for {wait:?}: raise `s3.max_connections`, or find out why S3 is slow"
            );
            SourceError::new(ErrorKind::Saturated).because(reason)
        })
    }

    /// Wraps a socket to `server` that was opened on the current runtime.
    pub(super) fn adopt(
        self: &Arc<Self>,
        socket: Socket,
        server: Authority,
        permit: OwnedSemaphorePermit,
    ) -> Connection {
        self.connection(socket, server, permit, Handle::current().id())
    }

    fn connection(
        self: &Arc<Self>,
        socket: Socket,
        server: Authority,
        permit: OwnedSemaphorePermit,
        runtime: Id,
    ) -> Connection {
        Connection { socket, persists: true, reused: false, server, permit, runtime, pool: Arc::clone(self) }
    }

    #[expect(clippy::disallowed_methods, reason = "ends when no connection is idle, or the pool is dropped")]
    fn put(self: &Arc<Self>, runtime: Id, idle: Idle) {
        let mut shelves = self.shelves();
        let shelf = shelves.entry(runtime);
        let swept = matches!(shelf, Entry::Occupied(_));
        let shelf = shelf.or_default();
        if shelf.len() < IDLE_MAX {
            shelf.push(idle);
        }
        drop(shelves);
        if !swept {
            tokio::spawn(reap(Reaper { pool: Arc::downgrade(self), runtime }));
        }
    }

    /// Closes connections that are not usable any more. Returns `true` if any remain.
    fn expire(&self, runtime: Id) -> bool {
        // The lock is not held here, because each check is a system call and closing a socket is one, too.
        let Some(mut kept) = self.shelves().get_mut(&runtime).map(mem::take) else { return false };
        kept.retain(Idle::is_usable);
        let mut shelves = self.shelves();
        let Some(shelf) = shelves.get_mut(&runtime) else { return false };
        kept.append(shelf);
        *shelf = kept;
        if shelf.is_empty() {
            shelves.remove(&runtime);
            return false;
        }
        true
    }

    fn shelves(&self) -> MutexGuard<'_, HashMap<Id, Vec<Idle>>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Owner of one runtime's shelf. Removes the shelf when dropped, which happens at the latest with the runtime.
struct Reaper {
    pool: Weak<Pool>,
    runtime: Id,
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            let shelf = pool.shelves().remove(&self.runtime);
            drop(shelf);
        }
    }
}

async fn reap(mut reaper: Reaper) {
    loop {
        sleep(PERIOD).await;
        let Some(pool) = reaper.pool.upgrade() else { return };
        if !pool.expire(reaper.runtime) {
            // The shelf is gone. Another reaper may have created a new one, which this one must not remove.
            reaper.pool = Weak::new();
            return;
        }
    }
}
