//! Walks of the model test: random steps of clients, source, clock and purges.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderName};
use tokio::task::{JoinHandle, yield_now};
use yatagarasu_core::{
    BucketPolicy, CachePolicy, CacheStatus, ClientControl, ForwardedFields, Gateway, Negative, ObjectControl,
    Purge, Selector,
};
use yatagarasu_core::{Budget, Common};
use yatagarasu_testing::{ManualClock, cache_key};

use super::ask::{Ask, Directives, Heard, hear};
use super::dice::Dice;
use super::edition::Edition;
use super::reference::{Book, Company, Purged, Reference};
use super::source::{DawdlingCache, ModelSource, Pauses};
use crate::bed::{ITEM_MAX, idle};

const KEYS: [&str; 4] = ["a/1", "a/2", "b/1", "b/2"];

/// Events kept for the message of a failure: about thirty steps.
const EVENTS: usize = 60;

/// Progress of the walks.
#[derive(Debug, Default)]
pub(super) struct Trail {
    pub(super) steps: u64,
    /// How requests were answered, and with which status.
    pub(super) met: BTreeSet<(&'static str, u16)>,
    policy: BucketPolicy,
    /// The last events.
    last: VecDeque<Box<dyn fmt::Debug>>,
}

impl Trail {
    fn add(&mut self, event: impl fmt::Debug + 'static) {
        if self.last.len() == EVENTS {
            self.last.pop_front();
        }
        self.last.push_back(Box::new(event));
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "step {}, {:#?}", self.steps, self.policy)?;
        self.last.iter().try_for_each(|event| writeln!(f, "{event:?}"))
    }
}

/// A walk through a bucket of its own, with its source and the state of the model.
pub(super) struct Walk<'t> {
    dice: Dice,
    trail: &'t mut Trail,
    clock: ManualClock,
    source: ModelSource,
    gateway: Gateway,
    budget: Arc<Budget>,
    policy: BucketPolicy,
    book: Book,
    clients: u64,
}

impl<'t> Walk<'t> {
    pub(super) fn new(mut dice: Dice, trail: &'t mut Trail) -> Self {
        let policy = policy(&mut dice);
        trail.policy = policy.clone();
        trail.last.clear();
        let clock = ManualClock::default();
        let pauses = Arc::new(Pauses::new(dice.roll()));
        let source = ModelSource::new(clock.clone(), Arc::clone(&pauses));
        let budget = Arc::new(Budget::new(dice.pick(&[1 << 20, 1 << 20, ITEM_MAX + 500])));
        let gateway = Gateway::new(
            Arc::new(source.clone()),
            Arc::new(DawdlingCache::new(dice.pick(&[1 << 20, 1 << 20, 5000]), pauses)),
            policy.clone(),
            Common::new(Arc::clone(&budget), Arc::new(clock.clone())),
        );
        Self { dice, trail, clock, source, gateway, budget, policy, book: Book::default(), clients: 0 }
    }

    pub(super) fn steps(&self) -> u64 {
        self.trail.steps
    }

    /// Returns `true` if the bytes that it follows are at their end.
    pub(super) fn is_over(&self) -> bool {
        self.dice.are_spent()
    }

    pub(super) async fn step(&mut self) {
        self.trail.steps += 1;
        let key = self.dice.pick(&KEYS);
        match self.dice.below(100) {
            0..60 => self.one_asks(key).await,
            60..70 => self.some_ask(key).await,
            70..78 => self.change(key),
            78..82 => self.relabel(key),
            82..84 => self.remove(key),
            84..88 => self.fail(),
            88..95 => self.wait(),
            _ => self.purge(key).await,
        }
        idle().await;
        assert_eq!(self.budget.reserved(), 0, "memory of no fill");
        let usage = self.gateway.usage();
        assert!(usage.bytes <= usage.capacity, "{usage:?}");
    }

    async fn one_asks(&mut self, key: &'static str) {
        let ask = self.ask(key);
        let (began, first) = self.begin(Company::Alone);
        let heard = hear(self.gateway.clone(), ask.clone()).await;
        idle().await;
        self.check(&[(ask, heard)], began, first, Company::Alone);
    }

    /// Lets some clients ask for the same object at once. Meanwhile the object may change or be purged, and clients may
    /// leave.
    async fn some_ask(&mut self, key: &'static str) {
        let (began, first) = self.begin(Company::Others);
        let mut clients: Vec<(Ask, JoinHandle<Heard>)> = Vec::new();
        for _ in 0..2 + self.dice.below(3) {
            let ask = self.ask(key);
            let client = tokio::spawn(hear(self.gateway.clone(), ask.clone()));
            clients.push((ask, client));
        }
        for _ in 0..self.dice.below(4) {
            for _ in 0..self.dice.below(8) {
                yield_now().await;
            }
            match self.dice.below(5) {
                0 => self.change(key),
                1 => self.purge(key).await,
                2 => {
                    let (ask, client) = &clients[self.dice.index(clients.len())];
                    self.trail.add(("leaves", ask.asker.client));
                    client.abort();
                }
                _ => {}
            }
        }
        let mut got = Vec::new();
        for (ask, client) in clients {
            match client.await {
                Ok(heard) => got.push((ask, heard)),
                Err(error) if error.is_cancelled() => {}
                Err(error) => resume_unwind(error.into_panic()),
            }
        }
        idle().await;
        self.check(&got, began, first, Company::Others);
    }

    /// Begins a step of clients. Returns its start in ticks, and the number of answers the source has given before.
    fn begin(&self, company: Company) -> (u64, usize) {
        let mut world = self.source.world();
        world.step += 1;
        world.alone = company == Company::Alone;
        (world.tick(), world.log.len())
    }

    fn check(&mut self, got: &[(Ask, Heard)], began: u64, first: usize, company: Company) {
        for (ask, heard) in got {
            self.trail.add(("gets", ask.asker.client, heard.handling, heard.status()));
            self.trail.met.insert((heard.kind(), heard.status()));
            // A hit sends no request on behalf of the client.
            if ask.directives.no_store && !matches!(heard.handling, CacheStatus::Hit { .. }) {
                self.book.unstored.insert(ask.asker.client);
            }
        }
        let world = self.source.world();
        let reference = Reference {
            world: &world,
            policy: &self.policy,
            book: &self.book,
            ample: self.budget.bytes_max() >= 1 << 20,
            now: self.source.now(),
            began,
            first,
            company,
        };
        for (ask, heard) in got {
            reference.check(ask, heard);
        }
    }

    fn change(&mut self, key: &'static str) {
        let (mut world, now) = (self.source.world(), self.source.now());
        let edition = Edition::roll(world.editions.len(), key, now, &mut self.dice);
        self.trail.add(("changes", edition.clone()));
        world.current.insert(edition.key.clone(), edition.id);
        world.editions.push(edition);
    }

    /// Changes the fields of an object and nothing else.
    fn relabel(&mut self, key: &'static str) {
        let (mut world, now) = (self.source.world(), self.source.now());
        let Some(&current) = world.current.get(&cache_key(key).object) else { return };
        let edition = world.editions[current].relabelled(world.editions.len(), now, &mut self.dice);
        self.trail.add(("changes", edition.clone()));
        world.current.insert(edition.key.clone(), edition.id);
        world.editions.push(edition);
    }

    fn remove(&mut self, key: &'static str) {
        self.trail.add(("goes", key));
        self.source.world().current.remove(&cache_key(key).object);
    }

    /// Makes the next requests fail or the next bodies break, or ends both.
    fn fail(&mut self) {
        let (requests, bodies) = (self.dice.pick(&[0, 0, 1, 2, 3]), self.dice.pick(&[0, 0, 0, 1, 2]));
        self.trail.add(("fails", requests, bodies));
        let mut world = self.source.world();
        (world.failing, world.tearing) = (requests, bodies);
    }

    fn wait(&mut self) {
        let seconds = self.dice.pick(&[1, 5, 9, 10, 16, 21, 40, 130]);
        self.trail.add(("waits", seconds));
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn purge(&mut self, key: &'static str) {
        let selector = match self.dice.below(6) {
            0..3 => Selector::Key(cache_key(key).object),
            3 => Selector::Prefix(key[..2].to_owned()),
            4 => Selector::Tag(self.dice.pick(&["red", "blue"]).to_owned()),
            _ => Selector::All,
        };
        let purge = self.dice.pick(&[Purge::Drop, Purge::MarkStale]);
        self.trail.add(("purges", selector.clone(), purge));
        let (tick, at) = (self.source.world().tick(), self.source.now());
        self.gateway.purge(&selector, purge).await;
        self.book.purges.push(Purged { selector, purge, tick, at });
    }

    fn ask(&mut self, key: &'static str) -> Ask {
        self.clients += 1;
        let (world, now) = (self.source.world(), self.source.now());
        let mut ask = Ask::roll(self.clients, key, &world.editions, now, &mut self.dice);
        let obeyed = self.policy.cache.as_ref().is_some_and(|policy| match policy.client_cache_control {
            ClientControl::Respect => true,
            ClientControl::Ignore => false,
        });
        if !obeyed {
            ask.directives = Directives::default();
        }
        self.trail.add(("asks", ask.clone()));
        ask
    }
}

/// Draws the policy of a bucket.
fn policy(dice: &mut Dice) -> BucketPolicy {
    let seconds = Duration::from_secs;
    let windows = [0, 0, 20];
    let cache = CachePolicy {
        cache_control: dice.pick(&[
            ObjectControl::Respect,
            ObjectControl::Respect,
            ObjectControl::Respect,
            ObjectControl::Override,
            ObjectControl::Ignore,
        ]),
        client_cache_control: dice.pick(&[
            ClientControl::Respect,
            ClientControl::Respect,
            ClientControl::Ignore,
        ]),
        stale_while_revalidate: seconds(dice.pick(&windows)),
        stale_if_error: seconds(dice.pick(&windows)),
        range_fill: dice.chance(50),
        negative: Negative { ttl: seconds(dice.pick(&[0, 15])), missing: dice.chance(75), denied: false },
        ..CachePolicy::new(ITEM_MAX, seconds(dice.pick(&[0, 10, 60])))
    };
    let named = || ForwardedFields::Named(vec![header::ACCEPT_LANGUAGE, HeaderName::from_static("x-client")]);
    BucketPolicy {
        cache: (!dice.chance(4)).then_some(cache),
        forward_headers: if dice.chance(75) { named() } else { ForwardedFields::All },
        ..BucketPolicy::default()
    }
}
