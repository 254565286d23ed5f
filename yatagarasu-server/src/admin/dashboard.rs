//! The dashboard: a page that shows what [`live`](crate::admin::live) sends, and gives orders to the admin API.
//!
//! The files are plain HTML, CSS and JavaScript. They hold no secret and are open to anyone who reaches the listener; what
//! the page shows needs the token.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderName, Response};
use http_body_util::Full;

/// Only files of this listener run, and only this listener is asked. Nobody frames the page, or sends a form to anywhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! file {
    ($path:literal, $kind:ident, $file:literal) => {
        ($path, $kind, include_str!(concat!("dashboard/", $file)))
    };
}

/// The files by their paths.
const FILES: [(&str, &str, &str); 13] = [
    file!("/", HTML, "dashboard.html"),
    file!("/dashboard.css", CSS, "dashboard.css"),
    file!("/dashboard.js", SCRIPT, "dashboard.js"),
    file!("/dashboard/api.js", SCRIPT, "api.js"),
    file!("/dashboard/stream.js", SCRIPT, "stream.js"),
    file!("/dashboard/history.js", SCRIPT, "history.js"),
    file!("/dashboard/chart.js", SCRIPT, "chart.js"),
    file!("/dashboard/tiles.js", SCRIPT, "tiles.js"),
    file!("/dashboard/panels.js", SCRIPT, "panels.js"),
    file!("/dashboard/tools.js", SCRIPT, "tools.js"),
    file!("/dashboard/format.js", SCRIPT, "format.js"),
    file!("/dashboard/dom.js", SCRIPT, "dom.js"),
    file!("/dashboard/icon.svg", IMAGE, "icon.svg"),
];

/// Returns the file at a path, if there is one.
pub(super) fn file(path: &str) -> Option<Response<Full<Bytes>>> {
    let (_, kind, content) = FILES.iter().find(|(name, ..)| *name == path)?;
    let mut response = Response::new(Full::from(*content));
    let fields: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another version has other files under the same paths.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}
