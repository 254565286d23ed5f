//! Checks random sequences of requests, clock steps, source changes and purges against a small reference model.
//!
//! `YATAGARASU_MODEL_SEED` and `YATAGARASU_MODEL_STEPS` choose another walk than the one of every test run.

#[path = "model/ask.rs"]
mod ask;
#[path = "model/content.rs"]
mod content;
#[path = "model/dice.rs"]
mod dice;
#[path = "model/edition.rs"]
mod edition;
#[path = "model/reference.rs"]
mod reference;
#[path = "model/source.rs"]
mod source;
#[path = "model/walk.rs"]
mod walk;

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use dice::Dice;
use walk::{Trail, Walk};

const SEED: u64 = 1;
const STEPS: u64 = 100_000;

/// A walk of this many steps must meet everything in `MET`.
const WORTH: u64 = 50_000;
const MET: [(&str, u16); 19] = [
    ("fresh", 200),
    ("fresh", 206),
    ("fresh", 304),
    ("fresh", 416),
    ("negative", 404),
    ("while revalidating", 200),
    ("max-stale", 200),
    ("confirmed", 200),
    ("confirmed", 206),
    ("confirmed", 304),
    ("stale if error", 200),
    ("declined", 504),
    ("collapsed", 200),
    ("source", 200),
    ("source", 206),
    ("source", 304),
    ("source", 404),
    ("source", 416),
    ("source", 502),
];

#[test]
fn every_walk_gets_only_what_the_model_allows() {
    let (seed, steps) = (setting("YATAGARASU_MODEL_SEED", SEED), setting("YATAGARASU_MODEL_STEPS", STEPS));
    println!("seed {seed}");
    let trail = explained(async |trail| follow(seed, steps, trail).await);
    let met: BTreeSet<_> = MET.into_iter().collect();
    let missed: Vec<_> = met.difference(&trail.met).collect();
    assert!(steps < WORTH || missed.is_empty(), "seed {seed} meets none of {missed:?}");
}

/// Walks through one bucket after the other until the trail has `steps` steps.
async fn follow(seed: u64, steps: u64, trail: &mut Trail) {
    let mut dice = Dice::new(seed);
    while trail.steps < steps {
        let end = steps.min(trail.steps + 200 + dice.below(300));
        let mut walk = Walk::new(Dice::new(dice.roll()), trail);
        while walk.steps() < end {
            walk.step().await;
        }
    }
}

#[test]
fn what_fuzzing_has_found_is_allowed() {
    yatagarasu_testing::replay("gateway", follow_bytes);
}

/// Walks through one bucket as these bytes say. `fuzz/` chooses them.
pub(crate) fn follow_bytes(bytes: &[u8]) {
    explained(async |trail| {
        let mut walk = Walk::new(Dice::of(bytes), trail);
        while !walk.is_over() {
            walk.step().await;
        }
    });
}

/// Returns the trail of a walk, or panics with it.
fn explained(walk: impl AsyncFnOnce(&mut Trail)) -> Trail {
    let mut trail = Trail::default();
    let walked = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(walk(&mut trail));
    }));
    if let Err(panic) = walked {
        panic!("{trail}\n{}", message(&*panic));
    }
    trail
}

#[expect(clippy::disallowed_methods, reason = "a walk by hand is chosen by the one who starts it")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it says nothing")
}
