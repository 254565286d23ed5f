//! The part of the rules that a website brings with it in a visit.

use http::StatusCode;
use yatagarasu_core::caching::cache_status::Detail;
use yatagarasu_core::{CacheStatus, ErrorKind, Gateway, Outcome, SourceError};

use crate::service::router::rewrite::with_query;
use crate::service::router::{decode, without_dots};
use crate::service::site::rules::fields::PathFields;
use crate::service::site::rules::redirects::{Precedence, Ruled};
use crate::service::site::visit::{Found, Instead, Visit, look, page_or_redirect};

impl Visit {
    /// Returns whether rules that the website brings with it have to be [read](Self::read_rules), or
    /// [decide](Self::by_rule) before the object does.
    pub(in crate::service) fn is_ruled(&mut self, gateway: &Gateway) -> bool {
        if !self.website.has_rules() {
            return false;
        }
        self.rules = self.website.rules(self.host.as_deref(), gateway);
        self.rules.is_none() || self.is_hidden() || self.rule(Precedence::RuleFirst).is_some()
    }

    /// Waits for the rules that the website brings with it.
    pub(in crate::service) async fn read_rules(&mut self, gateway: &Gateway) {
        if !self.only_if_cached {
            self.rules = Some(self.website.read_rules(self.host.as_deref(), gateway).await);
        }
    }

    /// Returns what a rule has served before the object is looked for.
    pub(in crate::service) async fn by_rule(&self, gateway: &Gateway) -> Option<Instead> {
        if self.is_hidden() {
            return Some(self.not_found(no_object(), gateway).await);
        }
        Some(self.follow(self.rule(Precedence::RuleFirst)?, gateway).await)
    }

    /// Returns what the rules change about the fields of the response.
    pub(in crate::service) fn fields(&self) -> Option<PathFields> {
        let fields = self.rules.as_ref()?.fields.as_ref()?;
        Some(fields.changes(&self.path()?))
    }

    /// Returns what the first rule of this precedence makes of the path.
    pub(super) fn rule(&self, precedence: Precedence) -> Option<Ruled> {
        let redirects = self.rules.as_ref()?.redirects.as_ref()?;
        Some(redirects.find(&self.path()?, precedence)?.1)
    }

    /// Does what a rule says.
    pub(super) async fn follow(&self, ruled: Ruled, gateway: &Gateway) -> Instead {
        let (status, path) = match ruled {
            Ruled::Redirect(status, location) => {
                let location = self.website.reference(location);
                return Instead::Redirect(status, with_query(location, self.target.query()));
            }
            Ruled::Page(status, path) => (status, path),
        };
        let Some(key) = self.website.key_at(self.host.as_deref(), &path) else {
            return self.not_found(no_object(), gateway).await;
        };
        if status != StatusCode::OK {
            return match self.page_with(status, &key, gateway).await {
                Some(page) => page,
                None => self.not_found(no_object(), gateway).await,
            };
        }
        match look(gateway, &key, self.method, self.headers.clone()).await {
            Found::Object(outcome) => page_or_redirect(outcome, key),
            Found::Failed(outcome) => self.of_object(&key, outcome, gateway).await,
            Found::Missing => self.not_found(no_object(), gateway).await,
        }
    }

    /// Returns whether the request is for an object with rules.
    fn is_hidden(&self) -> bool {
        self.website.is_rules(self.host.as_deref(), self.key.as_str())
    }

    /// Returns the decoded path, from the root of the website.
    fn path(&self) -> Option<String> {
        let path = without_dots(decode(self.target.path()).ok()?);
        Some(self.website.below(&path)?.to_owned())
    }
}

/// Returns the outcome of a request for what is not there, although S3 was not asked for it.
fn no_object() -> Outcome {
    let error = SourceError::new(ErrorKind::NotFound);
    Outcome { handling: CacheStatus::Own(Detail::Local), reply: Err(error.into()) }
}
