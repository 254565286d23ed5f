//! How the paths of a bucket lead to its keys at S3.

use std::borrow::Cow;

use http::{HeaderValue, StatusCode};

use crate::service::router::Place;
use crate::service::router::host::KeyPrefix;
use crate::service::router::rewrite::{Rewrite, Rewritten, rewritten};

/// How the paths of a bucket lead to keys.
#[derive(Debug)]
pub(super) struct Keys {
    /// Empty, or for example `/a/b`.
    path_prefix: String,
    keeps_path_prefix: bool,
    rewrites: Vec<Rewrite>,
    key_prefix: KeyPrefix,
    /// The name of the page of a folder.
    index: Option<String>,
}

/// What a path leads to in a bucket.
#[derive(Debug)]
pub(super) enum Located<'a> {
    /// The key at S3, which may be invalid.
    Key(Cow<'a, str>),
    /// The folder of a website, without the slash at its end.
    Folder,
    /// Another reference, with the status that says so.
    Redirect(StatusCode, HeaderValue),
}

impl Keys {
    /// Takes what the place of a bucket says.
    pub(super) fn new(place: &Place<'_>) -> Self {
        Self {
            path_prefix: place.path_prefix.trim_end_matches('/').to_owned(),
            keeps_path_prefix: place.keeps_path_prefix,
            rewrites: place.rewrites.to_vec(),
            key_prefix: place.key_prefix.clone(),
            index: place.index.map(str::to_owned),
        }
    }

    /// Returns whether a decoded path is below the bucket's prefix. The prefix itself is the folder of a website.
    pub(super) fn is_for(&self, path: &str) -> bool {
        self.below(path)
            .is_some_and(|rest| rest.starts_with('/') || (rest.is_empty() && self.index.is_some()))
    }

    /// Returns what a decoded path below the prefix leads to. Returns `None` if the key needs the name of a host, and
    /// the request has none.
    pub(super) fn locate<'a>(&self, host: Option<&str>, path: &'a str) -> Option<Located<'a>> {
        match rewritten(&self.rewrites, path) {
            None => self.key(host, path),
            Some(Rewritten::Redirect(status, location)) => Some(Located::Redirect(status, location)),
            Some(Rewritten::Path(other)) => self.key(host, &other).map(Located::into_owned),
        }
    }

    fn key<'a>(&self, host: Option<&str>, path: &'a str) -> Option<Located<'a>> {
        let Some(rest) = self.below(path)?.strip_prefix('/') else { return Some(Located::Folder) };
        let name = if self.keeps_path_prefix { &path[1..] } else { rest };
        let is_folder = rest.is_empty() || rest.ends_with('/');
        Some(Located::Key(match &self.index {
            Some(page) if is_folder => Cow::Owned(self.key_prefix.key(host, name)?.into_owned() + page),
            // The folder of a prefix is no object.
            None if rest.is_empty() => Cow::Borrowed(""),
            Some(_) | None => self.key_prefix.key(host, name)?,
        }))
    }

    /// Returns what follows the prefix.
    fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.path_prefix.as_str())
    }
}

impl Located<'_> {
    fn into_owned<'a>(self) -> Located<'a> {
        match self {
            Self::Key(key) => Located::Key(Cow::Owned(key.into_owned())),
            Self::Folder => Located::Folder,
            Self::Redirect(status, location) => Located::Redirect(status, location),
        }
    }
}
