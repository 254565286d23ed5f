//! How the bodies of a thread share it with everything else.
//!
//! A thread accepts requests, answers hits, and moves the bytes of many bodies. A runtime runs what is ready in the
//! order in which it became ready: with a thousand bodies ready, a hit would wait until each of them has moved a piece.
//! So bodies are moved in *turns*. A turn is over after [`TURN_BYTES`] or [`TURN_TIME`]. A body that comes later
//! waits in a queue. Between two turns, [`divide`] lets the runtime look for new events and run what they wake. Then
//! the bodies of the queue move one piece each, first come first served and a few at once, until that turn is over. A
//! hit therefore waits for one turn at most.
//!
//! A turn counts the work of bodies only, so it is as long beside a thousand busy hits as without them. The first piece of a
//! body, and all until it has moved [`FREE_BYTES`], wait for no turn and count for none. Most bodies are no longer.
//!
//! On a thread where [`divide`] does not run, no body ever waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// Number of bytes after which a turn is over. The last piece of a turn may exceed it.
pub const TURN_BYTES: usize = 512 * 1024;

/// Time that bodies spend with reading after which a turn is over: bytes that are cheap for one congestion control are
/// expensive for another. Writing them takes about as long again.
const TURN_TIME: Duration = Duration::from_micros(250);

/// Number of bodies that are released at once. With one, each would wait for all other tasks that are ready.
const AT_ONCE: usize = 4;

/// Number of bytes of a body that wait for no turn.
pub const FREE_BYTES: usize = 64 * 1024;

thread_local! {
    static TURNS: RefCell<Turns> = RefCell::default();
}

/// The share of one body in its thread.
#[derive(Debug, Default)]
pub struct BodyTurn {
    /// Number of bytes moved, up to [`FREE_BYTES`].
    moved: usize,
    /// The place in the queue. `None` if the body has never waited.
    place: Option<Arc<Place>>,
}

impl BodyTurn {
    /// Waits until the body may move its next piece. Call it only if there is one: a body that is released and moves
    /// nothing delays the others, and would queue again at once.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.moved < FREE_BYTES {
            return Poll::Ready(());
        }
        TURNS.with_borrow_mut(|turns| turns.poll(&mut self.place, cx))
    }

    /// Records that the body has moved a piece of `bytes` bytes.
    pub fn moved(&mut self, bytes: usize) {
        if self.moved >= FREE_BYTES {
            TURNS.with_borrow_mut(|turns| turns.spend(bytes));
        }
        self.moved = self.moved.saturating_add(bytes).min(FREE_BYTES);
    }

    /// Returns `true` if the body waits for its turn.
    pub fn is_waiting(&self) -> bool {
        self.place.as_ref().is_some_and(|place| matches!(*place.state(), State::Waiting(_)))
    }
}

impl Drop for BodyTurn {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            *place.state() = State::Away;
        }
    }
}

/// Begins a turn. For a runtime that has just waited for events and found some: all that they wake is ready now.
pub fn begin() {
    // The thread-local state is gone if the thread is ending.
    let _ = TURNS.try_with(|turns| turns.borrow_mut().begin());
}

/// Divides the time of this thread among its bodies. Never returns. Run it as a task of a single-threaded tokio
/// runtime: that looks for events before it goes on with a task that has yielded.
pub async fn divide() {
    let _divided = Divided;
    loop {
        poll_fn(|cx| TURNS.with_borrow_mut(|turns| turns.poll_waiting(cx))).await;
        tokio::task::yield_now().await;
        begin();
        while release_some() {
            back_of_the_queue().await;
        }
    }
}

/// Lets the first bodies of the queue go on. Returns `false` if the turn is over, or nobody waits.
fn release_some() -> bool {
    let mut released = 0;
    while released < AT_ONCE
        && let Some(place) = TURNS.with_borrow_mut(Turns::next)
    {
        released += usize::from(place.release());
    }
    released > 0
}

/// Lets all tasks run that are ready, without looking for events.
async fn back_of_the_queue() {
    let mut is_back = false;
    poll_fn(|cx| {
        if mem::replace(&mut is_back, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The bodies of one thread.
#[derive(Debug, Default)]
struct Turns {
    /// Wakes [`divide`]. `None` if it does not run on this thread.
    divider: Option<Waker>,
    /// Number of bytes moved in this turn.
    bytes: usize,
    /// Time that it took.
    time: Duration,
    /// When the body that moves now was let go on.
    since: Option<Instant>,
    waiting: VecDeque<Arc<Place>>,
}

impl Turns {
    fn begin(&mut self) {
        (self.bytes, self.time, self.since) = (0, Duration::ZERO, None);
    }

    fn spend(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.time += self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
    }

    fn is_over(&self) -> bool {
        self.bytes >= TURN_BYTES || self.time >= TURN_TIME
    }

    fn poll(&mut self, place: &mut Option<Arc<Place>>, cx: &Context<'_>) -> Poll<()> {
        let Some(divider) = &self.divider else { return Poll::Ready(()) };
        if let Some(place) = place {
            let mut state = place.state();
            match mem::take(&mut *state) {
                State::Released => {
                    self.since = Some(Instant::now());
                    return Poll::Ready(());
                }
                State::Waiting(waker) => {
                    *state =
                        State::Waiting(if waker.will_wake(cx.waker()) { waker } else { cx.waker().clone() });
                    return Poll::Pending;
                }
                State::Away => {}
            }
        }
        if self.waiting.is_empty() {
            if !self.is_over() {
                self.since = Some(Instant::now());
                return Poll::Ready(());
            }
            divider.wake_by_ref();
        }
        let place = place.get_or_insert_default();
        *place.state() = State::Waiting(cx.waker().clone());
        self.waiting.push_back(Arc::clone(place));
        Poll::Pending
    }

    /// Waits until a body waits.
    fn poll_waiting(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.waiting.is_empty() {
            return Poll::Ready(());
        }
        // The waker of a task stays the same for the task's lifetime.
        self.divider.get_or_insert_with(|| cx.waker().clone());
        Poll::Pending
    }

    /// Takes the first place of the queue, unless the turn is over.
    fn next(&mut self) -> Option<Arc<Place>> {
        if self.is_over() { None } else { self.waiting.pop_front() }
    }
}

/// The place of a body in the queue.
#[derive(Debug, Default)]
struct Place(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// The body is not in the queue, or left it.
    #[default]
    Away,
    /// The body waits.
    Waiting(Waker),
    /// The body may move a piece.
    Released,
}

impl Place {
    /// Lets the body go on. Returns `false` if it does not wait any more.
    fn release(&self) -> bool {
        let before = mem::replace(&mut *self.state(), State::Released);
        match before {
            State::Waiting(waker) => {
                waker.wake();
                true
            }
            State::Away | State::Released => false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets all bodies of this thread go on when [`divide`] ends: nothing would release them any more.
struct Divided;

impl Drop for Divided {
    fn drop(&mut self) {
        // The thread-local state is gone if the thread is ending, and the bodies with it.
        let waiting = TURNS.try_with(|turns| mem::take(&mut *turns.borrow_mut()).waiting);
        for place in waiting.into_iter().flatten() {
            place.release();
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tasks end with the runtime of their test")]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream as StdStream;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::UnixStream;
    use tokio::task::JoinHandle;

    use super::*;

    const BODIES: usize = 1000;
    const PIECE_BYTES: usize = 64 * 1024;

    /// Bodies whose next piece is always ready, and the pieces that each has moved.
    struct Crowd {
        moved: Arc<[AtomicUsize]>,
        bodies: Vec<JoinHandle<()>>,
        divider: JoinHandle<()>,
    }

    impl Crowd {
        fn of(bodies: usize) -> Self {
            let moved: Arc<[AtomicUsize]> = (0..bodies).map(|_| AtomicUsize::new(0)).collect();
            let divider = tokio::spawn(divide());
            let body = |index: usize| {
                let moved = Arc::clone(&moved);
                tokio::spawn(async move {
                    let mut turn = BodyTurn::default();
                    loop {
                        poll_fn(|cx| turn.poll(cx)).await;
                        turn.moved(PIECE_BYTES);
                        moved[index].fetch_add(1, Ordering::Relaxed);
                        back_of_the_queue().await;
                    }
                })
            };
            let bodies = (0..bodies).map(body).collect();
            Self { moved, bodies, divider }
        }

        fn pieces(&self) -> Vec<usize> {
            self.moved.iter().map(|moved| moved.load(Ordering::Relaxed)).collect()
        }

        fn total(&self) -> usize {
            self.pieces().iter().sum()
        }

        /// Waits until the bodies have moved `pieces` more.
        async fn pass(&self, pieces: usize) {
            let before = self.total();
            while self.total() < before + pieces {
                back_of_the_queue().await;
            }
        }
    }

    /// Something that arrives while a thousand bodies are ready is seen after one turn.
    #[tokio::test]
    async fn a_hit_waits_for_one_turn_whatever_the_number_of_bodies() {
        for bodies in [1, 10, BODIES] {
            let crowd = Crowd::of(bodies);
            let (mut client, server) = StdStream::pair().unwrap();
            server.set_nonblocking(true).unwrap();
            let server = UnixStream::from_std(server).unwrap();
            let (moved, answered) = (Arc::clone(&crowd.moved), Arc::new(AtomicUsize::new(0)));
            let total = move || moved.iter().map(|moved| moved.load(Ordering::Relaxed)).sum::<usize>();
            let hit = {
                let answered = Arc::clone(&answered);
                async move {
                    loop {
                        server.readable().await.unwrap();
                        if server.try_read(&mut [0]).is_ok() {
                            answered.store(total(), Ordering::Relaxed);
                        }
                    }
                }
            };
            let hit = tokio::spawn(hit);
            crowd.pass(3 * bodies).await;
            for _ in 0..100 {
                let asked = crowd.total();
                answered.store(0, Ordering::Relaxed);
                client.write_all(b"?").unwrap();
                while answered.load(Ordering::Relaxed) == 0 {
                    back_of_the_queue().await;
                }
                let waited = answered.load(Ordering::Relaxed) - asked;
                assert!(
                    waited <= TURN_BYTES / PIECE_BYTES + AT_ONCE,
                    "{bodies} bodies moved {waited} pieces first"
                );
                // The next hit arrives at another point of a turn.
                crowd.pass(1).await;
            }
            hit.abort();
            crowd.divider.abort();
            crowd.bodies.iter().for_each(JoinHandle::abort);
        }
    }

    #[tokio::test]
    async fn every_body_moves_as_many_pieces_as_any_other() {
        let crowd = Crowd::of(BODIES);
        crowd.pass(10 * BODIES).await;
        let pieces = crowd.pieces();
        let (least, most) = (pieces.iter().min().unwrap(), pieces.iter().max().unwrap());
        assert!(most - least <= 1, "one has moved {least}, another {most}");
    }

    #[tokio::test]
    async fn bodies_that_leave_the_queue_hold_up_nobody() {
        let crowd = Crowd::of(BODIES);
        crowd.pass(2 * BODIES).await;
        let (left, stayed) = crowd.bodies.split_at(BODIES / 2);
        left.iter().for_each(JoinHandle::abort);
        let before = crowd.pieces();
        crowd.pass(2 * stayed.len()).await;
        let after = crowd.pieces();
        assert!(before[..left.len()] == after[..left.len()], "an aborted task moves nothing");
        assert!((left.len()..BODIES).all(|index| after[index] > before[index]), "all others go on");
    }

    #[tokio::test]
    async fn all_go_on_when_nothing_divides_the_thread_any_more() {
        let crowd = Crowd::of(BODIES);
        crowd.pass(2 * BODIES).await;
        crowd.divider.abort();
        crowd.pass(2 * BODIES).await;
    }

    #[test]
    fn the_beginning_of_a_body_waits_for_nothing() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let crowd = Crowd::of(10);
            crowd.pass(100).await;
            let cx = Context::from_waker(Waker::noop());
            let mut short = BodyTurn::default();
            TURNS.with_borrow_mut(|turns| turns.spend(TURN_BYTES));
            assert!(short.poll(&cx).is_ready());
            short.moved(FREE_BYTES - 1);
            assert!(short.poll(&cx).is_ready());
            short.moved(1);
            assert!(short.poll(&cx).is_pending());
        });
    }
}
