//! Keeps the snapshots of the last minutes, and computes rates, ratios and quantiles from their differences.

use std::collections::{BTreeMap, VecDeque};

use super::snapshot::Snapshot;

/// Number of snapshots that are kept, one for each second.
const KEPT: usize = 300;

/// Number of seconds that ratios and quantiles are about.
pub(super) const WINDOW: usize = 10;

/// Cache outcomes that count as hits: the object was in memory, or another request was fetching it.
const HITS: [&str; 4] = ["hit", "stale", "revalidated", "joined"];

/// Cache outcome of the gateway's own responses.
const OWN: &str = "own";

/// The last snapshots, the latest one at the end.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Snapshot>);

impl History {
    /// Adds a snapshot. If the server has started anew, forgets the others.
    pub(super) fn add(&mut self, snapshot: Snapshot) {
        if self.0.back().is_some_and(|last| snapshot.uptime_seconds < last.uptime_seconds) {
            self.0.clear();
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(snapshot);
    }

    /// Returns the latest snapshot.
    pub(super) fn latest(&self) -> Option<&Snapshot> {
        self.0.back()
    }

    /// Returns the snapshot `seconds` before the latest one, or the first.
    fn before(&self, seconds: usize) -> Option<&Snapshot> {
        self.0.get(self.0.len().saturating_sub(1 + seconds))
    }

    /// Returns how much a total has grown in the last second, on average over `seconds`.
    pub(super) fn rate(&self, total: impl Fn(&Snapshot) -> u64, seconds: usize) -> f64 {
        let (Some(from), Some(to)) = (self.before(seconds), self.latest()) else { return 0.0 };
        per_second(from, to, &total)
    }

    /// Returns the growth of a total in each second, the latest one at the end.
    pub(super) fn rates(&self, total: impl Fn(&Snapshot) -> u64) -> Vec<f64> {
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        pairs.map(|(from, to)| per_second(from, to, &total)).collect()
    }

    /// Returns the share of hits among responses for objects, of their number or of their bytes, in the last
    /// seconds. Returns `None` if there were none.
    pub(super) fn hit_ratio(&self, counts: impl Fn(&Snapshot) -> &BTreeMap<String, u64>) -> Option<f64> {
        let (from, to) = (self.before(WINDOW)?, self.latest()?);
        let grown = |of: &dyn Fn(&str) -> bool| -> u64 {
            let names = counts(to).iter().filter(|(name, _)| of(name));
            names
                .map(|(name, count)| count.saturating_sub(counts(from).get(name).copied().unwrap_or(0)))
                .sum()
        };
        let (hits, all) = (grown(&|name| HITS.contains(&name)), grown(&|name| name != OWN));
        (all > 0).then(|| float(hits) / float(all))
    }

    /// Returns a quantile of the times that `counts` has counted in the last seconds, in seconds. Returns `None` if there
    /// were none.
    pub(super) fn quantile(&self, counts: impl Fn(&Snapshot) -> &Vec<u64>, quantile: f64) -> Option<f64> {
        let (from, to) = (self.before(WINDOW)?, self.latest()?);
        let grown: Vec<u64> = if std::ptr::eq(from, to) {
            counts(to).clone()
        } else {
            counts(to).iter().zip(counts(from)).map(|(to, from)| to.saturating_sub(*from)).collect()
        };
        let bounds = &to.latency.bounds;
        let mut rest = quantile * float(grown.iter().sum());
        if rest <= 0.0 {
            return None;
        }
        for (index, count) in grown.iter().enumerate() {
            let count = float(*count);
            if rest <= count && count > 0.0 {
                let low = index.checked_sub(1).map_or(0.0, |below| bounds[below]);
                // Above the last bound nothing is known.
                return Some(bounds.get(index).map_or(low, |high| low + (high - low) * (rest / count)));
            }
            rest -= count;
        }
        bounds.last().copied()
    }
}

/// Returns the sum of counts.
pub(super) fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

fn per_second(from: &Snapshot, to: &Snapshot, total: &impl Fn(&Snapshot) -> u64) -> f64 {
    let time = to.uptime_seconds - from.uptime_seconds;
    if time > 0.0 { float(total(to).saturating_sub(total(from))) / time } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::Latency;
    use super::*;

    fn at(uptime_seconds: f64, hits: u64, misses: u64, memory: [u64; 3]) -> Snapshot {
        let requests = [("hit", hits), ("miss", misses), ("own", 1000)];
        let requests = requests.map(|(name, count)| (name.to_owned(), count)).into_iter().collect();
        let latency = Latency { bounds: vec![0.1, 0.2], memory: memory.into(), source: vec![0; 3] };
        Snapshot { uptime_seconds, requests, latency, ..Snapshot::default() }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "they are exact")]
    fn rates_and_ratios_are_of_the_last_seconds() {
        let mut history = History::default();
        assert_eq!(
            (history.rate(|one| sum(&one.requests), 1), history.hit_ratio(|one| &one.requests)),
            (0.0, None)
        );
        history.add(at(1.0, 100, 100, [0; 3]));
        history.add(at(3.0, 130, 110, [0; 3]));
        assert_eq!(history.rate(|one| sum(&one.requests), 1), 20.0);
        assert_eq!(history.hit_ratio(|one| &one.requests), Some(0.75));
        for second in 4_u32..20 {
            history.add(at(second.into(), 130, 110, [0; 3]));
        }
        assert_eq!(history.hit_ratio(|one| &one.requests), None);
        assert_eq!(history.rates(|one| sum(&one.requests)).len(), 17);
        history.add(at(0.5, 1, 1, [0; 3]));
        assert_eq!(history.rates(|one| sum(&one.requests)).len(), 0, "it has started anew");
    }

    #[test]
    fn quantiles_are_interpolated() {
        let mut history = History::default();
        history.add(at(1.0, 0, 0, [5, 5, 5]));
        history.add(at(2.0, 0, 0, [55, 55, 5]));
        let quantile = |quantile| history.quantile(|one| &one.latency.memory, quantile);
        let is_about = |found: Option<f64>, expected: f64| (found.expect("some") - expected).abs() < 1e-9;
        assert!(is_about(quantile(0.5), 0.1) && is_about(quantile(0.75), 0.15), "{:?}", quantile(0.75));
        assert_eq!(history.quantile(|one| &one.latency.source, 0.5), None);
    }
}
