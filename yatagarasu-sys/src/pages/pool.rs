//! The pool of page runs, by size classes.
//!
//! A run keeps its addresses and its class for good; only the memory behind it comes and goes. Runs that were shared
//! with the system give their memory back before they are used again. Runs that were not keep it, up to a bound.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{probe, system};

/// Whole pages that one owner has to itself.
pub(super) type PageRun = &'static mut [u8];

/// Longest run, in pages.
pub(super) const PAGES_MAX: usize = 64;

/// Addresses that are taken from the system at a time.
const REGION_BYTES: usize = 32 << 20;

/// Most bytes of memory that free runs keep for objects to come.
const SPARE_BYTES_MAX: usize = 8 << 20;

/// Up to 16 pages each length is a class, then each second, from 32 on each fourth: at most a ninth of a run is left
/// empty.
const CLASSES: usize = class_of(PAGES_MAX) + 1;

/// The pool of the process.
pub(super) static POOL: Mutex<Pool> = Mutex::new(Pool::new());

/// Runs that nothing uses.
pub(super) struct Pool {
    classes: [Class; CLASSES],
    /// Bytes of memory behind free runs.
    backed_bytes: usize,
    /// The unused part of the last region.
    rest: PageRun,
    trust: Trust,
}

/// Free runs of one length.
struct Class {
    /// Runs with memory behind them.
    backed: Vec<PageRun>,
    /// Runs that are addresses only.
    unbacked: Vec<PageRun>,
}

/// Whether the system keeps shared pages as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Unproven,
    Proven,
    /// It does not, or it once failed to take memory back: no run is given out any more.
    Lost,
}

/// Returns the class whose runs have at least so many pages.
const fn class_of(pages: usize) -> usize {
    match pages {
        0..=16 => pages,
        17..=32 => 16 + (pages - 16).div_ceil(2),
        _ => 24 + (pages - 32).div_ceil(4),
    }
}

/// Returns how many pages the runs of a class have.
const fn pages_of(class: usize) -> usize {
    match class {
        0..=16 => class,
        17..=24 => 16 + (class - 16) * 2,
        _ => 32 + (class - 24) * 4,
    }
}

/// Takes a run of at least so many pages. Its content is arbitrary. Returns `None` if there is none to be had.
pub(super) fn take(pool: &Mutex<Pool>, pages: usize) -> Option<PageRun> {
    if pages > PAGES_MAX {
        return None;
    }
    let class = class_of(pages);
    let unbacked = {
        let mut pool = locked(pool);
        if pool.trust == Trust::Lost {
            return None;
        }
        if let Some(run) = pool.classes[class].backed.pop() {
            pool.backed_bytes -= run.len();
            return Some(run);
        }
        pool.classes[class].unbacked.pop().or_else(|| pool.cut(class))?
    };
    // Outside the lock: it takes as long as copying.
    system::populate(unbacked);
    Some(unbacked)
}

/// Gives a run back. The memory of one that was `shared` with the system goes back to the system.
pub(super) fn give_back(pool: &Mutex<Pool>, run: PageRun, shared: bool) {
    let mut to_discard = if shared { Some(run) } else { locked(pool).keep(run) };
    while let Some(run) = to_discard {
        // Outside the lock: it takes too long.
        let discarded = system::discard(run);
        let mut pool = locked(pool);
        if discarded {
            pool.class_of_run(run).unbacked.push(run);
        } else {
            // Something may still read these pages: the run is leaked, and no other is given out.
            pool.trust = Trust::Lost;
        }
        to_discard = pool.surplus();
    }
}

/// Returns whether the system gives out pages that may be shared, and proves it the first time.
pub(super) fn is_trusted(pool: &Mutex<Pool>) -> bool {
    locked(pool).prove()
}

impl Pool {
    const fn new() -> Self {
        const EMPTY: Class = Class { backed: Vec::new(), unbacked: Vec::new() };
        Self { classes: [EMPTY; CLASSES], backed_bytes: 0, rest: &mut [], trust: Trust::Unproven }
    }

    fn class_of_run(&mut self, run: &[u8]) -> &mut Class {
        &mut self.classes[class_of(run.len() / super::page_bytes())]
    }

    /// Keeps a run with its memory. Returns one whose memory is too much.
    fn keep(&mut self, run: PageRun) -> Option<PageRun> {
        self.backed_bytes += run.len();
        self.class_of_run(run).backed.push(run);
        self.surplus()
    }

    /// Takes a run whose memory is too much, from the class that has most.
    fn surplus(&mut self) -> Option<PageRun> {
        if self.backed_bytes <= SPARE_BYTES_MAX {
            return None;
        }
        let backed_pages = |(class, runs): &(usize, &mut Class)| pages_of(*class) * runs.backed.len();
        let (_, most) = self.classes.iter_mut().enumerate().max_by_key(backed_pages)?;
        let run = most.backed.pop()?;
        self.backed_bytes -= run.len();
        Some(run)
    }

    /// Cuts a run of a class from addresses that were never used.
    fn cut(&mut self, class: usize) -> Option<PageRun> {
        let bytes = pages_of(class) * super::page_bytes();
        if !self.prove() || (self.rest.len() < bytes && !self.map()) {
            return None;
        }
        let (run, rest) = mem::take(&mut self.rest).split_at_mut(bytes);
        self.rest = rest;
        Some(run)
    }

    /// Takes a region from the system. What is left of the last, less than a run, stays unused.
    fn map(&mut self) -> bool {
        let region = system::map(REGION_BYTES);
        let mapped = region.is_some();
        if let Some(region) = region {
            self.rest = region;
        }
        mapped
    }

    /// Proves once that shared pages stay as they were. Returns whether they do.
    fn prove(&mut self) -> bool {
        if self.trust == Trust::Unproven && (!self.rest.is_empty() || self.map()) {
            let page = &mut self.rest[..super::page_bytes()];
            self.trust = match probe::shared_pages_stay(page) {
                Some(true) => Trust::Proven,
                Some(false) => Trust::Lost,
                None => Trust::Unproven,
            };
        }
        self.trust == Trust::Proven
    }
}

fn locked(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, target_os = "linux", not(yatagarasu_portable)))]
mod tests {
    use super::*;
    use crate::pages::page_bytes;

    /// Writes to the runs and gives them back.
    fn use_up(pool: &Mutex<Pool>, runs: Vec<PageRun>, shared: bool) {
        for run in runs {
            run.fill(7);
            give_back(pool, run, shared);
        }
    }

    fn taken(pool: &Mutex<Pool>, pages: usize, count: usize) -> Vec<PageRun> {
        (0..count).map(|_| take(pool, pages).expect("a run")).collect()
    }

    #[test]
    fn a_class_has_room_and_wastes_little() {
        for pages in 1..=PAGES_MAX {
            let class = class_of(pages);
            let room = pages_of(class);
            assert!(room >= pages && (room - pages) * 9 <= room, "{pages} in {room}");
            assert!(class < CLASSES && class_of(room) == class, "{pages}");
        }
        assert!(take(&Mutex::new(Pool::new()), PAGES_MAX + 1).is_none());
    }

    #[test]
    fn a_run_keeps_its_memory_unless_it_was_shared() {
        let pool = Mutex::new(Pool::new());
        for shared in [false, true, false] {
            let runs = taken(&pool, 5, 1);
            let address = runs[0].as_ptr();
            assert_eq!(runs[0].len(), 5 * page_bytes());
            use_up(&pool, runs, shared);
            let again = taken(&pool, 5, 1);
            assert_eq!(again[0].as_ptr(), address);
            assert!(again[0].iter().all(|byte| *byte == if shared { 0 } else { 7 }), "shared: {shared}");
            use_up(&pool, again, false);
        }
    }

    #[test]
    fn the_memory_of_free_runs_is_bounded() {
        let pool = Mutex::new(Pool::new());
        let bytes = |pages| pages * page_bytes();
        let (most, others) = (taken(&pool, 32, 2 * SPARE_BYTES_MAX / bytes(32)), taken(&pool, 7, 10));
        use_up(&pool, most, false);
        assert_eq!(locked(&pool).backed_bytes, SPARE_BYTES_MAX / bytes(32) * bytes(32));
        // The class with most memory makes room for others.
        use_up(&pool, others, false);
        let pool = locked(&pool);
        assert!((SPARE_BYTES_MAX - bytes(32)..=SPARE_BYTES_MAX).contains(&pool.backed_bytes));
        assert_eq!(pool.classes[class_of(7)].backed.len(), 10);
        let all = |runs: &[PageRun], byte| runs.iter().all(|run| run.iter().all(|at| *at == byte));
        assert!(pool.classes.iter().all(|class| all(&class.backed, 7) && all(&class.unbacked, 0)));
    }

    #[test]
    fn no_two_runs_share_a_page() {
        let pool = Mutex::new(Pool::new());
        let mut ranges = Vec::new();
        let mut held = 0;
        while held < 3 * REGION_BYTES {
            for pages in [31, 4, 17, 64, 5] {
                let run = take(&pool, pages).expect("a run");
                held += run.len();
                // Some come back and are taken again.
                if held % 7 == 0 {
                    give_back(&pool, run, true);
                } else {
                    ranges.push(run.as_ptr_range());
                }
            }
        }
        ranges.sort_by_key(|range| range.start);
        assert!(ranges.windows(2).all(|two| two[0].end <= two[1].start));
    }
}
