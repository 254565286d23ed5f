//! Validates the answers of the gateway itself.

use std::collections::HashMap;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode};

use crate::config::error::ErrorSink;
use crate::config::keys::{AnswerSettings, ServerSettings};
use crate::service::own::{OwnAnswer, OwnAnswers};

/// Maximum length of the content of an answer. What is longer belongs in a bucket.
const CONTENT_BYTES_MAX: usize = 64 * 1024;

/// Returns the paths that no bucket is asked about.
pub(super) fn own(settings: &ServerSettings, complain: ErrorSink<'_>) -> Option<OwnAnswers> {
    let health_path =
        settings.health_path.as_deref().map(|path| checked(path, "server.health_path", complain));
    let mut answers = HashMap::new();
    let mut is_good = health_path != Some(None);
    for (index, given) in settings.answers.0.iter().enumerate() {
        let key = match settings.answers.0.len() {
            1 => "server.answers".to_owned(),
            _ => format!("server.answers[{index}]"),
        };
        let path = checked(given.path.as_deref().unwrap_or_default(), &format!("{key}.path"), complain);
        let answer = answer(given, &key, complain);
        let (Some(path), Some(answer)) = (path, answer) else {
            is_good = false;
            continue;
        };
        if settings.health_path.as_ref() == Some(&path) || answers.insert(path.clone(), answer).is_some() {
            complain(&format!("{key}.path"), &format!("`{path}` has an answer already"));
            is_good = false;
        }
    }
    is_good.then(|| OwnAnswers { health_path: health_path.flatten(), answers })
}

fn checked(path: &str, key: &str, complain: ErrorSink<'_>) -> Option<String> {
    let parsed = path.parse::<PathAndQuery>();
    let is_path =
        path.starts_with('/') && parsed.is_ok_and(|parsed| parsed.as_str() == path && parsed.path() == path);
    if !is_path {
        let message =
            format!("expected a path as it stands in requests, such as \"/robots.txt\", found `{path}`");
        complain(key, &message);
    }
    is_path.then(|| path.to_owned())
}

fn answer(given: &AnswerSettings, key: &str, complain: ErrorSink<'_>) -> Option<OwnAnswer> {
    let AnswerSettings { status, content_type, content, .. } = given;
    let code = StatusCode::from_u16(*status)
        .ok()
        .filter(|code| (200..600).contains(status) && !code.is_redirection() && !matches!(status, 205 | 206));
    if code.is_none() {
        let message = format!("expected a status such as 200, 204 or 410, without redirects, found {status}");
        complain(&format!("{key}.status"), &message);
    }
    let media_type = HeaderValue::from_str(content_type).ok().filter(|_| content_type.contains('/'));
    if media_type.is_none() {
        let message = format!("expected a type such as \"text/plain\", found `{content_type}`");
        complain(&format!("{key}.content_type"), &message);
    }
    let content = &content.0;
    let is_short = content.len() <= CONTENT_BYTES_MAX && (*status != 204 || content.is_empty());
    if !is_short {
        complain(&format!("{key}.content"), "expected up to 64 KiB, and nothing with the status 204");
    }
    let content = Bytes::from(content.clone());
    let (status, content_type) = (code?, media_type?);
    is_short.then_some(OwnAnswer { status, content_type, content })
}
