//! Ends idle and stalled connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use yatagarasu_sys::clock::since_boot;

use crate::connection::state::{ConnectionState, Look, Order};
use crate::connection::stream::{Stream, Streams};

/// Number of looks per shortest timeout. [`PERIOD_MAX`] may make it more.
const LOOKS: u32 = 8;

/// Number of consecutive idle looks after which a connection is closed if there are too many, or the server stops. A new
/// one has not sent its request yet at the first.
const IDLE_LOOKS_SOON: u32 = 2;

/// The time over which a rate is measured if there is no limit for clients that take nothing.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// Time for which a client has to have taken nothing before its response may be ended for the memory that it holds. The
/// kernel tells of bytes that a slow client takes only now and then.
const STALLED_TO_FREE: Duration = Duration::from_secs(3);

/// Time between two threads that free memory: the first one's responses have ended by then.
const FREEING: Duration = Duration::from_millis(100);

/// When a thread last freed memory, in milliseconds since the start of the machine.
static FREED_AT: AtomicU64 = AtomicU64::new(0);

/// Longest time between two looks.
const PERIOD_MAX: Duration = Duration::from_secs(1);

/// The idle reaper of one thread: ends idle and stalled connections. One periodic look at all of them costs less than a
/// timer per request or per connection.
#[derive(Debug)]
pub(crate) struct IdleReaper {
    period: Duration,
    /// Number of consecutive idle looks after which a connection is closed.
    idle_looks: u32,
    /// Number of consecutive stalled looks after which a connection or a stream is reset. `None` means never.
    stalled_looks: Option<u32>,
    /// Number of consecutive stalled looks after which a response may be ended for the memory that it holds.
    freed_looks: u32,
    /// The rate that clients have to keep, if there is one.
    rate: Option<Rate>,
    order: Order,
    watched: Vec<Watched>,
    /// Number of connections by what the last look has found, in the order of [`Look::ALL`].
    found: [u64; Look::ALL.len()],
}

/// A minimum rate.
#[derive(Debug, Clone, Copy)]
struct Rate {
    /// Number of looks over which it is measured.
    looks: u32,
    /// Number of bytes that a client has to take in so many looks.
    bytes: u64,
}

#[derive(Debug)]
struct Watched {
    /// Weak, because the state has a waker, which keeps the memory of the connection's task.
    state: Weak<ConnectionState>,
    /// The result of the last look, and the number of consecutive looks with that result.
    last: Look,
    looks: u32,
    /// Number of consecutive looks at which bytes waited, and the bytes that were written before.
    waited: (u32, u64),
}

/// What holds an object for a client that takes nothing.
enum Holder {
    Connection(Arc<ConnectionState>),
    Stream(Arc<Stream>),
}

impl IdleReaper {
    /// Creates a reaper. It closes a connection if no complete request head arrives for `header_timeout` while no
    /// request is answered and no bytes wait. It resets a connection or a stream if its client takes nothing for
    /// `send_timeout`. Both may take up to two [periods](Self::period) longer.
    pub(crate) fn new(header_timeout: Duration, send_timeout: Option<Duration>) -> Self {
        let mut reaper = Self {
            period: PERIOD_MAX,
            idle_looks: u32::MAX,
            stalled_looks: None,
            freed_looks: u32::MAX,
            rate: None,
            order: Order::Serve,
            watched: Vec::new(),
            found: Default::default(),
        };
        reaper.limit(header_timeout, send_timeout, 0);
        reaper
    }

    /// Changes the limits, from the next look on. `rate_min` is the number of bytes that clients have to take in a second,
    /// while bytes wait for them, or 0.
    pub(crate) fn limit(&mut self, header_timeout: Duration, send_timeout: Option<Duration>, rate_min: u64) {
        let shortest = send_timeout.map_or(header_timeout, |timeout| timeout.min(header_timeout));
        let period = (shortest / LOOKS).clamp(Duration::from_millis(1), PERIOD_MAX);
        let looks = |limit: Duration| {
            let looks = limit.as_nanos().div_ceil(period.as_nanos());
            // One more, because the first look may come at once.
            u32::try_from(looks).unwrap_or(u32::MAX - 1) + 1
        };
        let earlier = std::mem::replace(&mut self.period, period);
        for watched in &mut self.watched {
            watched.count_anew(earlier, period);
        }
        self.freed_looks =
            looks(send_timeout.map_or(STALLED_TO_FREE, |timeout| timeout.min(STALLED_TO_FREE)));
        self.idle_looks = looks(header_timeout);
        self.stalled_looks = send_timeout.map(looks);
        self.rate = (rate_min > 0).then(|| {
            let looks = looks(send_timeout.unwrap_or(RATE_WINDOW));
            let time = period * looks;
            Rate {
                looks,
                bytes: u64::try_from(time.as_millis()).unwrap_or(u64::MAX).saturating_mul(rate_min) / 1000,
            }
        });
    }

    /// Returns the time between two calls of [`reap`](Self::reap).
    pub(crate) fn period(&self) -> Duration {
        self.period
    }

    /// Watches a new connection until the returned value is dropped.
    pub(crate) fn watch(&mut self) -> Arc<ConnectionState> {
        let state = Arc::<ConnectionState>::default();
        state.tell(self.order);
        self.watched.push(Watched {
            state: Arc::downgrade(&state),
            last: Look::Busy,
            looks: 0,
            waited: (0, 0),
        });
        state
    }

    /// Returns the number of connections by what the last look has found, in the order of [`Look::ALL`].
    pub(crate) fn found(&self) -> [u64; Look::ALL.len()] {
        self.found
    }

    /// Returns `true` if no connection is watched.
    pub(crate) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Looks at all connections. Ends those that were idle or stalled for too long; if there are too many, all that were
    /// idle since the last look. Returns the number of connections and streams that it ended because their clients took
    /// nothing.
    pub(crate) fn reap(&mut self, crowded: bool) -> u64 {
        // A client over HTTP/2 that does not answer the last PING would hold a server that stops.
        let soon = crowded || self.order >= Order::Drain;
        let idle_looks = if soon { IDLE_LOOKS_SOON } else { self.idle_looks };
        let stalled_looks = self.stalled_looks;
        let mut cut = 0;
        self.found = Default::default();
        self.watched.retain_mut(|watched| {
            let Some(state) = watched.state.upgrade() else { return false };
            let looks = watched.note(state.look());
            self.found[watched.last as usize] += 1;
            if state.is_cut() {
                return true;
            }
            if self.rate.is_some_and(|rate| watched.is_too_slow(rate, state.written())) {
                state.tell(Order::Cut);
                cut += 1;
                return true;
            }
            match (watched.last, stalled_looks) {
                (Look::Idle, _) if looks >= idle_looks => state.tell(Order::Leave),
                (Look::Stalled, Some(max)) if looks >= max => {
                    state.tell(Order::Cut);
                    cut += 1;
                }
                // Streams are not blamed for a full socket: all of them wait for it, even if their windows are open.
                (Look::Sending | Look::Stalled, _) if state.is_full() => {}
                (Look::Idle | Look::Busy | Look::Sending | Look::Stalled, max) => {
                    cut += state.streams().map_or(0, |streams| streams.cut_stalled(max.unwrap_or(u32::MAX)));
                }
            }
            true
        });
        if self.watched.capacity() > 64 && self.watched.len() < self.watched.capacity() / 4 {
            self.watched.shrink_to_fit();
        }
        cut
    }

    /// Frees at least `excess` bytes of objects that no cache holds any more, if so many are held for clients that have
    /// taken nothing for three seconds: ends their responses, those first that have waited longest. Returns the number of
    /// responses ended. Only one thread does so at a time.
    pub(crate) fn free(&mut self, excess: u64) -> u64 {
        let mut holding: Vec<(u32, u64, Holder)> = Vec::new();
        for watched in &self.watched {
            let Some(state) = watched.state.upgrade() else { continue };
            // All streams wait for a socket that is full.
            let streams = state.streams().map_or(0, Streams::retired_bytes);
            let bytes = state.held().retired_bytes() + streams;
            let long = watched.last == Look::Stalled && watched.looks >= self.freed_looks;
            if long && bytes > 0 {
                holding.push((watched.looks, bytes, Holder::Connection(state)));
            } else if let Some(streams) = state.streams() {
                let streams = streams.holding().into_iter().filter(|(looks, ..)| *looks >= self.freed_looks);
                holding.extend(streams.map(|(looks, bytes, stream)| (looks, bytes, Holder::Stream(stream))));
            }
        }
        if holding.is_empty() || !begins_to_free(since_boot()) {
            return 0;
        }
        holding.sort_by_key(|(looks, ..)| std::cmp::Reverse(*looks));
        let (mut freed, mut ended) = (0, 0);
        for (_, bytes, holder) in holding {
            if freed >= excess {
                break;
            }
            match holder {
                Holder::Connection(state) => state.tell(Order::Cut),
                Holder::Stream(stream) => stream.cut(),
            }
            freed += bytes;
            ended += 1;
        }
        ended
    }

    /// Gives all connections, present and future, an order.
    pub(crate) fn tell(&mut self, order: Order) {
        self.order = order;
        for state in self.watched.iter().filter_map(|watched| watched.state.upgrade()) {
            state.tell(order);
        }
    }
}

/// Returns `true` if no thread has begun to free memory within [`FREEING`].
fn begins_to_free(now: Duration) -> bool {
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let last = FREED_AT.load(Ordering::Relaxed);
    let due = u128::from(now.saturating_sub(last)) >= FREEING.as_millis();
    due && FREED_AT.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

impl Watched {
    /// Counts the looks so far as looks of another period.
    fn count_anew(&mut self, earlier: Duration, period: Duration) {
        let time = earlier.saturating_mul(self.looks);
        self.looks = u32::try_from(time.as_nanos() / period.as_nanos()).unwrap_or(u32::MAX);
        self.waited.0 = 0;
    }

    /// Records a look. Returns the number of consecutive looks with the same result.
    fn note(&mut self, look: Look) -> u32 {
        self.looks = if self.last == look { self.looks.saturating_add(1) } else { 1 };
        self.last = look;
        self.looks
    }

    /// Returns `true` if bytes have waited for so long, and the client has taken fewer than it has to. `written` is the
    /// number of bytes that its socket took so far.
    fn is_too_slow(&mut self, rate: Rate, written: u64) -> bool {
        if !matches!(self.last, Look::Sending | Look::Stalled) {
            self.waited = (0, written);
            return false;
        }
        let (looks, before) = self.waited;
        self.waited.0 = looks + 1;
        if looks < rate.looks {
            return false;
        }
        self.waited = (0, written);
        written - before < rate.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};
    use std::time::SystemTime;

    use tokio::net::{TcpListener, TcpStream};
    use yatagarasu_core::cache::entry::EntryKind;
    use yatagarasu_core::cache::segments::SegmentsBuilder;
    use yatagarasu_core::caching::freshness::Exchange;
    use yatagarasu_core::gateway::outcome::held::Held;
    use yatagarasu_core::{CacheEntry, Segments};

    use super::*;

    fn begin_stream(state: &ConnectionState) -> Arc<Stream> {
        let stream = Arc::default();
        state.watch(&stream);
        stream
    }

    fn order(state: &ConnectionState) -> Order {
        state.poll_order(&Context::from_waker(Waker::noop()))
    }

    /// Returns the two ends of a connection. The client's end does nothing.
    async fn socket() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("a port")).await.expect("a connection");
        (listener.accept().await.expect("a connection").0, client)
    }

    #[tokio::test]
    async fn only_what_is_idle_for_long_is_ended() {
        let mut reaper = IdleReaper::new(Duration::from_secs(4), None);
        assert_eq!(reaper.period(), Duration::from_millis(500));
        let (socket, _client) = socket().await;
        let (idle, answering, waiting) = (reaper.watch(), reaper.watch(), reaper.watch());
        let running = answering.begin();
        waiting.note(&Poll::Pending, &socket);
        // Belongs to no response and ends no wait, so that it does not count.
        idle.note(&Poll::Ready(Ok(1)), &socket);
        for _ in 0..LOOKS {
            reaper.reap(false);
        }
        assert_eq!(order(&idle), Order::Serve);
        reaper.reap(false);
        assert_eq!(
            [order(&idle), order(&answering), order(&waiting)],
            [Order::Leave, Order::Serve, Order::Serve]
        );
        drop(running);
        waiting.note(&Poll::Ready(Ok(1)), &socket);
        for _ in 0..=LOOKS {
            reaper.reap(false);
        }
        assert_eq!([order(&answering), order(&waiting)], [Order::Serve; 2]);
        reaper.reap(false);
        assert_eq!([order(&answering), order(&waiting)], [Order::Leave; 2]);
    }

    #[tokio::test]
    async fn a_client_that_is_too_slow_is_cut_off() {
        let mut reaper = IdleReaper::new(Duration::from_secs(60), None);
        reaper.limit(Duration::from_secs(60), Some(Duration::from_secs(4)), 1000);
        let (socket, _client) = socket().await;
        let (slow, fast) = (reaper.watch(), reaper.watch());
        for _ in 0..30 {
            for (state, bytes) in [(&slow, 100), (&fast, 1000)] {
                state.note(&Poll::Ready(Ok(bytes)), &socket);
                state.note(&Poll::Pending, &socket);
            }
            reaper.reap(false);
        }
        assert_eq!([order(&slow), order(&fast)], [Order::Cut, Order::Serve]);
    }

    #[test]
    fn idle_connections_make_room_in_a_crowd() {
        let mut reaper = IdleReaper::new(Duration::from_secs(60), None);
        let (idle, answering) = (reaper.watch(), reaper.watch());
        let _running = answering.begin();
        reaper.reap(true);
        assert_eq!(order(&idle), Order::Serve, "its request may be on its way");
        reaper.reap(true);
        assert_eq!([order(&idle), order(&answering)], [Order::Leave, Order::Serve]);
    }

    #[tokio::test]
    async fn only_a_client_that_takes_nothing_for_long_is_cut_off() {
        let mut reaper = IdleReaper::new(Duration::from_secs(60), Some(Duration::from_secs(4)));
        assert_eq!(reaper.period(), Duration::from_millis(500));
        let (socket, _client) = socket().await;
        let (slow, stalled, fetching) = (reaper.watch(), reaper.watch(), reaper.watch());
        // Waits for S3.
        let _running = fetching.begin();
        for look in 0..LOOKS {
            slow.note(&Poll::Pending, &socket);
            if look % 4 == 0 {
                slow.note(&Poll::Ready(Ok(1)), &socket);
                slow.note(&Poll::Pending, &socket);
            }
            stalled.note(&Poll::Pending, &socket);
            assert_eq!(reaper.reap(false), 0, "{look}");
        }
        // Counted only once.
        assert_eq!([reaper.reap(false), reaper.reap(false)], [1, 0]);
        assert_eq!(
            [order(&slow), order(&stalled), order(&fetching)],
            [Order::Serve, Order::Cut, Order::Serve]
        );
    }

    #[test]
    fn a_stream_whose_client_takes_nothing_of_it_is_cut_off_alone() {
        let mut reaper = IdleReaper::new(Duration::from_secs(60), Some(Duration::from_secs(4)));
        let state = reaper.watch();
        let _running = state.begin();
        let [stalled, slow, fetching] = [0; 3].map(|_| begin_stream(&state));
        stalled.give();
        for look in 0..LOOKS {
            if look % 4 == 0 {
                slow.ask();
                slow.give();
            }
            fetching.ask();
            assert_eq!(reaper.reap(false), 0);
        }
        assert_eq!(reaper.reap(false), 1);
        assert_eq!(reaper.reap(false), 0, "it is counted once");
        assert_eq!([&stalled, &slow, &fetching].map(|stream| stream.is_cut()), [true, false, false]);
        assert_eq!(order(&state), Order::Serve);
    }

    /// A stalled stream may use up the window that all streams of its connection share.
    #[test]
    fn of_several_stalled_streams_the_longest_is_cut_off_first() {
        let mut reaper = IdleReaper::new(Duration::from_secs(60), Some(Duration::from_secs(4)));
        let state = reaper.watch();
        let _running = state.begin();
        let [first, second] = [0; 2].map(|_| begin_stream(&state));
        second.give();
        reaper.reap(false);
        first.give();
        let cut: Vec<_> = (0..LOOKS + 3).map(|_| reaper.reap(false)).collect();
        assert_eq!(cut.iter().sum::<u64>(), 2);
        assert_eq!((cut[7], cut[8], cut[9]), (1, 0, 1), "{cut:?}");
        assert!(first.is_cut() && second.is_cut());
    }

    /// A client with a full socket sends more requests over HTTP/2 and takes nothing.
    #[tokio::test]
    async fn a_client_that_asks_on_and_takes_nothing_is_cut_off() {
        let mut reaper = IdleReaper::new(Duration::from_secs(60), Some(Duration::from_secs(4)));
        let (socket, _client) = socket().await;
        let state = reaper.watch();
        state.note(&Poll::Pending, &socket);
        for _ in 0..LOOKS {
            drop(state.begin());
            assert_eq!(reaper.reap(false), 0);
        }
        drop(state.begin());
        assert_eq!(reaper.reap(false), 1);
        assert_eq!(order(&state), Order::Cut);
    }

    /// A client that had stalled for longer than a new limit was never cut off.
    #[tokio::test]
    async fn a_shorter_limit_holds_for_those_who_have_stalled_already() {
        let mut reaper = IdleReaper::new(Duration::from_secs(60), Some(Duration::from_secs(60)));
        let (socket, _client) = socket().await;
        let state = reaper.watch();
        state.note(&Poll::Pending, &socket);
        for _ in 0..14 {
            assert_eq!(reaper.reap(false), 0);
        }
        reaper.limit(Duration::from_secs(60), Some(Duration::from_secs(20)), 0);
        assert_eq!(reaper.reap(false), 0, "15 s are fewer than 20");
        reaper.limit(Duration::from_secs(60), Some(Duration::from_secs(2)), 0);
        assert_eq!([reaper.reap(false), reaper.reap(false)], [1, 0]);
        assert_eq!(order(&state), Order::Cut);
    }

    /// The kernel tells of what a slow client takes at every second look or so.
    #[tokio::test]
    async fn only_clients_that_have_stalled_for_some_time_free_memory() {
        let mut reaper = IdleReaper::new(Duration::from_secs(60), Some(Duration::from_secs(60)));
        let (socket, _client) = socket().await;
        let entry = CacheEntry::note(
            EntryKind::Full(content()),
            Exchange::at(SystemTime::UNIX_EPOCH),
            Duration::ZERO,
        );
        entry.retire();
        let entry = Arc::new(entry);
        let (slow, stalled) = (reaper.watch(), reaper.watch());
        for state in [&slow, &stalled] {
            state.held().set(Some(Held::stored(&entry)));
            state.note(&Poll::Pending, &socket);
        }
        let mut looks = 0;
        while reaper.free(1000) == 0 {
            if looks % 2 == 0 {
                slow.note(&Poll::Ready(Ok(1)), &socket);
                slow.note(&Poll::Pending, &socket);
            }
            reaper.reap(false);
            looks += 1;
        }
        assert!(looks >= 4, "{looks}");
        assert_eq!([order(&slow), order(&stalled)], [Order::Serve, Order::Cut]);
    }

    fn content() -> Segments {
        let mut content = SegmentsBuilder::new(Some(2000));
        content.push(&[0; 2000]);
        content.finish()
    }

    #[test]
    fn connections_that_have_ended_are_forgotten() {
        let mut reaper = IdleReaper::new(Duration::from_secs(1), None);
        drop(reaper.watch());
        let open = reaper.watch();
        reaper.reap(false);
        assert!(!reaper.is_empty());
        drop(open);
        reaper.reap(false);
        assert!(reaper.is_empty());
    }

    #[test]
    fn an_order_to_drain_reaches_those_that_come_later() {
        let mut reaper = IdleReaper::new(Duration::from_secs(1), None);
        let early = reaper.watch();
        reaper.tell(Order::Drain);
        assert_eq!([order(&early), order(&reaper.watch())], [Order::Drain; 2]);
    }
}
