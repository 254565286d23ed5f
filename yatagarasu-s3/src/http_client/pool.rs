//! Pools idle connections.
//!
//! A socket belongs to the runtime that opened it, and each worker has its own runtime. So every runtime has its own
//! list of idle connections, and a task that closes those not used for some time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use http::uri::Authority;
use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};
use yatagarasu_core::{ErrorKind, SourceError, Traffic};

use crate::http_client::socket::Socket;

/// Time for which an idle connection is kept. S3 closes its side after about 20 s.
const IDLE: Duration = Duration::from_secs(15);

/// Maximum number of idle connections per runtime.
const IDLE_MAX: usize = 512;

/// One of so many connections is kept for requests that are not for one client alone.
const KEPT_SHARE: usize = 8;

/// Interval at which the reaper closes connections that were idle for too long or that S3 has closed.
const PERIOD: Duration = Duration::from_secs(1);

/// The idle connections of one bucket, and the bound on all of its connections. Requests that wait get their turn in
/// order.
///
/// A runtime has a shelf for as long as its reaper runs. The most recently used connection is at the end of its
/// shelf.
#[derive(Debug)]
pub(super) struct Pool {
    shelves: Mutex<HashMap<Id, Vec<Idle>>>,
    /// A permit for each request that may be on its way. Idle connections have none: those who wait would not get it.
    permits: Queue,
    /// A permit for each request that may be on its way for one client alone.
    alone: Queue,
    connections_max: usize,
    /// Longest wait for another connection to end.
    wait: Duration,
}

#[derive(Debug)]
struct Idle {
    socket: Socket,
    server: Authority,
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
    /// The right of the request that uses it.
    turn: Turn,
    runtime: Id,
    pool: Arc<Pool>,
}

/// Permits, and the number of requests that wait for one.
#[derive(Debug)]
struct Queue {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Queue {
    fn of(permits: usize) -> Self {
        let permits = Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self { permits, waiting: AtomicUsize::default() }
    }
}

/// The right of a request to be on its way. It ends with the last clone.
#[derive(Debug, Clone)]
pub(super) struct Turn(Arc<Permits>);

#[derive(Debug)]
struct Permits {
    /// Not set for a probe.
    _one: Option<OwnedSemaphorePermit>,
    /// Set if the request is for one client alone.
    alone: OnceLock<OwnedSemaphorePermit>,
}

/// A request that waits. Counts itself off when dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    fn reused(self) -> Self {
        Self { reused: true, ..self }
    }

    /// Makes the request one for a single client. Returns `false` if there are as many of these as there may be.
    pub(super) fn dedicate(&self) -> bool {
        let Permits { alone, _one: one } = &*self.turn.0;
        // A probe has no permit, and needs none. Of few connections, none is kept for others.
        let keeps_none = self.pool.connections_max < KEPT_SHARE;
        if one.is_none() || alone.get().is_some() || keeps_none {
            return true;
        }
        let permit = Arc::clone(&self.pool.alone.permits).try_acquire_owned();
        permit.is_ok_and(|permit| alone.set(permit).is_ok())
    }

    /// Returns the connection to the pool if it persists. Closes it if the current runtime is not the one that opened
    /// it.
    pub(super) fn give_back(self) {
        let Self { socket, persists, server, turn, runtime, pool, .. } = self;
        if persists && Handle::try_current().is_ok_and(|handle| handle.id() == runtime) {
            pool.put(runtime, Idle { socket, server, since: Instant::now() });
        }
        // Only now may the next request look for a connection.
        drop(turn);
    }
}

impl Pool {
    /// Creates a pool of at most `connections_max` connections. A request waits at most `wait` for one of them to end.
    pub(super) fn new(connections_max: usize, wait: Duration) -> Arc<Self> {
        let permits = Queue::of(connections_max);
        let alone = Queue::of(connections_max - connections_max / KEPT_SHARE);
        Arc::new(Self { shelves: Mutex::default(), permits, alone, connections_max, wait })
    }

    /// Waits until a request may be on its way.
    ///
    /// # Errors
    ///
    /// Returns an error if no other one ends in time, or if as many as may be on their way wait already.
    pub(super) async fn turn(&self, traffic: Traffic) -> Result<Turn, SourceError> {
        let (alone, one) = match traffic {
            Traffic::Probe => (OnceLock::new(), None),
            Traffic::Shared => (OnceLock::new(), Some(self.one_of(&self.permits, None).await?)),
            Traffic::Alone => {
                let until = Instant::now() + self.wait;
                let alone = self.one_of(&self.alone, Some(until)).await?;
                (OnceLock::from(alone), Some(self.one_of(&self.permits, Some(until)).await?))
            }
        };
        Ok(Turn(Arc::new(Permits { _one: one, alone })))
    }

    /// Takes the most recently used connection to `server` that is still open and has no unread bytes.
    pub(super) fn take(self: &Arc<Self>, server: &Authority, turn: &Turn) -> Option<Connection> {
        let runtime = Handle::current().id();
        loop {
            let idle = {
                let mut shelves = self.shelves();
                let shelf = shelves.get_mut(&runtime)?;
                let index = shelf.iter().rposition(|idle| idle.server == *server)?;
                shelf.remove(index)
            };
            if idle.is_usable() {
                let Idle { socket, server, .. } = idle;
                return Some(self.connection(socket, server, turn, runtime).reused());
            }
        }
    }

    /// Closes idle connections of other runtimes, or to other servers, if there would be too many with one more.
    pub(super) fn make_room(&self) {
        let in_use = self.connections_max.saturating_sub(self.permits.permits.available_permits());
        let mut shelves = self.shelves();
        let idle: usize = shelves.values().map(Vec::len).sum();
        let mut excess = (in_use + idle).saturating_sub(self.connections_max);
        let mut closed = Vec::new();
        for shelf in shelves.values_mut() {
            let count = excess.min(shelf.len());
            excess -= count;
            closed.extend(shelf.drain(..count));
        }
        drop(shelves);
        drop(closed);
    }

    /// Waits for a permit until `until`, or for the whole wait. Permits go out first come, first served.
    async fn one_of(
        &self,
        queue: &Queue,
        until: Option<Instant>,
    ) -> Result<OwnedSemaphorePermit, SourceError> {
        if let Ok(permit) = Arc::clone(&queue.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let saturated = |reason: String| Err(SourceError::new(ErrorKind::Saturated).because(reason));
        let (count, wait) = (self.connections_max, self.wait);
        let ahead = queue.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&queue.waiting);
        if ahead >= count {
            return saturated(format!("all {count} are in use, and as many requests wait for one"));
        }
        let until = until.unwrap_or_else(|| Instant::now() + wait);
        match timeout_at(until, Arc::clone(&queue.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => saturated(format!(
                "all {count} were in use for {wait:?}: raise `s3.connections_max`, or find out why S3 is slow"
            )),
        }
    }

    /// Wraps a socket to `server` that was opened on the current runtime.
    pub(super) fn adopt(self: &Arc<Self>, socket: Socket, server: Authority, turn: &Turn) -> Connection {
        self.connection(socket, server, turn, Handle::current().id())
    }

    fn connection(
        self: &Arc<Self>,
        socket: Socket,
        server: Authority,
        turn: &Turn,
        runtime: Id,
    ) -> Connection {
        let pool = Arc::clone(self);
        Connection { socket, persists: true, reused: false, server, turn: turn.clone(), runtime, pool }
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
