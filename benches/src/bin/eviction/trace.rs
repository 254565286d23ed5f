//! The requests: a sequence of objects, one after the other.

use yatagarasu_benches::random::Random;
use yatagarasu_benches::zipf::Zipf;

/// Seed of all requests.
pub(crate) const SEED: u64 = 0x7961_7461;

/// During the scan, one request in this many belongs to it.
const SCAN_EVERY: u32 = 5;

/// Whether a scan runs in the middle third of the requests. It reads objects that no other request asks for, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    Absent,
    Present,
}

impl Scan {
    pub(crate) const ALL: [Self; 2] = [Self::Absent, Self::Present];

    /// Returns the value shown in the table.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Absent => "no",
            Self::Present => "yes",
        }
    }

    /// Returns the index of the scanned object if request `at` of `requests` belongs to the scan.
    fn object(self, at: u32, requests: u32) -> Option<u32> {
        match self {
            Self::Absent => None,
            Self::Present => {
                let third = requests / 3;
                let into = at.checked_sub(third)?;
                (into < third && into.is_multiple_of(SCAN_EVERY)).then_some(into / SCAN_EVERY)
            }
        }
    }
}

/// Returns the number of objects that a scan reads.
pub(crate) fn scanned(requests: u32) -> u32 {
    (requests / 3).div_ceil(SCAN_EVERY)
}

/// Returns the number of requests before those that count.
pub(crate) fn warm_up(requests: u32) -> u32 {
    requests / 5
}

/// The requests, as places of objects: the popular ones by rank, then those of the scan.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    popular: u32,
    warm_up: Vec<u32>,
    measured: Vec<u32>,
}

impl Trace {
    /// Draws the measured requests and those that come before them.
    pub(crate) fn new(zipf: &Zipf, scan: Scan, requests: u32) -> Self {
        let mut random = Random::new(SEED);
        let popular = zipf.ranks();
        let warm_up = (0..warm_up(requests)).map(|_| zipf.rank(&mut random)).collect();
        let measured = (0..requests).map(|at| match scan.object(at, requests) {
            Some(object) => popular + object,
            None => zipf.rank(&mut random),
        });
        Self { popular, warm_up, measured: measured.collect() }
    }

    /// Returns the requests before those that count.
    pub(crate) fn warm_up(&self) -> &[u32] {
        &self.warm_up
    }

    /// Returns the requests that count.
    pub(crate) fn measured(&self) -> &[u32] {
        &self.measured
    }

    /// Returns whether the object at `place` is popular. No policy can hit the objects of a scan.
    pub(crate) fn is_popular(&self, place: u32) -> bool {
        place < self.popular
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: u32 = 30_000;

    fn trace(scan: Scan) -> Trace {
        Trace::new(&Zipf::new(0.9, 1_000), scan, REQUESTS)
    }

    #[test]
    fn a_trace_is_the_same_each_time() {
        for scan in Scan::ALL {
            assert_eq!(trace(scan), trace(scan));
            assert_eq!((trace(scan).warm_up().len(), trace(scan).measured().len()), (6_000, 30_000));
        }
    }

    #[test]
    fn without_a_scan_all_objects_are_popular() {
        let trace = trace(Scan::Absent);
        assert!(trace.warm_up().iter().chain(trace.measured()).all(|&place| trace.is_popular(place)));
    }

    #[test]
    fn a_scan_takes_a_fifth_of_the_middle_third_and_repeats_nothing() {
        let trace = trace(Scan::Present);
        let scan = |places: &[u32]| -> Vec<u32> {
            places.iter().copied().filter(|&place| !trace.is_popular(place)).collect()
        };
        assert!(scan(trace.warm_up()).is_empty());
        assert!(scan(&trace.measured()[..10_000]).is_empty());
        assert!(scan(&trace.measured()[20_000..]).is_empty());
        let expected: Vec<u32> = (1_000..1_000 + scanned(REQUESTS)).collect();
        assert_eq!(expected.len(), 2_000);
        assert_eq!(scan(trace.measured()), expected);
    }

    #[test]
    fn a_scan_asks_for_as_many_objects_as_it_says() {
        for requests in 1_000..1_050 {
            let objects: Vec<u32> =
                (0..requests).filter_map(|at| Scan::Present.object(at, requests)).collect();
            assert_eq!(objects, (0..scanned(requests)).collect::<Vec<_>>(), "{requests}");
        }
    }

    #[test]
    fn what_is_popular_is_asked_for_in_the_same_order_beside_a_scan() {
        let (plain, scanned) = (trace(Scan::Absent), trace(Scan::Present));
        let popular: Vec<u32> =
            scanned.measured().iter().copied().filter(|&place| scanned.is_popular(place)).collect();
        assert_eq!(popular, plain.measured()[..popular.len()]);
        assert_eq!(plain.warm_up(), scanned.warm_up());
    }
}
