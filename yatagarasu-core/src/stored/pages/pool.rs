use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::system;

/// Whole pages that one has to oneself. Only addresses are kept for good; memory is put behind them when they are taken.
pub(super) type Span = &'static mut [u8];

/// Addresses that are got from the system at a time.
const REGION_BYTES: usize = 32 << 20;

/// Most bytes of memory that are kept for objects to come.
const SPARE_BYTES_MAX: usize = 8 << 20;

/// Where all pages come from.
pub(super) static POOL: Mutex<Pool> = Mutex::new(Pool::new());

/// Spans that nobody has.
pub(super) struct Pool {
    /// Those with memory behind them.
    backed: Spans,
    /// Bytes of it.
    backed_bytes: usize,
    /// Those that are addresses only.
    bare: Spans,
    /// What has not been used of the last region.
    rest: Span,
    /// Whether the system has kept what it was to take back, so that there are no more.
    ended: bool,
}

/// Spans by how many pages they are.
struct Spans(Vec<Vec<Span>>);

/// Takes so many pages. What is in them does not matter.
pub(super) fn take(pool: &Mutex<Pool>, pages: usize) -> Option<Span> {
    let bare = {
        let mut pool = locked(pool);
        if pool.ended {
            return None;
        }
        if let Some(span) = pool.backed.pop(pages) {
            pool.backed_bytes -= span.len();
            return Some(span);
        }
        pool.bare.pop(pages).or_else(|| pool.split(pages)).or_else(|| pool.cut(pages))?
    };
    system::back(bare);
    Some(bare)
}

/// Gives pages back, which may be `lent` to the system.
pub(super) fn give_back(pool: &Mutex<Pool>, span: Span, lent: bool) {
    let mut to_empty = if lent { Some(span) } else { locked(pool).keep(span) };
    while let Some(span) = to_empty {
        // It takes too long to be done under the lock.
        let emptied = system::empty(span);
        let mut pool = locked(pool);
        if emptied {
            pool.bare.push(span);
        } else {
            // What is in them stays there for good.
            pool.ended = true;
        }
        to_empty = pool.surplus();
    }
}

impl Pool {
    const fn new() -> Self {
        Self {
            backed: Spans(Vec::new()),
            backed_bytes: 0,
            bare: Spans(Vec::new()),
            rest: &mut [],
            ended: false,
        }
    }

    /// Keeps a span with its memory; gives one whose memory is too much.
    fn keep(&mut self, span: Span) -> Option<Span> {
        self.backed_bytes += span.len();
        self.backed.push(span);
        self.surplus()
    }

    /// Takes a span whose memory is too much, of those of which there is most.
    fn surplus(&mut self) -> Option<Span> {
        if self.backed_bytes <= SPARE_BYTES_MAX {
            return None;
        }
        let span = self.backed.most()?.pop()?;
        self.backed_bytes -= span.len();
        Some(span)
    }

    /// Takes so many pages of a larger span.
    fn split(&mut self, pages: usize) -> Option<Span> {
        let (span, rest) = self.bare.pop_larger(pages)?.split_at_mut(pages * system::page_bytes());
        self.bare.push(rest);
        Some(span)
    }

    /// Takes so many pages that were never used.
    fn cut(&mut self, pages: usize) -> Option<Span> {
        let bytes = pages * system::page_bytes();
        if self.rest.len() < bytes {
            let region = system::map(REGION_BYTES.max(bytes))?;
            // An emulator may take the advice and do nothing.
            region[0] = 1;
            self.ended = !system::empty(&mut region[..system::page_bytes()]) || region[0] != 0;
            if self.ended {
                return None;
            }
            let rest = mem::replace(&mut self.rest, region);
            self.bare.push(rest);
        }
        let (span, rest) = mem::take(&mut self.rest).split_at_mut(bytes);
        self.rest = rest;
        Some(span)
    }
}

impl Spans {
    fn push(&mut self, span: Span) {
        let pages = span.len() / system::page_bytes();
        if self.0.len() <= pages {
            self.0.resize_with(pages + 1, Vec::new);
        }
        self.0[pages].push(span);
    }

    fn pop(&mut self, pages: usize) -> Option<Span> {
        self.0.get_mut(pages)?.pop()
    }

    fn pop_larger(&mut self, pages: usize) -> Option<Span> {
        self.0.iter_mut().skip(pages + 1).find_map(Vec::pop)
    }

    /// Those with the most bytes.
    fn most(&mut self) -> Option<&mut Vec<Span>> {
        self.0.iter_mut().max_by_key(|spans| spans.iter().map(|span| span.len()).sum::<usize>())
    }
}

fn locked(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Has the pages written to and given back.
    fn used(pool: &Mutex<Pool>, spans: Vec<Span>, lent: bool) {
        for span in spans {
            span.fill(7);
            give_back(pool, span, lent);
        }
    }

    fn taken(pool: &Mutex<Pool>, pages: usize, count: usize) -> Vec<Span> {
        (0..count).map(|_| take(pool, pages).expect("there are some")).collect()
    }

    #[test]
    fn pages_come_back_as_they_were_unless_they_were_lent() {
        let pool = Mutex::new(Pool::new());
        for lent in [false, true, false] {
            let spans = taken(&pool, 5, 1);
            let address = spans[0].as_ptr();
            assert_eq!(spans[0].len(), 5 * system::page_bytes());
            used(&pool, spans, lent);
            let again = taken(&pool, 5, 1);
            assert_eq!(again[0].as_ptr(), address);
            assert!(again[0].iter().all(|byte| *byte == if lent { 0 } else { 7 }), "lent: {lent}");
            used(&pool, again, false);
        }
    }

    #[test]
    fn the_memory_of_spare_pages_is_bounded() {
        let pool = Mutex::new(Pool::new());
        let bytes = |pages| pages * system::page_bytes();
        let (most, others) = (taken(&pool, 32, 2 * SPARE_BYTES_MAX / bytes(32)), taken(&pool, 7, 10));
        used(&pool, most, false);
        assert_eq!(locked(&pool).backed_bytes, SPARE_BYTES_MAX / bytes(32) * bytes(32));
        // Those of which there is most make room for others.
        used(&pool, others, false);
        let pool = locked(&pool);
        assert!((SPARE_BYTES_MAX - bytes(32)..=SPARE_BYTES_MAX).contains(&pool.backed_bytes));
        assert_eq!(pool.backed.0[7].len(), 10);
        let spans = |spans: &Spans, byte| {
            let mut all = spans.0.iter().flatten();
            all.all(|span| span.iter().all(|at| *at == byte))
        };
        assert!(spans(&pool.backed, 7) && spans(&pool.bare, 0));
    }

    #[test]
    fn addresses_are_used_again_for_fewer_pages() {
        let pool = Mutex::new(Pool::new());
        let spans = taken(&pool, 20, 1);
        let addresses = spans[0].as_ptr_range();
        used(&pool, spans, true);
        let ranges: Vec<_> = taken(&pool, 5, 4).iter().map(|span| span.as_ptr_range()).collect();
        assert!(ranges.iter().all(|range| addresses.start <= range.start && range.end <= addresses.end));
    }

    #[test]
    fn no_two_have_the_same_page() {
        let pool = Mutex::new(Pool::new());
        let mut ranges = Vec::new();
        let mut held = 0;
        while held < 3 * REGION_BYTES {
            for pages in [31, 4, 17, 32, 5] {
                let span = take(&pool, pages).expect("there are some");
                held += span.len();
                // Some come back and are split.
                if held % 7 == 0 {
                    give_back(&pool, span, true);
                } else {
                    ranges.push(span.as_ptr_range());
                }
            }
        }
        ranges.sort_by_key(|range| range.start);
        assert!(ranges.windows(2).all(|two| two[0].end <= two[1].start));
    }
}
