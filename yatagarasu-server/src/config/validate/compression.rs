//! Validates the content codings of a bucket.

use std::sync::Arc;

use yatagarasu_core::caching::compression::Compression;
use yatagarasu_core::http::coding::{CodedTypes, Coding};
use yatagarasu_core::http::response_fields::Pattern;

use crate::compression::IS_COMPILED;
use crate::config::error::ErrorSink;
use crate::config::keys::CompressionSettings;

/// Validates the content codings of a bucket. Returns `None` on an error.
pub(super) fn compression(
    settings: &CompressionSettings,
    key: &str,
    complain: ErrorSink<'_>,
) -> Option<Compression> {
    let CompressionSettings { codings, precompressed: _, compress, types, min_size } = settings;
    if *compress && !IS_COMPILED {
        let message =
            "compression is not compiled in: build with `--features compression`, or set `compress: false`";
        complain(&format!("{key}.compress"), message);
    }
    if codings.is_empty() {
        complain(&format!("{key}.codings"), "expected `br`, `zstd` or `gzip`");
    }
    let named = codings.iter().enumerate().map(|(index, name)| {
        let coding = Coding::of_name(name);
        if coding.is_none() {
            complain(
                &format!("{key}.codings[{index}]"),
                &format!("expected `br`, `zstd` or `gzip`, found `{name}`"),
            );
        }
        coding
    });
    let named: Vec<_> = named.collect();
    let types = types.iter().enumerate().map(|(index, text)| {
        let pattern = Pattern::new(&text.to_ascii_lowercase()).ok().filter(|_| !text.contains(';'));
        if pattern.is_none() {
            let message =
                format!("expected a media type such as `text/*`, without parameters; found `{text}`");
            complain(&format!("{key}.types[{index}]"), &message);
        }
        pattern
    });
    let types: Vec<_> = types.collect();
    Some(Compression {
        codings: named.into_iter().collect::<Option<_>>()?,
        compress: *compress,
        types: Arc::new(CodedTypes(types.into_iter().collect::<Option<_>>()?)),
        bytes_min: min_size.0,
    })
}
