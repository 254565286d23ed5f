//! Medians and percentiles.

use std::time::Duration;

/// Returns the median of `values`, or `None` if there are none. If their number is even, it is the mean of the middle
/// two.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// Returns the value that `per_mille` thousandths do not exceed (nearest rank), and sorts `values`.
pub(crate) fn percentile(values: &mut [Duration], per_mille: usize) -> Option<Duration> {
    values.sort_unstable();
    let rank = (values.len() * per_mille).div_ceil(1000);
    values.get(rank.saturating_sub(1)).copied()
}

/// Converts a count into a number for calculations.
#[expect(clippy::cast_precision_loss, reason = "a report shows four digits")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_median(values: &[f64], expected: Option<f64>) {
        let median = median(values);
        let same = match (median, expected) {
            (Some(median), Some(expected)) => (median - expected).abs() < 1e-9,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        assert!(same, "{values:?}: {median:?}, not {expected:?}");
    }

    #[test]
    fn the_median_is_the_middle() {
        check_median(&[], None);
        check_median(&[3.0], Some(3.0));
        check_median(&[9.0, 1.0], Some(5.0));
        check_median(&[5.0, 1.0, 4.0, 2.0, 1000.0], Some(4.0));
        check_median(&[4.0, 1.0, 2.0, 3.0], Some(2.5));
    }

    #[track_caller]
    fn check_percentile(count: u64, per_mille: usize, expected: Option<u64>) {
        let mut values: Vec<Duration> = (1..=count).rev().map(Duration::from_micros).collect();
        assert_eq!(percentile(&mut values, per_mille), expected.map(Duration::from_micros));
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        check_percentile(0, 990, None);
        check_percentile(1, 990, Some(1));
        check_percentile(100, 500, Some(50));
        check_percentile(100, 990, Some(99));
        check_percentile(101, 990, Some(100));
        check_percentile(1000, 990, Some(990));
        check_percentile(1000, 1000, Some(1000));
        check_percentile(10, 0, Some(1));
    }
}
