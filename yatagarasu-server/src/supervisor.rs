//! Tells systemd how the server is (`sd_notify(3)`, for `Type=notify`). Does nothing under other supervisors.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::process;
use std::time::Duration;

use sd_notify::{NotifyState, notify};
use tokio::time::{interval, timeout};

/// Says that the server serves. `replaces` says that it is another process than the one that systemd has started.
pub fn ready(replaces: bool) {
    let mut states = vec![NotifyState::Ready];
    if replaces {
        states.push(NotifyState::MainPid(process::id()));
    }
    tell(&states);
}

/// Says that the server reads its configuration again. Call [`ready`] when it is done.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    tell(&states);
}

/// Says that the server stops.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says regularly that the server is alive, if systemd asks for it (`WatchdogSec`), each time after `alive` has
/// resolved. If it does not, systemd starts the server again.
pub(crate) async fn watch<F: Future<Output = ()>>(alive: impl Fn() -> F) -> Infallible {
    let Some(limit) = sd_notify::watchdog_enabled() else { return pending().await };
    let mut times = interval((limit / 3).max(Duration::from_millis(10)));
    loop {
        times.tick().await;
        if timeout(limit, alive()).await.is_ok() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    // Without a supervisor there is nobody to tell.
    let _ = notify(states);
}
