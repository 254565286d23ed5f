//! The objects of the model test's source, and the caching rules that apply to them.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::HeaderMap;
use yatagarasu_core::{CachePolicy, ObjectControl, ObjectKey};
use yatagarasu_testing::cache_key;

use super::dice::Dice;
use crate::bed::ITEM_MAX;

/// The object under a key at the source, from one change to the next.
#[derive(Debug, Clone)]
pub(super) struct Edition {
    /// Place among the editions of a run. `X-Edition` tells it to clients.
    pub(super) id: usize,
    pub(super) key: ObjectKey,
    /// Identifies the content. Editions that differ in their fields only share it.
    pub(super) version: u64,
    pub(super) length: usize,
    /// Whether `Content-Length` is sent with the whole object.
    pub(super) sends_length: bool,
    tag: Tagged,
    dated: bool,
    label: &'static Label,
    /// In seconds since 1970.
    expires: Option<u64>,
    /// `Age` on arrival, in seconds.
    pub(super) age: u64,
    pub(super) varies: Varies,
    /// `Surrogate-Key`.
    pub(super) surrogate: &'static str,
}

/// Kind of the `ETag` of an edition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tagged {
    Not,
    Weak,
    Strong,
}

/// The field that an edition's `Vary` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Varies {
    /// Nothing.
    Not,
    /// `Accept-Language`, which the content depends on.
    ByLanguage,
    /// `*`
    ByAnything,
}

/// The `Cache-Control` of an edition: the text of the source, and its meaning in the model.
#[derive(Debug)]
struct Label {
    text: &'static str,
    lifetime: Option<u64>,
    rule: Rule,
    while_revalidating: Option<u64>,
    if_error: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    None,
    /// `no-cache`
    Validate,
    /// `must-revalidate`
    NeverStale,
    /// `s-maxage`
    Shared,
    /// `no-store`
    NoStore,
    /// `private`
    Private,
    /// `private="x-secret"`
    Secret,
}

/// Labels to draw from. Every edition has one, so that a 304 can replace it.
static LABELS: [Label; 12] = [
    label("public", None, Rule::None),
    label("max-age=30", Some(30), Rule::None),
    label("MAX-AGE=\"90\"", Some(90), Rule::None),
    label("max-age=0", Some(0), Rule::None),
    label("max-age=90, s-maxage=20", Some(20), Rule::Shared),
    label("no-cache", None, Rule::Validate),
    label("no-store", None, Rule::NoStore),
    label("private, max-age=50", Some(50), Rule::Private),
    label("max-age=20, must-revalidate", Some(20), Rule::NeverStale),
    label("max-age=40, private=\"x-secret\"", Some(40), Rule::Secret),
    Label {
        while_revalidating: Some(15),
        ..label("max-age=10, stale-while-revalidate=15", Some(10), Rule::None)
    },
    Label { if_error: Some(25), ..label("max-age=10, stale-if-error=25", Some(10), Rule::None) },
];

const SURROGATES: [&str; 2] = ["red", "blue"];

/// Base of all `Last-Modified` dates. They lie before every `Date`, and no two are the same.
const MODIFIED: u64 = 1_767_225_600 - 1_000_000;

const fn label(text: &'static str, lifetime: Option<u64>, rule: Rule) -> Label {
    Label { text, lifetime, rule, while_revalidating: None, if_error: None }
}

/// The parts of a client's request that the source's answer depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) client: u64,
    pub(super) origin: Option<String>,
    /// The languages of `Accept-Language`, in one form.
    pub(super) language: String,
}

impl Asker {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let languages = text(headers, "accept-language").unwrap_or_default().to_ascii_lowercase();
        let mut languages: Vec<&str> =
            languages.split(',').map(str::trim).filter(|language| !language.is_empty()).collect();
        languages.sort_unstable();
        Self {
            client: text(headers, "x-client").unwrap().parse().unwrap(),
            origin: text(headers, "origin").map(String::from),
            language: languages.join("-"),
        }
    }
}

/// The part of an edition that is requested.
pub(super) enum FillMode {
    Whole,
    Part(Range<usize>),
    /// A range outside of the edition.
    Nothing,
}

impl Edition {
    pub(super) fn roll(id: usize, key: &str, now: u64, dice: &mut Dice) -> Self {
        let version = id as u64;
        let tag = dice.pick(&[Tagged::Not, Tagged::Weak, Tagged::Strong, Tagged::Strong, Tagged::Strong]);
        let dated = dice.chance(50);
        let validated = dated || tag != Tagged::Not;
        let length = if !validated {
            // Only the length distinguishes this edition from others, so it is unique.
            version * 7 % 1499
        } else if dice.chance(15) {
            ITEM_MAX + 1 + dice.below(500)
        } else {
            dice.below(ITEM_MAX + 1)
        };
        Self {
            id,
            key: cache_key(key).object,
            version,
            length: usize::try_from(length).unwrap(),
            sends_length: !validated || dice.chance(85),
            tag,
            dated,
            label: &LABELS[dice.index(LABELS.len())],
            expires: dice.chance(25).then(|| now + dice.below(60)),
            age: dice.pick(&[0, 0, 0, 5, 100]),
            varies: dice.pick(&[
                Varies::Not,
                Varies::Not,
                Varies::Not,
                Varies::ByLanguage,
                Varies::ByLanguage,
                Varies::ByAnything,
            ]),
            surrogate: dice.pick(&SURROGATES),
        }
    }

    /// Returns an edition with the same content and other fields.
    ///
    /// No field that a cache reads appears or disappears, because a 304 leaves the fields it does not name unchanged.
    pub(super) fn relabelled(&self, id: usize, now: u64, dice: &mut Dice) -> Self {
        Self {
            id,
            label: &LABELS[dice.index(LABELS.len())],
            expires: self.expires.map(|_| now + dice.below(60)),
            age: dice.pick(&[0, 0, 5]),
            surrogate: dice.pick(&SURROGATES),
            ..self.clone()
        }
    }

    /// Returns the language of the variant for a client that asks for `language`.
    pub(super) fn spoken<'a>(&self, language: &'a str) -> &'a str {
        match self.varies {
            Varies::ByLanguage => language,
            Varies::Not | Varies::ByAnything => "",
        }
    }

    pub(super) fn content(&self, language: &str) -> Bytes {
        let letters = self.spoken(language).bytes().map(u64::from);
        let seed = letters.fold(self.version, |seed, letter| seed.wrapping_mul(0x0100_0000_01b3) ^ letter);
        let mut dice = Dice::new(seed);
        let mut content = Vec::with_capacity(self.length + 8);
        while content.len() < self.length {
            content.extend_from_slice(&dice.roll().to_le_bytes());
        }
        content.truncate(self.length);
        content.into()
    }

    pub(super) fn etag(&self, language: &str) -> Option<String> {
        let (version, spoken) = (self.version, self.spoken(language));
        match self.tag {
            Tagged::Not => None,
            Tagged::Weak => Some(format!("W/\"{version}{spoken}\"")),
            Tagged::Strong => Some(format!("\"{version}{spoken}\"")),
        }
    }

    pub(super) fn modified(&self) -> Option<String> {
        self.dated.then(|| date(MODIFIED + self.version))
    }

    /// Returns the fields that describe the edition, as `asker` gets them.
    pub(super) fn fields(&self, asker: &Asker, now: u64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut add = |name: &'static str, value: &str| {
            headers.append(name, value.parse().unwrap());
        };
        add("date", &date(now));
        add("cache-control", self.label.text);
        add("content-type", "text/plain");
        add("surrogate-key", self.surrogate);
        add("x-edition", &self.id.to_string());
        add("x-language", self.spoken(&asker.language));
        add("x-for", &asker.client.to_string());
        if self.label.rule == Rule::Secret {
            add("x-secret", &asker.client.to_string());
        }
        if let Some(tag) = self.etag(&asker.language) {
            add("etag", &tag);
        }
        if let Some(modified) = self.modified() {
            add("last-modified", &modified);
        }
        if let Some(expires) = self.expires {
            add("expires", &date(expires));
        }
        if self.age > 0 {
            add("age", &self.age.to_string());
        }
        match self.varies {
            Varies::Not => {}
            Varies::ByLanguage => add("vary", "Accept-Language"),
            Varies::ByAnything => add("vary", "*"),
        }
        if let Some(origin) = &asker.origin {
            add("access-control-allow-origin", origin);
            add("vary", "origin");
        }
        headers
    }

    /// Returns whether the conditions in `headers` say that the client has this edition (RFC 9110 13.2.2).
    pub(super) fn is_known(&self, headers: &HeaderMap, language: &str) -> bool {
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        match (text(headers, "if-none-match"), text(headers, "if-modified-since")) {
            (Some(list), _) => {
                self.etag(language).is_some_and(|tag| list.split(',').any(|one| opaque(one) == opaque(&tag)))
            }
            (None, Some(since)) => self.dated && seconds(since) >= MODIFIED + self.version,
            (None, None) => false,
        }
    }

    /// Returns whether an edition without a modification date was sent no later than `If-Modified-Since`.
    pub(super) fn is_old_enough(&self, asked: &HeaderMap, given: &HeaderMap) -> bool {
        let since = text(asked, "if-modified-since").filter(|_| text(asked, "if-none-match").is_none());
        let sent = text(given, "date");
        !self.dated && since.zip(sent).is_some_and(|(since, sent)| seconds(sent) <= seconds(since))
    }

    /// Returns whether `If-Range` lets a range apply (RFC 9110 13.1.5).
    pub(super) fn range_applies(&self, headers: &HeaderMap, language: &str) -> bool {
        text(headers, "if-range").is_none_or(|condition| {
            let tag = if self.tag == Tagged::Strong { self.etag(language) } else { None };
            tag.as_deref() == Some(condition) || self.modified().as_deref() == Some(condition)
        })
    }

    /// Returns the part that a request to the source asks for. The source supports single ranges only.
    pub(super) fn wanted(&self, headers: &HeaderMap, language: &str) -> FillMode {
        match ranges(headers).as_slice() {
            [one] if self.range_applies(headers, language) => {
                resolve(one, self.length).map_or(FillMode::Nothing, FillMode::Part)
            }
            _ => FillMode::Whole,
        }
    }

    /// Returns the freshness lifetime of an edition sent at `at`, in seconds.
    pub(super) fn lifetime(&self, at: u64, policy: &CachePolicy) -> u64 {
        let ttl = policy.ttl.as_secs();
        if self.label.rule == Rule::Validate && policy.cache_control != ObjectControl::Ignore {
            return 0;
        }
        match policy.cache_control {
            ObjectControl::Ignore | ObjectControl::Override => ttl,
            ObjectControl::Respect => {
                let expires = self.expires.map(|expires| expires.saturating_sub(at));
                self.label.lifetime.or(expires).unwrap_or(ttl)
            }
        }
    }

    /// Returns for how many seconds a stale edition is served while it is revalidated.
    pub(super) fn while_revalidating(&self, policy: &CachePolicy) -> u64 {
        window(self.label.while_revalidating, policy.stale_while_revalidate, policy)
    }

    /// Returns for how many seconds a stale edition is served if the source fails.
    pub(super) fn if_error(&self, policy: &CachePolicy) -> u64 {
        window(self.label.if_error, policy.stale_if_error, policy)
    }

    pub(super) fn is_never_stale(&self, policy: &CachePolicy) -> bool {
        match policy.cache_control {
            ObjectControl::Ignore => false,
            ObjectControl::Override => matches!(self.label.rule, Rule::Validate | Rule::NeverStale),
            ObjectControl::Respect => {
                matches!(self.label.rule, Rule::Validate | Rule::NeverStale | Rule::Shared)
            }
        }
    }

    /// Returns whether the edition is for one client only and the bucket obeys that.
    pub(super) fn is_private(&self, policy: &CachePolicy) -> bool {
        self.label.rule == Rule::Private && policy.cache_control != ObjectControl::Ignore
    }

    /// Returns whether a cache may store the edition.
    pub(super) fn is_storable(&self, policy: &CachePolicy) -> bool {
        let forbidden = matches!(self.label.rule, Rule::NoStore | Rule::Private);
        let obeyed = policy.cache_control != ObjectControl::Ignore;
        !(forbidden && obeyed) && self.varies != Varies::ByAnything && self.length as u64 <= ITEM_MAX
    }

    /// Returns whether the cache is sure to store the edition if it arrives whole.
    pub(super) fn is_stored_surely(&self, policy: &CachePolicy) -> bool {
        self.is_storable(policy) && self.sends_length && (self.dated || self.tag != Tagged::Not)
    }
}

/// Returns the object's own window if it has one and the bucket obeys it, and the bucket's otherwise.
fn window(own: Option<u64>, bucket: Duration, policy: &CachePolicy) -> u64 {
    match policy.cache_control {
        ObjectControl::Ignore => bucket.as_secs(),
        ObjectControl::Respect | ObjectControl::Override => own.unwrap_or(bucket.as_secs()),
    }
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

/// Returns the members of `Range` as they are written.
pub(super) fn ranges(headers: &HeaderMap) -> Vec<String> {
    let Some(set) = text(headers, "range").and_then(|field| field.strip_prefix("bytes=")) else {
        return Vec::new();
    };
    set.split(',').map(String::from).collect()
}

/// Returns the bytes that one member of `Range` selects, or `None` if it selects none.
pub(super) fn resolve(one: &str, length: usize) -> Option<Range<usize>> {
    let (first, last) = one.split_once('-').unwrap();
    let range = match (first, last) {
        ("", suffix) => length.saturating_sub(suffix.parse().unwrap())..length,
        (first, "") => first.parse().unwrap()..length,
        (first, last) => first.parse().unwrap()..length.min(last.parse::<usize>().unwrap() + 1),
    };
    (range.start < range.end).then_some(range)
}

pub(super) fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn seconds(date: &str) -> u64 {
    let at = httpdate::parse_http_date(date).unwrap();
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}
