//! Random requests of the model test, and the answers to them.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use yatagarasu_core::caching::cache_status::{Detail, Provenance};
use yatagarasu_core::caching::freshness::Freshness;
use yatagarasu_core::{CacheStatus, Gateway, GatewayError, Method, ObjectKey, Request};
use yatagarasu_testing::cache_key;

use super::dice::Dice;
use super::edition::{Asker, Edition, date, ranges};

const LANGUAGES: [Option<&str>; 6] = [None, None, Some("de"), Some("DE"), Some("fr, de"), Some("de,fr")];

/// A client's request, and whether the client leaves early.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) request: Request,
    pub(super) asker: Asker,
    /// The directives that the bucket obeys.
    pub(super) directives: Directives,
    /// Whether the client leaves after the first bytes.
    pub(super) leaves: bool,
}

/// The directives of a request's `Cache-Control`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Directives {
    pub(super) no_cache: bool,
    pub(super) no_store: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<u64>,
    pub(super) min_fresh: Option<u64>,
    pub(super) max_stale: Option<u64>,
    pub(super) stale_if_error: Option<u64>,
}

/// The answer that a client received.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) handling: CacheStatus,
    pub(super) reply: Result<Given, GatewayError>,
}

#[derive(Debug)]
pub(super) struct Given {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
    pub(super) end: End,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    /// With an error.
    Torn,
    /// Because the client left.
    Left,
}

impl Ask {
    /// Draws a request for `key`.
    ///
    /// Its conditions are about `editions`: present and past objects, under this key or another.
    pub(super) fn roll(client: u64, key: &str, editions: &[Edition], now: u64, dice: &mut Dice) -> Self {
        let method = if dice.chance(15) { Method::Head } else { Method::Get };
        let mut headers = HeaderMap::new();
        headers.insert("x-client", HeaderValue::from(client));
        if let Some(language) = dice.pick(&LANGUAGES) {
            headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(language));
        }
        if dice.chance(15) {
            headers.insert(header::ORIGIN, HeaderValue::from_static("https://a.example"));
        }
        if method == Method::Get && dice.chance(30) {
            headers.insert(header::RANGE, range(dice));
        }
        let asker = Asker::of(&headers);
        if !editions.is_empty() && dice.chance(30) {
            let near = editions.len() - 1 - dice.index(editions.len().min(7));
            let (name, value) = condition(&editions[near], &asker.language, now, dice);
            headers.insert(name, value.parse().unwrap());
        }
        let directives = directives(dice, &mut headers);
        let request = Request { method, key: cache_key(key), headers };
        Self { request, asker, directives, leaves: dice.chance(5) }
    }

    pub(super) fn key(&self) -> &ObjectKey {
        &self.request.key.object
    }

    /// Returns the requested ranges; a HEAD has none, because ranges do not apply to it.
    pub(super) fn ranges(&self) -> Vec<String> {
        match self.request.method {
            Method::Get => ranges(&self.request.headers),
            Method::Head => Vec::new(),
        }
    }
}

impl Heard {
    /// Returns how the request was answered, in a word.
    pub(super) fn kind(&self) -> &'static str {
        match self.handling {
            CacheStatus::Hit { freshness: Freshness::Fresh(_), detail: None } => "fresh",
            CacheStatus::Hit { detail: Some(Detail::Negative), .. } => "negative",
            CacheStatus::Hit { detail: Some(Detail::WhileRevalidating), .. } => "while revalidating",
            CacheStatus::Hit { detail: Some(Detail::MaxStale), .. } => "max-stale",
            CacheStatus::Hit { .. } => "odd",
            CacheStatus::Forwarded(forwarding) => match forwarding.provenance {
                Provenance::Source if forwarding.collapsed => "collapsed",
                Provenance::Source => "source",
                Provenance::Confirmed => "confirmed",
                Provenance::Stale => "stale if error",
            },
            CacheStatus::Own(_) => "declined",
        }
    }

    /// Returns the status that the client receives.
    pub(super) fn status(&self) -> u16 {
        match &self.reply {
            Ok(given) => given.status,
            Err(GatewayError::OnlyIfCached) => 504,
            Err(GatewayError::Source(error)) => error.consequences().status.as_u16(),
        }
    }
}

/// Draws a condition on an edition.
fn condition(edition: &Edition, language: &str, now: u64, dice: &mut Dice) -> (HeaderName, String) {
    let tag = edition.etag(language).unwrap_or_else(|| "\"none\"".to_owned());
    let modified = edition.modified().unwrap_or_else(|| date(now));
    match dice.below(5) {
        0 => (header::IF_NONE_MATCH, tag),
        1 => (header::IF_NONE_MATCH, format!("\"other\", {tag}")),
        2 => (header::IF_MODIFIED_SINCE, modified),
        3 => (header::IF_RANGE, tag),
        _ => (header::IF_RANGE, modified),
    }
}

fn range(dice: &mut Dice) -> HeaderValue {
    let mut within = || {
        let first = dice.below(1100);
        format!("{first}-{}", first + dice.below(300))
    };
    let parts = [within(), within(), within()];
    let field = match dice.below(6) {
        0 | 1 => parts[0].clone(),
        2 => format!("{}-", dice.below(1100)),
        3 => format!("-{}", 1 + dice.below(300)),
        4 => parts[..2].join(","),
        _ => parts.join(","),
    };
    format!("bytes={field}").parse().unwrap()
}

/// Draws up to two directives, adds them to a request and returns them.
fn directives(dice: &mut Dice, headers: &mut HeaderMap) -> Directives {
    let mut directives = Directives::default();
    let first = dice.below(7);
    let kinds = [first, (first + 1 + dice.below(6)) % 7];
    let mut texts = Vec::new();
    let count: usize = dice.pick(&[0, 0, 0, 1, 1, 2]);
    for kind in &kinds[..count] {
        let seconds = dice.below(40);
        texts.push(match kind {
            0 => {
                directives.no_cache = true;
                "no-cache".to_owned()
            }
            1 => {
                directives.no_store = true;
                "no-store".to_owned()
            }
            2 => {
                directives.only_if_cached = true;
                "only-if-cached".to_owned()
            }
            3 => {
                directives.max_age = Some(seconds);
                format!("max-age={seconds}")
            }
            4 => {
                directives.min_fresh = Some(seconds);
                format!("min-fresh={seconds}")
            }
            5 if seconds < 10 => {
                directives.max_stale = Some(u64::MAX);
                "max-stale".to_owned()
            }
            5 => {
                directives.max_stale = Some(seconds);
                format!("max-stale={seconds}")
            }
            _ => {
                directives.stale_if_error = Some(seconds);
                format!("stale-if-error={seconds}")
            }
        });
    }
    if !texts.is_empty() {
        headers.insert(header::CACHE_CONTROL, texts.join(", ").parse().unwrap());
    }
    directives
}

/// Sends a request and reads the answer.
pub(super) async fn hear(gateway: Gateway, ask: Ask) -> Heard {
    // Try to answer without waiting first, as the server does.
    let outcome = match gateway.try_hit(ask.request, None) {
        Ok(outcome) => outcome,
        Err(pending) => gateway.finish(pending).await,
    };
    let reply = match outcome.reply {
        Err(refusal) => Err(refusal),
        Ok(mut reply) => {
            let (mut bytes, mut end) = (Vec::new(), End::Whole);
            while let Some(piece) = reply.body.next().await {
                match piece {
                    Ok(piece) => bytes.extend_from_slice(&piece),
                    Err(_) => end = End::Torn,
                }
                if ask.leaves {
                    end = End::Left;
                    break;
                }
            }
            Ok(Given { status: reply.status.as_u16(), headers: reply.headers, bytes, end })
        }
    };
    Heard { handling: outcome.handling, reply }
}
