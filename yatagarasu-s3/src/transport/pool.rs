//! Connections that wait for the next request.
//!
//! A socket belongs to the runtime that opened it, and each worker has its own: so every runtime has its own
//! shelf of connections, and a task there that closes those nobody has asked for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::uri::Authority;
use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, sleep_until};

use super::socket::Socket;

/// How long a connection is kept for the next request. S3 closes its own after about 20 s.
const IDLE: Duration = Duration::from_secs(15);

/// The idle connections of one transport, and so of one scheme.
///
/// A runtime has a shelf as long as its sweeper runs. What was used last stands at a shelf's end.
#[derive(Debug, Default)]
pub(super) struct Pool {
    shelves: Mutex<HashMap<Id, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    authority: Authority,
    socket: Socket,
    since: Instant,
}

/// A connection in use, which knows where to return to. Closed when dropped.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: Socket,
    /// Whether the server keeps it open after the response.
    pub(super) persists: bool,
    authority: Authority,
    runtime: Id,
    pool: Arc<Pool>,
}

impl Connection {
    /// Leaves the connection to the next request, if it persists. One that has been read to its end on another
    /// runtime than opened it is closed.
    pub(super) fn give_back(self) {
        let Self { socket, persists, authority, runtime, pool } = self;
        if persists && Handle::try_current().is_ok_and(|handle| handle.id() == runtime) {
            pool.put(runtime, Idle { authority, socket, since: Instant::now() });
        }
    }
}

impl Pool {
    /// Takes the connection to a server that was used last, if one is open and has nothing to say.
    pub(super) fn take(self: &Arc<Self>, authority: &Authority) -> Option<Connection> {
        let runtime = Handle::current().id();
        loop {
            let mut idle = self.pop(runtime, authority)?;
            if idle.since.elapsed() < IDLE && idle.socket.is_quiet() {
                return Some(self.connection(idle.socket, idle.authority, runtime));
            }
        }
    }

    /// Makes a connection of a socket that was opened here.
    pub(super) fn adopt(self: &Arc<Self>, socket: Socket, authority: Authority) -> Connection {
        self.connection(socket, authority, Handle::current().id())
    }

    fn connection(self: &Arc<Self>, socket: Socket, authority: Authority, runtime: Id) -> Connection {
        Connection { socket, persists: true, authority, runtime, pool: Arc::clone(self) }
    }

    fn pop(&self, runtime: Id, authority: &Authority) -> Option<Idle> {
        let mut shelves = self.shelves();
        let shelf = shelves.get_mut(&runtime)?;
        let last = shelf.iter().rposition(|idle| idle.authority == *authority)?;
        Some(shelf.remove(last))
    }

    #[expect(clippy::disallowed_methods, reason = "ends when no connection is idle, or the pool is dropped")]
    fn put(self: &Arc<Self>, runtime: Id, idle: Idle) {
        let mut shelves = self.shelves();
        let shelf = shelves.entry(runtime);
        let swept = matches!(shelf, Entry::Occupied(_));
        shelf.or_default().push(idle);
        drop(shelves);
        if !swept {
            tokio::spawn(sweep(Sweeper { pool: Arc::downgrade(self), runtime }));
        }
    }

    /// Closes what has been idle for too long; says when to look again, if anything is left.
    fn expire(&self, runtime: Id) -> Option<Instant> {
        let now = Instant::now();
        let (next, expired) = {
            let mut shelves = self.shelves();
            let shelf = shelves.get_mut(&runtime)?;
            let expired = shelf.partition_point(|idle| idle.since + IDLE <= now);
            let expired: Vec<_> = shelf.drain(..expired).collect();
            let next = shelf.first().map(|idle| idle.since + IDLE);
            if next.is_none() {
                shelves.remove(&runtime);
            }
            (next, expired)
        };
        // Closed after the lock is gone.
        drop(expired);
        next
    }

    fn shelves(&self) -> MutexGuard<'_, HashMap<Id, Vec<Idle>>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after the shelf of one runtime, which goes when the runtime does.
struct Sweeper {
    pool: Weak<Pool>,
    runtime: Id,
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            let shelf = pool.shelves().remove(&self.runtime);
            drop(shelf);
        }
    }
}

async fn sweep(mut sweeper: Sweeper) {
    let mut next = Instant::now() + IDLE;
    loop {
        sleep_until(next).await;
        let Some(pool) = sweeper.pool.upgrade() else { return };
        let Some(at) = pool.expire(sweeper.runtime) else {
            // The shelf is gone: one that another task looks after may stand in its place.
            sweeper.pool = Weak::new();
            return;
        };
        next = at;
    }
}
