//! Stored objects in other content codings: chosen for a request, made in the background, kept within their entry.
//!
//! The forms of an object live and die with it: they are part of its entry, and of its weight. A form has the entry's age and
//! terms, and a weak validator, because it is made anew whenever it is missing. Conditions on bytes and ranges are about the
//! object as it is (RFC 9110 8.8.1, 14.2).

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::cache::CacheKey;
use crate::cache::entry::{CacheEntry, EntryKind, Form, Forms};
use crate::cache::segments::Segments;
use crate::caching::compression::{CompressionJob, Compressor};
use crate::gateway::Shared;
use crate::http::coding::{Accepted, Coding, is_about_bytes, vary_by_coding};
use crate::http::fields::drop_whole_only;
use crate::object::key::ObjectKey;
use crate::object::meta::ObjectMeta;
use crate::sync::Mutex;

/// What compresses, and what is being compressed.
#[derive(Debug)]
pub(super) struct Coder {
    compressor: Arc<dyn Compressor>,
    running: Mutex<HashSet<(CacheKey, Coding)>>,
}

impl Coder {
    pub(super) fn new(compressor: Arc<dyn Compressor>) -> Self {
        Self { compressor, running: Mutex::default() }
    }

    /// Notes that a form is being made. Returns `false` if it is already.
    fn begin(&self, key: &CacheKey, coding: Coding) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert((key.clone(), coding))
    }

    fn end(&self, key: &CacheKey, coding: Coding) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&(key.clone(), coding));
    }
}

impl Shared {
    /// Returns the form of a stored object for a request with these fields: the object itself, or one in a coding that the
    /// client accepts. Has the best one made if it is missing.
    pub(super) fn form(
        self: &Arc<Self>,
        key: &CacheKey,
        stored: &Arc<CacheEntry>,
        headers: &HeaderMap,
    ) -> Arc<CacheEntry> {
        if self.policy.compression.is_none() || is_about_bytes(headers) {
            return Arc::clone(stored);
        }
        self.accepted_form(|| Some(key.clone()), stored, Accepted::of(headers))
    }

    /// Returns the form of a stored object for a client that accepts these codings.
    pub(super) fn accepted_form(
        self: &Arc<Self>,
        key: impl Fn() -> Option<CacheKey>,
        stored: &Arc<CacheEntry>,
        accepted: Accepted,
    ) -> Arc<CacheEntry> {
        let Some(compression) = &self.policy.compression else { return Arc::clone(stored) };
        let Some(whole) = stored.whole() else { return Arc::clone(stored) };
        let (mut best, mut missing) = (None, None);
        for coding in compression.codings_for(accepted) {
            match stored.form(coding) {
                Some(Form { stored: form, .. }) => {
                    // Without one it would hardly be shorter, in other codings neither.
                    best = form.as_ref();
                    break;
                }
                None => missing = missing.or(Some(coding)),
            }
        }
        if let Some(coding) = missing
            && compression.compress
            && whole.length() >= compression.bytes_min
            && compression.types.are_for(&stored.meta().headers())
            && let Some(key) = key()
        {
            self.compress(&key, stored, coding);
        }
        Arc::clone(best.unwrap_or(stored))
    }

    /// Has a form of a stored object made in the background.
    fn compress(self: &Arc<Self>, key: &CacheKey, stored: &Arc<CacheEntry>, coding: Coding) {
        if !self.coder.begin(key, coding) {
            return;
        }
        let running = Running { gateway: Arc::clone(self), key: key.clone(), coding };
        let number = stored.number();
        let content = {
            let (gateway, key) = (Arc::clone(self), key.clone());
            Box::new(move || {
                let stored = gateway.storage.lookup(key.borrowed())?;
                stored.whole().filter(|_| stored.number() == number).cloned()
            })
        };
        let done = Box::new(move |made: Option<Segments>| {
            running.gateway.keep_form(&running.key, number, coding, made);
        });
        // A job that is not taken is dropped, and so is the note about it.
        self.coder.compressor.take(CompressionJob { coding, content, done });
    }

    /// Adds a form to the object from the request `number`, if that is still stored.
    fn keep_form(&self, key: &CacheKey, number: u64, coding: Coding, made: Option<Segments>) {
        self.storage.replace(key, |current| {
            // Another form may have been added meanwhile.
            let whole =
                current.whole().filter(|_| current.number() == number && current.form(coding).is_none())?;
            let with = |stored: Option<Arc<CacheEntry>>| {
                let forms = current.forms().iter().map(again).chain([Form { coding, stored }]);
                let forms = Forms { whole: whole.clone(), forms: forms.collect() };
                Arc::new(current.with_content(current.meta().clone(), EntryKind::Coded(Box::new(forms))))
            };
            let made = made.map(|content| Arc::new(self.coded(current, coding, content, &key.object)));
            // If it does not fit, it is not made again.
            Some((with(made), with(None)))
        });
    }

    /// Returns the entry of a form of an object.
    fn coded(&self, stored: &CacheEntry, coding: Coding, content: Segments, key: &ObjectKey) -> CacheEntry {
        let mut headers = stored.meta().headers().into_owned();
        drop_whole_only(&mut headers);
        for name in [header::ACCEPT_RANGES, header::CONTENT_LENGTH, HeaderName::from_static("repr-digest")] {
            headers.remove(name);
        }
        headers.insert(header::CONTENT_ENCODING, coding.value());
        if let Some(tag) = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) {
            let weak = [b"W/", tag.as_bytes()].concat();
            headers.insert(header::ETAG, HeaderValue::from_bytes(&weak).expect("it was one before"));
        }
        vary_by_coding(&mut headers);
        // A stored object has a date.
        let meta = ObjectMeta::new(headers).to_store(&[], SystemTime::UNIX_EPOCH, &self.shape(key));
        stored.with_content(meta, EntryKind::Full(content))
    }

    /// Returns the content of an object with other fields: its forms get them, too.
    pub(super) fn recoded(&self, stored: &CacheEntry, updated: CacheEntry, key: &ObjectKey) -> CacheEntry {
        let EntryKind::Coded(forms) = stored.kind() else { return updated };
        if !self
            .policy
            .compression
            .as_ref()
            .is_some_and(|compression| compression.types.are_for(&updated.meta().headers()))
        {
            let whole = EntryKind::Full(forms.whole.clone());
            return updated.with_content(updated.meta().clone(), whole);
        }
        let renew = |form: &Form| {
            let content = form.stored.as_ref().and_then(|form| form.whole());
            let stored =
                content.map(|content| Arc::new(self.coded(&updated, form.coding, content.clone(), key)));
            Form { coding: form.coding, stored }
        };
        let forms = Forms { whole: forms.whole.clone(), forms: forms.forms.iter().map(renew).collect() };
        updated.with_content(updated.meta().clone(), EntryKind::Coded(Box::new(forms)))
    }
}

/// Returns the form as an entry of its own: the one before goes with the entry that it is part of.
fn again(form: &Form) -> Form {
    let stored = form.stored.as_ref();
    let stored =
        stored.map(|stored| Arc::new(stored.with_content(stored.meta().clone(), stored.kind().clone())));
    Form { coding: form.coding, stored }
}

/// A form that is being made. Dropping it ends that, also if nobody makes it.
struct Running {
    gateway: Arc<Shared>,
    key: CacheKey,
    coding: Coding,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gateway.coder.end(&self.key, self.coding);
    }
}
