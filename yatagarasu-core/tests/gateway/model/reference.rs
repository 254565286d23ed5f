//! The reference model: decides whether an answer of the gateway is right.

use std::collections::HashSet;

use http::header::HeaderMap;
use yatagarasu_core::caching::cache_status::{Detail, Forwarding, Provenance};
use yatagarasu_core::caching::freshness::Freshness;
use yatagarasu_core::{
    BucketPolicy, CachePolicy, CacheStatus, ErrorKind, GatewayError, ObjectKey, Purge, Selector,
};

use super::ask::{Ask, Directives, End, Given, Heard};
use super::content::{check_part, check_unsatisfiable, check_whole};
use super::edition::{Edition, Varies, text};
use super::source::{Entry, Said, World};

/// State of the model besides the answers of the source.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) purges: Vec<Purged>,
    /// Clients with answers that must not be stored.
    pub(super) unstored: HashSet<u64>,
}

#[derive(Debug)]
pub(super) struct Purged {
    pub(super) selector: Selector,
    pub(super) purge: Purge,
    /// Start of the purge, in ticks; `at` is the same in seconds.
    pub(super) tick: u64,
    pub(super) at: u64,
}

/// Whether other clients asked in the same step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    Alone,
    /// Others asked, so that the answer to one of them may also be the answer to this request.
    Others,
}

/// The state that an answer is checked against.
///
/// The model does not predict the gateway's decision. It checks the conditions under which the given answer is right.
pub(super) struct Reference<'a> {
    pub(super) world: &'a World,
    pub(super) policy: &'a BucketPolicy,
    pub(super) book: &'a Book,
    /// Whether the fill memory never runs out.
    pub(super) ample: bool,
    /// The time in seconds.
    pub(super) now: u64,
    /// Start of the step, in ticks; `first` is the number of answers the source had given by then.
    pub(super) began: u64,
    pub(super) first: usize,
    pub(super) company: Company,
}

/// The reason why a stored object may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Fresh, for this many more seconds.
    Fresh(u64),
    WhileRevalidating,
    MaxStale,
    IfError,
}

impl Reference<'_> {
    pub(super) fn check(&self, ask: &Ask, heard: &Heard) {
        match heard.handling {
            CacheStatus::Hit { freshness, detail } => self.check_hit(ask, heard, freshness, detail),
            CacheStatus::Forwarded(forwarding) => self.check_forwarded(ask, heard, forwarding),
            CacheStatus::Own(detail) => {
                assert_eq!(detail, Detail::OnlyIfCached);
                assert!(matches!(heard.reply, Err(GatewayError::OnlyIfCached)));
                assert!(ask.directives.only_if_cached, "504 to a client that did not ask for it");
                assert!(self.company == Company::Others || self.said().is_empty(), "504, yet forwarded");
            }
        }
    }

    /// Returns the answers of the source in this step.
    fn said(&self) -> &[Entry] {
        &self.world.log[self.first..]
    }

    /// Returns 1 if the first answer was a 304 that led to a second request. Such a 304 may not be shared, or is of
    /// another variant, and a request without conditions follows it.
    fn asked_in_vain(&self) -> usize {
        usize::from(matches!(self.said(), [Entry { said: Said::Same(_), .. }, _, ..]))
    }

    fn cache(&self) -> &CachePolicy {
        self.policy.cache.as_ref().expect("only a bucket with a cache answers from it")
    }

    fn check_hit(&self, ask: &Ask, heard: &Heard, freshness: Freshness, detail: Option<Detail>) {
        if self.company == Company::Alone {
            let refreshes = usize::from(detail == Some(Detail::WhileRevalidating));
            let requests_max = refreshes * (1 + self.asked_in_vain());
            assert!(self.said().len() <= requests_max, "a hit asks nobody");
        }
        let used = match (freshness, detail) {
            (Freshness::Fresh(rest), None) => Some(Use::Fresh(rest.as_secs())),
            (Freshness::Stale(_), Some(Detail::WhileRevalidating)) => Some(Use::WhileRevalidating),
            (Freshness::Stale(_), Some(Detail::MaxStale)) => Some(Use::MaxStale),
            (Freshness::Fresh(_) | Freshness::Stale(_), _) => None,
        };
        match (&heard.reply, used) {
            (Ok(given), Some(used)) => self.check_stored(ask, self.check_content(ask, given), given, used),
            (Err(GatewayError::Source(error)), used) => match (error.kind(), used) {
                (ErrorKind::NotFound, None) => {
                    assert_eq!(detail, Some(Detail::Negative));
                    self.check_negative(ask);
                }
                (ErrorKind::RangeNotSatisfiable { complete_length }, Some(_)) => {
                    let editions = self.world.editions.iter().filter(|edition| edition.key == *ask.key());
                    check_unsatisfiable(ask, complete_length, editions);
                }
                (kind, used) => panic!("a hit with {kind:?}, {used:?}"),
            },
            (reply, used) => panic!("a hit with {reply:?}, {used:?}"),
        }
    }

    fn check_forwarded(&self, ask: &Ask, heard: &Heard, forwarding: Forwarding) {
        if self.company == Company::Alone {
            assert!(!self.said().is_empty(), "forwarded, yet nobody was asked");
            let requests_max = self.requests_max(ask) + self.asked_in_vain();
            assert!(self.said().len() <= requests_max, "more than {requests_max}: {:?}", self.said());
        }
        let error = match &heard.reply {
            Ok(given) => return self.check_provenance(ask, given, forwarding.provenance),
            Err(GatewayError::OnlyIfCached) => panic!("forwarded, yet declined"),
            Err(GatewayError::Source(error)) => error,
        };
        let heard_of =
            |said: Said| self.said().iter().any(|entry| entry.said == said && entry.key == *ask.key());
        match error.kind() {
            ErrorKind::NotFound => assert!(heard_of(Said::Missing), "404, but there is one"),
            ErrorKind::Unavailable => assert!(heard_of(Said::Failed), "nothing failed"),
            ErrorKind::Broken => {
                let torn = self.said().iter().any(|entry| matches!(entry.said, Said::Torn(_)));
                assert!(torn, "nothing broke: {error:?}");
            }
            ErrorKind::RangeNotSatisfiable { complete_length }
                if forwarding.provenance == Provenance::Stale =>
            {
                let torn = self.said().iter().any(|entry| matches!(entry.said, Said::Torn(_)));
                assert!(torn || heard_of(Said::Failed), "nothing failed");
                let editions = self.world.editions.iter().filter(|edition| edition.key == *ask.key());
                check_unsatisfiable(ask, complete_length, editions);
            }
            ErrorKind::RangeNotSatisfiable { complete_length } => {
                let told = self.said().iter().filter_map(|entry| entry.said.edition());
                check_unsatisfiable(ask, complete_length, told.map(|id| &self.world.editions[id]));
            }
            _ => panic!("the source never says {error:?}"),
        }
    }

    /// Checks that the source sent or confirmed this very edition in this step, or that it failed.
    fn check_provenance(&self, ask: &Ask, given: &Given, provenance: Provenance) {
        let edition = self.check_content(ask, given);
        let told = self.said().iter().any(|entry| match (provenance, entry.said) {
            (Provenance::Stale, said) => matches!(said, Said::Failed | Said::Torn(_)),
            (Provenance::Confirmed, said) => said == Said::Same(edition.id) && entry.suits(ask, edition),
            (Provenance::Source, said) => said.edition() == Some(edition.id) && entry.suits(ask, edition),
        });
        assert!(told, "the source said nothing like {edition:?}: {:#?}", self.said());
        match provenance {
            Provenance::Stale => self.check_stored(ask, edition, given, Use::IfError),
            Provenance::Source | Provenance::Confirmed => {}
        }
    }

    /// Returns the most requests to the source: one.
    ///
    /// A second may follow if the gateway requested the whole object and it turned out not to be stored, or if the
    /// client's `If-Range` did not match.
    fn requests_max(&self, ask: &Ask) -> usize {
        let current = self.world.current.get(ask.key()).map(|&id| &self.world.editions[id]);
        let stored = match (&self.policy.cache, current) {
            (Some(policy), Some(edition)) => self.ample && edition.is_stored_surely(policy),
            (None, _) | (_, None) => true,
        };
        let conditional = text(&ask.request.headers, "if-range").is_some();
        if ask.ranges().len() == 1 && (conditional || !stored) { 2 } else { 1 }
    }

    /// Checks that an answer is of one edition: its fields, and every byte. Returns the edition.
    fn check_content(&self, ask: &Ask, given: &Given) -> &Edition {
        let (headers, language) = (&given.headers, ask.asker.language.as_str());
        let id: usize = text(headers, "x-edition").expect("the source names it").parse().unwrap();
        let edition = &self.world.editions[id];
        assert_eq!(edition.key, *ask.key(), "another object");
        assert_eq!(text(headers, "etag"), edition.etag(language).as_deref());
        assert_eq!(text(headers, "last-modified"), edition.modified().as_deref());
        assert_eq!(text(headers, "x-language"), Some(edition.spoken(language)), "another variant");
        assert_eq!(text(headers, "access-control-allow-origin"), ask.asker.origin.as_deref());
        self.check_secrets(ask, edition, headers);
        if given.end == End::Torn {
            let torn = self.said().iter().any(|entry| matches!(entry.said, Said::Torn(_)));
            assert!(torn, "a body broke by itself");
        }
        let known = edition.is_known(&ask.request.headers, language);
        // If there is no `Last-Modified`, a cache may use `Date` instead, and its source does not (RFC 9111 4.3.2).
        let open = edition.is_old_enough(&ask.request.headers, headers);
        assert!((given.status == 304) == known || open, "{} of {edition:?}", given.status);
        match given.status {
            304 => assert!(given.bytes.is_empty()),
            200 => check_whole(ask, edition, given),
            206 => check_part(ask, edition, given),
            status => panic!("status {status}"),
        }
        edition
    }

    /// Checks that fields and answers for one client reach no other client.
    fn check_secrets(&self, ask: &Ask, edition: &Edition, headers: &HeaderMap) {
        let own = ask.asker.client.to_string();
        let secret = text(headers, "x-secret");
        assert!(secret.is_none_or(|secret| secret == own), "the field of client {secret:?}");
        let obeyed = self.policy.cache.as_ref().is_none_or(|policy| edition.is_private(policy));
        if obeyed {
            assert_eq!(text(headers, "x-for"), Some(own.as_str()), "the private answer of another");
        }
    }

    /// Checks that an edition may be served from memory.
    ///
    /// The source must have sent it at the time that the answer's `Age` implies, and nothing since may forbid it.
    fn check_stored(&self, ask: &Ask, edition: &Edition, given: &Given, used: Use) {
        assert!(edition.is_storable(self.cache()), "what may not be stored: {edition:?}");
        let age: u64 = text(&given.headers, "age").expect("what is stored has an age").parse().unwrap();
        let log = self.world.log.iter();
        let moments: Vec<&Entry> = log.filter(|entry| self.taught(ask, edition, entry)).collect();
        let objection = |entry: &&Entry| self.objection(ask, edition, entry, age, used);
        let right = moments.iter().any(|entry| objection(entry).is_none());
        let objections = || moments.iter().map(objection).zip(&moments).collect::<Vec<_>>();
        assert!(right, "{used:?} of {edition:?}, age {age}: {:#?}", objections());
    }

    /// Returns whether the gateway may have learned of `edition` from `entry` and still know it.
    fn taught(&self, ask: &Ask, edition: &Edition, entry: &Entry) -> bool {
        let said = match entry.said {
            Said::Whole(id) | Said::Part(id) | Said::Same(id) | Said::Fields(id) => id == edition.id,
            Said::Torn(_) | Said::Outside(_) | Said::Missing | Said::Failed => false,
        };
        said && entry.suits(ask, edition)
            && !self.book.unstored.contains(&entry.asker.client)
            && self.purged(ask, edition.surrogate, Purge::Drop, entry).is_none()
    }

    /// Returns the first purge after the request to the source and before this step.
    fn purged(&self, ask: &Ask, surrogate: &str, purge: Purge, entry: &Entry) -> Option<&Purged> {
        self.book.purges.iter().find(|purged| {
            let since = entry.asked < purged.tick && purged.tick < self.began;
            since && purged.purge == purge && selects(&purged.selector, ask.key(), surrogate)
        })
    }

    fn objection(
        &self,
        ask: &Ask,
        edition: &Edition,
        entry: &Entry,
        age: u64,
        used: Use,
    ) -> Option<&'static str> {
        let policy = self.cache();
        let Directives { no_cache, max_age, min_fresh, max_stale, stale_if_error, .. } = match self.company {
            Company::Alone => ask.directives,
            // The answer to another request serves this one as well, so only these directives count.
            Company::Others => Directives {
                max_stale: ask.directives.max_stale,
                stale_if_error: ask.directives.stale_if_error,
                ..Directives::default()
            },
        };
        let lifetime = edition.lifetime(entry.at, policy);
        let marked =
            self.purged(ask, edition.surrogate, Purge::MarkStale, entry).map(|purged| self.now - purged.at);
        let outlived = age.checked_sub(lifetime);
        let since = outlived.max(marked).unwrap_or_default();
        let unwanted = no_cache || (used != Use::IfError && max_age.is_some_and(|limit| age > limit));
        let servable = !edition.is_never_stale(policy);
        let allowed = match used {
            Use::Fresh(_) if outlived.is_some() => return Some("it is stale"),
            Use::Fresh(_) if marked.is_some() => return Some("it was marked stale"),
            Use::Fresh(rest) => rest == lifetime - age && min_fresh.is_none_or(|wanted| rest >= wanted),
            Use::WhileRevalidating => {
                servable && min_fresh.is_none() && since < edition.while_revalidating(policy)
            }
            Use::MaxStale => servable && min_fresh.is_none() && max_stale.is_some_and(|limit| since <= limit),
            Use::IfError => {
                servable && since < edition.if_error(policy).max(stale_if_error.unwrap_or_default())
            }
        };
        if age != edition.age + (self.now - entry.at) {
            Some("its age is another")
        } else if unwanted {
            Some("the client wants it fresher")
        } else if !allowed {
            Some("it is too stale, or not as fresh as said")
        } else if self.is_overtaken(edition, entry, used) {
            Some("a newer one has taken its place")
        } else {
            None
        }
    }

    /// Returns whether the source, in a step between, sent another answer that must have replaced this edition.
    fn is_overtaken(&self, edition: &Edition, entry: &Entry, used: Use) -> bool {
        let policy = self.cache();
        let same_place = |later: &&Entry| {
            later.alone
                && later.step > entry.step
                && later.key == entry.key
                && later.asker.origin == entry.asker.origin
                && !self.book.unstored.contains(&later.asker.client)
        };
        let another = |id: usize| {
            let newer = &self.world.editions[id];
            newer.version != edition.version && newer.varies == Varies::Not
        };
        let replaces = |later: &Entry| match later.said {
            Said::Whole(id) => another(id) && self.world.editions[id].is_stored_surely(policy),
            // It makes the stored edition stale.
            Said::Fields(id) => another(id) && matches!(used, Use::Fresh(_)),
            Said::Missing => true,
            Said::Part(_) | Said::Torn(_) | Said::Same(_) | Said::Outside(_) | Said::Failed => false,
        };
        let one = edition.varies == Varies::Not && self.ample;
        // Answers of this step do not count, because they may have come later.
        one && self.world.log[..self.first].iter().filter(same_place).any(replaces)
    }

    /// Checks that a 404 may be served from memory.
    fn check_negative(&self, ask: &Ask) {
        let negative = self.cache().negative;
        let ttl = negative.ttl.as_secs();
        assert!(negative.missing, "a 404 was remembered");
        let Directives { no_cache, max_age, min_fresh, .. } = match self.company {
            Company::Alone => ask.directives,
            Company::Others => Directives::default(),
        };
        let right = self.world.log.iter().any(|entry| {
            let age = self.now - entry.at;
            entry.said == Said::Missing
                && entry.key == *ask.key()
                && entry.asker.origin == ask.asker.origin
                && !self.book.unstored.contains(&entry.asker.client)
                && self.purged(ask, "", Purge::Drop, entry).is_none()
                && self.purged(ask, "", Purge::MarkStale, entry).is_none()
                && age < ttl
                && !no_cache
                && max_age.is_none_or(|limit| age <= limit)
                && min_fresh.is_none_or(|wanted| ttl - age >= wanted)
        });
        assert!(right, "404 from memory");
    }
}

impl Said {
    /// Returns the edition that the answer is about.
    fn edition(self) -> Option<usize> {
        match self {
            Self::Whole(id)
            | Self::Part(id)
            | Self::Torn(id)
            | Self::Same(id)
            | Self::Fields(id)
            | Self::Outside(id) => Some(id),
            Self::Missing | Self::Failed => None,
        }
    }
}

impl Entry {
    /// Returns whether an answer about `edition` holds for this client too.
    fn suits(&self, ask: &Ask, edition: &Edition) -> bool {
        let (theirs, ours) = (&self.asker, &ask.asker);
        theirs.origin == ours.origin && edition.spoken(&theirs.language) == edition.spoken(&ours.language)
    }
}

fn selects(selector: &Selector, key: &ObjectKey, surrogate: &str) -> bool {
    match selector {
        Selector::Key(one) => one == key,
        Selector::Prefix(prefix) => key.as_str().starts_with(prefix.as_str()),
        Selector::Tag(tag) => tag == surrogate,
        Selector::All => true,
    }
}
