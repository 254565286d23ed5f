//! The pauses between a failed request and the next one.

use std::time::Duration;

use crate::source::consequences::Retry;
use crate::source::error::{ErrorKind, SourceError};

/// Upper bound of the first pause after a failure of one request.
const SOON: Duration = Duration::from_millis(50);

/// Upper bound of the first pause if the source asks for fewer requests.
const LATER: Duration = Duration::from_millis(500);

/// Upper bound of every pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Returns the pause after the failure number `failures`, which is 1 or more. Returns `None` if the request must not be
/// sent again.
///
/// The bound of the pause doubles with each failure, and `share`, a random number from 0 to 1, says how much of it is
/// taken ("full jitter"): clients that failed together come back apart.
pub(in crate::source) fn pause(retry: Retry, failures: u32, share: f64) -> Option<Duration> {
    let first = match retry {
        Retry::Soon => SOON,
        Retry::Later => LATER,
        Retry::Never => return None,
    };
    let bound = first.saturating_mul(1 << (failures - 1).min(16)).min(PAUSE_MAX);
    Some(bound.mul_f64(share))
}

/// Returns `pause`, or the longer one that the source asked for in `Retry-After` (RFC 9110, section 10.2.3).
pub(in crate::source) fn respect_retry_after(pause: Duration, error: &SourceError) -> Duration {
    match error.kind() {
        ErrorKind::Throttled { retry_after: Some(asked) } => asked.max(pause),
        _ => pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_a_limit() {
        let bounds = |retry| [1, 2, 3, 40].map(|failures| pause(retry, failures, 1.0).unwrap().as_millis());
        assert_eq!(bounds(Retry::Soon), [50, 100, 200, 5000]);
        assert_eq!(bounds(Retry::Later), [500, 1000, 2000, 5000]);
        assert_eq!(pause(Retry::Soon, 3, 0.25), Some(Duration::from_millis(50)));
        assert_eq!(pause(Retry::Never, 1, 1.0), None);
    }

    #[test]
    fn retry_after_makes_a_pause_longer_never_shorter() {
        let second = Duration::from_secs(1);
        let after = |kind| respect_retry_after(second, &SourceError::new(kind));
        assert_eq!(after(ErrorKind::Throttled { retry_after: Some(3 * second) }), 3 * second);
        assert_eq!(after(ErrorKind::Throttled { retry_after: Some(second / 2) }), second);
        assert_eq!(after(ErrorKind::Throttled { retry_after: None }), second);
        assert_eq!(after(ErrorKind::Unavailable), second);
    }
}
