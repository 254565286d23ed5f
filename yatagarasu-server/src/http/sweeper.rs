use std::sync::{Arc, Weak};
use std::time::Duration;

use super::activity::{Activity, Order};

/// How many times a connection is looked at before it has been idle too long.
const LOOKS: u32 = 8;

/// Longest pause between two looks.
const PERIOD_MAX: Duration = Duration::from_secs(1);

/// Watches the connections of one thread: looking at all of them now and then costs less than a timer for each
/// request, or for each connection.
#[derive(Debug)]
pub(crate) struct Sweeper {
    period: Duration,
    /// Looks in a row that find a connection idle before it is ended.
    idle_looks: u32,
    order: Order,
    watched: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    /// Gone when the connection is: it keeps its task's memory.
    activity: Weak<Activity>,
    idle_looks: u32,
}

impl Sweeper {
    /// Ends connections on which no complete head has come for `limit`, or up to two [periods](Self::period) longer,
    /// while nothing was being answered or waited to be taken.
    pub(crate) fn new(limit: Duration) -> Self {
        let period = (limit / LOOKS).clamp(Duration::from_millis(1), PERIOD_MAX);
        let looks = u32::try_from(limit.as_nanos().div_ceil(period.as_nanos())).unwrap_or(u32::MAX - 1);
        // The first look may come at once.
        Self { period, idle_looks: looks + 1, order: Order::Serve, watched: Vec::new() }
    }

    /// How often to [`sweep`](Self::sweep).
    pub(crate) fn period(&self) -> Duration {
        self.period
    }

    /// Watches a new connection for as long as it holds what it is given.
    pub(crate) fn watch(&mut self) -> Arc<Activity> {
        let activity = Arc::<Activity>::default();
        activity.tell(self.order);
        self.watched.push(Watched { activity: Arc::downgrade(&activity), idle_looks: 0 });
        activity
    }

    /// Whether there is nothing to watch.
    pub(crate) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Looks at all connections and ends those that have been idle too long.
    pub(crate) fn sweep(&mut self) {
        self.watched.retain_mut(|watched| {
            let Some(activity) = watched.activity.upgrade() else { return false };
            if activity.was_busy() {
                watched.idle_looks = 0;
            } else {
                watched.idle_looks += 1;
                if watched.idle_looks >= self.idle_looks {
                    activity.tell(Order::Leave);
                }
            }
            true
        });
        if self.watched.capacity() > 64 && self.watched.len() < self.watched.capacity() / 4 {
            self.watched.shrink_to_fit();
        }
    }

    /// Has all connections end once what they are answering has ended, and those that come later.
    pub(crate) fn drain(&mut self) {
        self.order = Order::Drain;
        for activity in self.watched.iter().filter_map(|watched| watched.activity.upgrade()) {
            activity.tell(Order::Drain);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn order(activity: &Activity) -> Order {
        activity.poll_order(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_what_is_idle_for_long_is_ended() {
        let mut sweeper = Sweeper::new(Duration::from_secs(4));
        assert_eq!(sweeper.period(), Duration::from_millis(500));
        let (idle, answering, waiting) = (sweeper.watch(), sweeper.watch(), sweeper.watch());
        let running = answering.begin();
        waiting.note(&Poll::Pending);
        // Neither an answer nor the rest of one.
        idle.note(&Poll::Ready(Ok(1)));
        for _ in 0..LOOKS {
            sweeper.sweep();
        }
        assert_eq!(order(&idle), Order::Serve);
        sweeper.sweep();
        assert_eq!(
            [order(&idle), order(&answering), order(&waiting)],
            [Order::Leave, Order::Serve, Order::Serve]
        );
        drop(running);
        waiting.note(&Poll::Ready(Ok(1)));
        for _ in 0..=LOOKS {
            sweeper.sweep();
        }
        assert_eq!([order(&answering), order(&waiting)], [Order::Serve; 2]);
        sweeper.sweep();
        assert_eq!([order(&answering), order(&waiting)], [Order::Leave; 2]);
    }

    #[test]
    fn connections_that_have_ended_are_forgotten() {
        let mut sweeper = Sweeper::new(Duration::from_secs(1));
        drop(sweeper.watch());
        let open = sweeper.watch();
        sweeper.sweep();
        assert!(!sweeper.is_empty());
        drop(open);
        sweeper.sweep();
        assert!(sweeper.is_empty());
    }

    #[test]
    fn an_order_to_drain_reaches_those_that_come_later() {
        let mut sweeper = Sweeper::new(Duration::from_secs(1));
        let early = sweeper.watch();
        sweeper.drain();
        assert_eq!([order(&early), order(&sweeper.watch())], [Order::Drain; 2]);
    }
}
