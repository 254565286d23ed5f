//! What a website would serve, as far as that is known without reading anything.

use yatagarasu_core::ObjectKey;

use crate::service::listing::ListingFormat;
use crate::service::router::{decode, without_dots};
use crate::service::site::kept::Known;
use crate::service::site::rules::BadLines;
use crate::service::site::rules::redirects::{Precedence, Ruled};
use crate::service::site::{Website, folder};

/// The rules of a website for a path.
#[derive(Debug)]
pub(in crate::service) struct RulesSeen {
    pub(in crate::service) redirects: Option<SeenFile>,
    pub(in crate::service) fields: Option<SeenFile>,
    /// The rule that goes before the object, with the number of its line.
    pub(in crate::service) first: Option<(usize, Ruled)>,
    /// The rule that counts if there is no object.
    pub(in crate::service) otherwise: Option<(usize, Ruled)>,
    /// Whether the path is that of rules.
    pub(in crate::service) is_hidden: bool,
}

/// An object with rules, as it was read last.
#[derive(Debug)]
pub(in crate::service) struct SeenFile {
    pub(in crate::service) key: ObjectKey,
    /// How many rules it has. `None` if it has not been read.
    pub(in crate::service) rules: Option<usize>,
    /// The lines that are for the path.
    pub(in crate::service) matching: Vec<usize>,
    pub(in crate::service) bad: BadLines,
    /// The lines of redirects that lead on and on where there are no objects.
    pub(in crate::service) endless: Vec<usize>,
}

impl SeenFile {
    fn unread(key: ObjectKey) -> Self {
        Self { key, rules: None, matching: Vec::new(), bad: BadLines::default(), endless: Vec::new() }
    }

    fn missing(key: ObjectKey) -> Self {
        Self { rules: Some(0), ..Self::unread(key) }
    }
}

impl Website {
    /// Returns what its rules say of a decoded path with this key.
    pub(in crate::service) fn see(&self, host: Option<&str>, path: &str, key: &str) -> RulesSeen {
        let path = self.below(path).unwrap_or_default();
        let (mut first, mut otherwise) = (None, None);
        let [redirects, fields] = self.rule_keys(host);
        let redirects = redirects.map(|key| match self.redirects.peek(&key) {
            Known::Unread | Known::Failed(_) => SeenFile::unread(key),
            Known::Nothing => SeenFile::missing(key),
            Known::Object(rules) => {
                let find = |precedence| {
                    let (rule, ruled) = rules.find(path, precedence)?;
                    Some((rule.line, ruled))
                };
                (first, otherwise) = (find(Precedence::RuleFirst), find(Precedence::ObjectsFirst));
                let matching = [&first, &otherwise].into_iter().flatten().map(|(line, _)| *line).collect();
                let (bad, endless) = (rules.bad.clone(), rules.endless.clone());
                SeenFile { key, rules: Some(rules.len()), matching, bad, endless }
            }
        });
        let fields = fields.map(|key| match self.fields.peek(&key) {
            Known::Unread | Known::Failed(_) => SeenFile::unread(key),
            Known::Nothing => SeenFile::missing(key),
            Known::Object(rules) => {
                let (matching, bad) = (rules.lines_for(path), rules.bad.clone());
                SeenFile { key, rules: Some(rules.len()), matching, bad, endless: Vec::new() }
            }
        });
        RulesSeen { redirects, fields, first, otherwise, is_hidden: self.is_rules(host, key) }
    }

    /// Returns what is looked for if there is no object `key`, before any rule: pages and lists.
    pub(in crate::service) fn instead_of(&self, key: &str, path: &str) -> Vec<String> {
        let site = &self.site;
        let is_file = key.rsplit('/').next().is_some_and(|name| name.contains('.'));
        let mut instead = Vec::new();
        if site.clean_urls && !is_file {
            instead.push(format!("`{key}.html` (`site.clean_urls`)"));
        }
        let decoded = decode(path).map(without_dots).unwrap_or_default();
        // A rewritten path says nothing about folders.
        let is_named_alike = decoded.rsplit('/').next() == key.rsplit('/').next();
        let is_folder = decoded.ends_with('/');
        let location = folder(path, None).filter(|_| is_named_alike && !is_folder);
        if let (Some(index), Some(location)) = (&site.index, location) {
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            let or_list = if site.listing == ListingFormat::Off { "" } else { " or the folder has objects" };
            instead.push(format!("a redirect to `{location}`, if there is `{key}/{index}`{or_list}"));
        }
        if is_folder && site.listing != ListingFormat::Off {
            instead.push("the list of the folder (`site.listing`)".to_owned());
        }
        instead
    }

    /// Returns what is served if there is no object, and no rule is for the path.
    pub(in crate::service) fn pages_instead(&self) -> Vec<String> {
        let spa = self.site.spa.as_ref();
        let spa = spa.map(|page| format!("`{}` for browsers (`site.spa`)", page.as_str()));
        let missing = match &self.site.not_found {
            Some(page) => format!("`{}` with 404 (`site.not_found`)", page.as_str()),
            None => "404".to_owned(),
        };
        spa.into_iter().chain([missing]).collect()
    }
}
