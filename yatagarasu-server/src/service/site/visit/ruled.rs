//! The part of the rules that a website brings with it in a visit.

use http::StatusCode;
use yatagarasu_core::caching::cache_status::{Detail, ForwardReason};
use yatagarasu_core::{CacheStatus, Gateway, GatewayError, Outcome};

use crate::service::router::rewrite::with_query;
use crate::service::router::{decode, without_dots};
use crate::service::site::is_missing;
use crate::service::site::rules::fields::PathFields;
use crate::service::site::rules::redirects::{Precedence, Ruled};
use crate::service::site::visit::{Found, Instead, Visit, no_object};

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

    /// Waits for the rules that the website brings with it. Returns what is served if they cannot be had: they may say that
    /// nobody gets the object.
    pub(in crate::service) async fn read_rules(&mut self, gateway: &Gateway) -> Option<Instead> {
        if self.rules.is_some() {
            return None;
        }
        if self.only_if_cached {
            let (handling, reply) = (CacheStatus::Own(Detail::OnlyIfCached), Err(GatewayError::OnlyIfCached));
            return Some(Instead::Nothing(Outcome { handling, reply }));
        }
        match self.website.read_rules(self.host.as_deref(), gateway).await {
            Ok(rules) => {
                self.rules = Some(rules);
                None
            }
            Err(error) => {
                let handling = CacheStatus::forwarded(ForwardReason::UriMiss);
                let outcome = Outcome { handling, reply: Err(error.into()) };
                gateway.count(&outcome);
                Some(self.of_failed(outcome, gateway).await)
            }
        }
    }

    /// Returns what a rule has served before the object is looked for.
    pub(in crate::service) async fn by_rule(&self, gateway: &Gateway) -> Option<Instead> {
        if self.is_hidden() {
            return Some(self.not_found(no_object(), gateway).await);
        }
        let instead = self.follow(self.rule(Precedence::RuleFirst)?, gateway).await;
        if let Instead::Page(outcome, _) | Instead::List(outcome, _) | Instead::Nothing(outcome) = &instead {
            gateway.count(outcome);
        }
        Some(instead)
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
                Ok(page) => page,
                Err(outcome) if !is_missing(&outcome) => self.of_failed(outcome, gateway).await,
                Err(_) if status == StatusCode::GONE => Instead::Gone,
                Err(missing) => self.not_found(missing, gateway).await,
            };
        }
        match self.look(gateway, &key, self.method, self.headers.clone()).await {
            Found::Object(outcome) => self.page_or_redirect(outcome, key),
            Found::Failed(outcome) => self.of_object(&key, outcome, gateway).await,
            Found::Missing(outcome) if path.ends_with('/') => {
                match self.listing(&key, self.method, self.headers.clone(), gateway).await {
                    Some(Found::Object(list)) => Instead::List(list, key),
                    Some(Found::Failed(failed)) => self.of_failed(failed, gateway).await,
                    Some(Found::Missing(_)) | None => self.not_found(outcome, gateway).await,
                }
            }
            Found::Missing(outcome) => self.not_found(outcome, gateway).await,
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
