//! The origins of pages that a source distinguishes, learned from its answers (Fetch, "CORS protocol").
//!
//! A source decides by the origin of a page, not by the object, what the page may read. Its answers name the origin, or
//! `*`, or neither. So a bucket needs one stored copy for all origins that get neither, one for all that get `*`, and
//! one for each origin that is named. `Vary` does not tell them apart: S3 sends it only with an answer to a request
//! that has `Origin`, and then also if the answer is for everybody.

use crate::clock::Moment;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};

use crate::http::response_fields::varies;
use crate::source::error::shown_with_errors;

/// How long the source's word on an origin counts.
const LEARNED_FOR: Duration = Duration::from_secs(300);

/// Maximum number of origins that are remembered.
const ORIGINS_MAX: usize = 4096;

/// How many unknown origins the source is asked about at once, and how many more each second, while it is known to
/// distinguish origins.
const ASKED_WITH_RULES: (u32, u32) = (32, 16);

/// The same while nothing is known of rules. Anybody can invent origins, but pages come from few.
const ASKED_WITHOUT_RULES: (u32, u32) = (2, 1);

/// The CORS answer of a source to pages of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginClass {
    /// Its answers have no `Access-Control-Allow-Origin`.
    Refused,
    /// Its answers are for every origin (`*`).
    Any,
    /// Its answers name this origin.
    Named,
}

impl OriginClass {
    /// Returns the part of a cache key that the copy for `origin` has.
    pub fn key(self, origin: &HeaderValue) -> Arc<str> {
        match self {
            Self::Refused => "".into(),
            Self::Any => "*".into(),
            // Map each byte to one character, so that different bytes give different keys.
            Self::Named => origin.as_bytes().iter().map(|&byte| char::from(byte)).collect::<String>().into(),
        }
    }

    /// Returns the class that an answer shows, or `None` if it does not allow a page to read it.
    fn allowed_by(answer: &HeaderMap) -> Option<Self> {
        let allowed = answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN)?;
        Some(if allowed == "*" { Self::Any } else { Self::Named })
    }
}

/// Time for which a source is not asked again that has not answered.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// What a source has said to the origins of a bucket's clients.
#[derive(Debug, Default)]
pub struct Origins(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    origins: HashMap<HeaderValue, Learned>,
    /// The latest answer for every origin.
    any: Option<Moment>,
    /// The latest answer that distinguishes origins.
    rules: Option<Moment>,
    /// The questions that may still be asked, and the time of the latest one.
    questions: u32,
    asked: Option<Moment>,
    /// When a question was last left without an answer.
    unanswered: Option<Moment>,
}

#[derive(Debug)]
struct Learned {
    class: OriginClass,
    at: Moment,
    /// The CORS fields of the answer.
    fields: HeaderMap,
}

impl Origins {
    /// Returns the class of an origin, or `None` if the source has to be asked.
    pub fn class(&self, origin: &HeaderValue, now: Moment) -> Option<OriginClass> {
        let known = self.known();
        let learned = known.origins.get(origin).filter(|learned| counts(Some(learned.at), now));
        learned.map(|learned| learned.class).or_else(|| counts(known.any, now).then_some(OriginClass::Any))
    }

    /// Returns `true` if the source may be asked about one more origin now.
    pub fn may_ask(&self, now: Moment) -> bool {
        let mut known = self.known();
        let (most, rate) = if counts(known.rules, now) { ASKED_WITH_RULES } else { ASKED_WITHOUT_RULES };
        let elapsed = known.asked.map_or(u64::MAX, |asked| now.since(asked).as_secs());
        let gained = u32::try_from(elapsed).unwrap_or(u32::MAX).saturating_mul(rate);
        if gained > 0 {
            known.questions = known.questions.saturating_add(gained).min(most);
            known.asked = Some(now);
        }
        let allowed = known.questions > 0;
        known.questions = known.questions.saturating_sub(1);
        allowed
    }

    /// Returns `true` if the source has not answered a question a moment ago. Others need not wait for it in vain, too.
    pub fn is_silent(&self, now: Moment) -> bool {
        self.known().unanswered.is_some_and(|at| now.since(at) < SILENT_FOR)
    }

    /// Records that the source has not answered.
    pub fn unanswered(&self, now: Moment) {
        self.known().unanswered = Some(now);
    }

    /// Learns from an answer with an object. Returns the class of the origin.
    pub fn learn(&self, origin: &HeaderValue, answer: &HeaderMap, now: Moment) -> OriginClass {
        let class = OriginClass::allowed_by(answer);
        let mut known = self.known();
        match class {
            Some(OriginClass::Any) => known.any = Some(now),
            Some(OriginClass::Named) => known.rules = Some(now),
            Some(OriginClass::Refused) | None if varies(answer) => known.rules = Some(now),
            Some(OriginClass::Refused) | None => {}
        }
        let class = class.unwrap_or(OriginClass::Refused);
        known.insert(origin, class, answer, now);
        class
    }

    /// Learns from an error. Many sources leave the CORS fields out of errors, so that only their presence tells.
    /// Returns the class that the error is for.
    pub fn learn_from_error(&self, origin: &HeaderValue, answer: &HeaderMap, now: Moment) -> OriginClass {
        if OriginClass::allowed_by(answer).is_some() {
            return self.learn(origin, answer, now);
        }
        let known = self.class(origin, now);
        // Without rules, no origin gets anything else.
        let nothing = if counts(self.known().rules, now) { OriginClass::Named } else { OriginClass::Refused };
        known.unwrap_or(nothing)
    }

    /// Returns the CORS fields of the source's latest answer to an origin.
    pub fn fields(&self, origin: &HeaderValue, now: Moment) -> HeaderMap {
        let known = self.known();
        let learned = known.origins.get(origin).filter(|learned| counts(Some(learned.at), now));
        learned.map(|learned| learned.fields.clone()).unwrap_or_default()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.known() = Known::default();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn insert(&mut self, origin: &HeaderValue, class: OriginClass, answer: &HeaderMap, now: Moment) {
        if self.origins.len() >= ORIGINS_MAX && !self.origins.contains_key(origin) {
            // Invented origins are refused. The others are few.
            self.origins
                .retain(|_, learned| learned.class != OriginClass::Refused && counts(Some(learned.at), now));
            if self.origins.len() >= ORIGINS_MAX {
                self.origins.clear();
            }
        }
        let fields = answer.iter().filter(|(name, _)| shown_with_errors(name));
        // Values that were received are slices of their read buffer.
        let fields = fields.map(|(name, value)| (name.clone(), copied(value))).collect();
        self.origins.insert(copied(origin), Learned { class, at: now, fields });
    }
}

/// Returns `true` if what was learned at this time still counts.
fn counts(learned: Option<Moment>, now: Moment) -> bool {
    learned.is_some_and(|at| now.since(at) < LEARNED_FOR)
}

fn copied(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).expect("a header value stays one")
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::START;

    fn origin(text: &str) -> HeaderValue {
        text.parse().unwrap()
    }

    fn answer(fields: &[(header::HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn answers_tell_which_origins_they_are_for() {
        let (origins, a, b) = (Origins::default(), origin("https://a"), origin("https://b"));
        assert_eq!(origins.class(&a, START), None);
        let named = answer(&[(header::ACCESS_CONTROL_ALLOW_ORIGIN, "https://a"), (header::VARY, "Origin")]);
        assert_eq!(origins.learn(&a, &named, START), OriginClass::Named);
        assert_eq!(origins.learn(&b, &HeaderMap::new(), START), OriginClass::Refused);
        assert_eq!(origins.class(&a, START), Some(OriginClass::Named));
        assert_eq!(origins.class(&b, START), Some(OriginClass::Refused));
        assert_eq!(origins.fields(&a, START), named);
        assert_eq!(origins.class(&a, START + LEARNED_FOR), None, "S3's rules may have changed");
        let any = answer(&[(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")]);
        assert_eq!(origins.learn(&origin("https://c"), &any, START), OriginClass::Any);
        assert_eq!(origins.class(&origin("https://invented"), START), Some(OriginClass::Any));
        origins.clear();
        assert_eq!(origins.class(&a, START), None);
    }

    #[test]
    fn the_copies_of_different_classes_have_different_keys() {
        let a = origin("https://a");
        let keys = [OriginClass::Refused, OriginClass::Any, OriginClass::Named].map(|class| class.key(&a));
        assert_eq!(keys.each_ref().map(|key| &**key), ["", "*", "https://a"]);
    }

    #[test]
    fn errors_tell_only_by_what_they_have() {
        let (origins, a) = (Origins::default(), origin("https://a"));
        assert_eq!(origins.learn_from_error(&a, &HeaderMap::new(), START), OriginClass::Refused);
        assert_eq!(origins.class(&a, START), None);
        let named = answer(&[(header::ACCESS_CONTROL_ALLOW_ORIGIN, "https://a")]);
        origins.learn_from_error(&a, &named, START);
        assert_eq!(origins.class(&a, START), Some(OriginClass::Named));
        assert_eq!(origins.learn_from_error(&a, &HeaderMap::new(), START), OriginClass::Named);
        let b = origin("https://b");
        assert_eq!(
            origins.learn_from_error(&b, &HeaderMap::new(), START),
            OriginClass::Named,
            "a copy of its own"
        );
    }

    #[test]
    fn invented_origins_ask_the_source_seldom() {
        let origins = Origins::default();
        let ask = |millis| origins.may_ask(START + Duration::from_millis(millis));
        assert!(ask(0) && ask(0) && !ask(0) && !ask(500));
        assert!(ask(1000) && !ask(1000));
        let named = answer(&[(header::ACCESS_CONTROL_ALLOW_ORIGIN, "https://a")]);
        origins.learn(&origin("https://a"), &named, START);
        assert_eq!((0..100).filter(|_| ask(10_000)).count(), 32);
    }

    #[test]
    fn a_source_that_is_silent_is_left_alone() {
        let origins = Origins::default();
        assert!(!origins.is_silent(START));
        origins.unanswered(START + Duration::from_secs(5));
        assert!(origins.is_silent(START + Duration::from_secs(14)));
        assert!(!origins.is_silent(START + Duration::from_secs(15)));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let origins = Origins::default();
        let named = answer(&[(header::ACCESS_CONTROL_ALLOW_ORIGIN, "https://a")]);
        origins.learn(&origin("https://a"), &named, START);
        for number in 0..=ORIGINS_MAX {
            origins.learn(&origin(&format!("https://{number}")), &HeaderMap::new(), START);
        }
        assert!(origins.known().origins.len() <= ORIGINS_MAX);
        assert_eq!(origins.class(&origin("https://a"), START), Some(OriginClass::Named));
    }
}
