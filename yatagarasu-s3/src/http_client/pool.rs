//! Connections that wait for the next request.
//!
//! A socket belongs to the runtime that opened it, and each worker has its own: so every runtime has its own
//! shelf of connections, and a task there that closes those nobody has asked for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, sleep};

use crate::http_client::socket::Socket;

/// How long a connection is kept for the next request. S3 closes its own after about 20 s.
const IDLE: Duration = Duration::from_secs(15);

/// Most connections a runtime keeps.
const IDLE_MAX: usize = 512;

/// How often it is looked at which connections have been idle for too long, or were closed by S3.
const PERIOD: Duration = Duration::from_secs(1);

/// The idle connections to one server.
///
/// A runtime has a shelf as long as its sweeper runs. What was used last stands at a shelf's end.
#[derive(Debug, Default)]
pub(super) struct Pool {
    shelves: Mutex<HashMap<Id, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    socket: Socket,
    since: Instant,
}

impl Idle {
    fn is_usable(&self) -> bool {
        self.since.elapsed() < IDLE && self.socket.is_quiet()
    }
}

/// A connection in use, which knows where to return to. Closed when dropped.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: Socket,
    /// Whether the server keeps it open after the response.
    pub(super) persists: bool,
    runtime: Id,
    pool: Arc<Pool>,
}

impl Connection {
    /// Leaves the connection to the next request, if it persists. One that has been read to its end on another
    /// runtime than opened it is closed.
    pub(super) fn give_back(self) {
        let Self { socket, persists, runtime, pool } = self;
        if persists && Handle::try_current().is_ok_and(|handle| handle.id() == runtime) {
            pool.put(runtime, Idle { socket, since: Instant::now() });
        }
    }
}

impl Pool {
    /// Takes the connection that was used last, if one is open and has nothing to say.
    pub(super) fn take(self: &Arc<Self>) -> Option<Connection> {
        let runtime = Handle::current().id();
        loop {
            let idle = self.shelves().get_mut(&runtime)?.pop()?;
            if idle.is_usable() {
                return Some(self.connection(idle.socket, runtime));
            }
        }
    }

    /// Makes a connection of a socket that was opened here.
    pub(super) fn adopt(self: &Arc<Self>, socket: Socket) -> Connection {
        self.connection(socket, Handle::current().id())
    }

    fn connection(self: &Arc<Self>, socket: Socket, runtime: Id) -> Connection {
        Connection { socket, persists: true, runtime, pool: Arc::clone(self) }
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
            tokio::spawn(sweep(Sweeper { pool: Arc::downgrade(self), runtime }));
        }
    }

    /// Closes what is of no use any more; says whether anything is left.
    fn expire(&self, runtime: Id) -> bool {
        // The system is asked about each, and sockets are closed, while others may use the pool.
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
    loop {
        sleep(PERIOD).await;
        let Some(pool) = sweeper.pool.upgrade() else { return };
        if !pool.expire(sweeper.runtime) {
            // The shelf is gone: one that another task looks after may stand in its place.
            sweeper.pool = Weak::new();
            return;
        }
    }
}
