//! What an origin has been asked, and how it answers.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::{Reply, Request};

/// The requests that have arrived, and the replies to come.
#[derive(Debug, Default)]
pub(super) struct Script {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Request>,
    /// By key. The last one of a key repeats.
    replies: HashMap<String, VecDeque<Reply>>,
    /// Answers requests for all other keys.
    decides: Option<Decides>,
}

type Decide = dyn Fn(&Request) -> Option<Reply> + Send + Sync;

/// Makes a reply of a request.
#[derive(Clone)]
pub(super) struct Decides(pub(super) Arc<Decide>);

impl fmt::Debug for Decides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decides")
    }
}

impl Script {
    /// Sets the replies to requests for `key`.
    pub(super) fn set(&self, key: &str, replies: VecDeque<Reply>) {
        self.state().replies.insert(key.to_owned(), replies);
    }

    /// Sets what makes replies to requests for keys without a reply.
    pub(super) fn decide(&self, decides: Decides) {
        self.state().decides = Some(decides);
    }

    /// Records a request and returns the reply to it, if its key has one.
    pub(super) fn arrive(&self, request: &Request) -> Option<Reply> {
        let mut state = self.state();
        let reply = state.replies.get_mut(&request.key).and_then(|replies| {
            if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
        });
        let decides = state.decides.clone();
        state.requests.push(request.clone());
        drop(state);
        self.arrived.notify_waiters();
        reply.or_else(|| (decides?.0)(request))
    }

    /// Returns the requests that `wanted` accepts, in order.
    pub(super) fn requests(&self, wanted: impl Fn(&Request) -> bool) -> Vec<Request> {
        self.state().requests.iter().filter(|request| wanted(request)).cloned().collect()
    }

    /// Forgets the requests so far.
    pub(super) fn forget(&self) {
        self.state().requests.clear();
    }

    /// Waits for a request that arrives after this call.
    pub(super) fn arrival(&self) -> Notified<'_> {
        self.arrived.notified()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
