//! Parses log filters, such as `info` or `info,yatagarasu::access=off`.

use tracing_subscriber::EnvFilter;
use yatagarasu_core::innermost;

use crate::telemetry::access_log;
use crate::telemetry::log::{DEFAULT_FILTER, PANICS};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The crates of this program, as targets.
const CRATES: [&str; 6] = [
    "yatagarasu_cache",
    "yatagarasu_cli",
    "yatagarasu_core",
    "yatagarasu_s3",
    "yatagarasu_server",
    "yatagarasu_sys",
];

/// Silences the credential chain, because this program's own lines have its reasons, once and not for each attempt; and
/// the warnings of the HTTP libraries, because each client can cause thousands of them a second.
const QUIET: &str = "aws_config=off,aws_smithy_runtime=off,h2=error,hyper=error";

/// Parses a filter. An empty one selects the default, because an environment variable may be set but empty. One without
/// a level for all targets has the default's: a filter for one crate must not hide the errors of the others.
///
/// Requires a level after each target. `tracing-subscriber` would take a mistyped level for a target, and then log
/// nothing else.
///
/// # Errors
///
/// Returns a message that names the invalid part and the valid ones.
pub(super) fn parse(text: &str) -> Result<EnvFilter, String> {
    let directives: Vec<_> = directives(text).collect();
    directives.iter().try_for_each(|directive| check(directive))?;
    let level = directives.iter().rev().find(|directive| is_level(directive));
    let base = if level.is_none() { DEFAULT_FILTER } else { "" };
    let detailed = level.is_some_and(|level| ["debug", "trace"].contains(&&*level.to_ascii_lowercase()));
    let quiet = if detailed { "" } else { QUIET };
    let given = directives.join(",");
    // Of two directives with one target the last counts, so the given ones follow. Panics are logged regardless of them.
    let panics = format!("{PANICS}=error");
    let all = [base, quiet, &given, &panics].into_iter().filter(|part| !part.is_empty());
    EnvFilter::try_new(all.collect::<Vec<_>>().join(","))
        .map_err(|error| format!("`{text}` is no filter: {}", innermost(&error)))
}

/// Splits a filter at the commas between directives. Spans are in brackets and may contain commas.
fn directives(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let parts = text.split(move |c| {
        depth += match c {
            '[' | '{' => 1,
            ']' | '}' => -1,
            _ => 0,
        };
        c == ',' && depth <= 0
    });
    parts.map(str::trim).filter(|directive| !directive.is_empty())
}

/// Checks the level and the target of a directive. Accepts every directive that selects spans.
fn check(directive: &str) -> Result<(), String> {
    if directive.contains('[') {
        return Ok(());
    }
    let (target, level) = match directive.split_once('=') {
        Some((target, level)) => (Some(target.trim()), level.trim()),
        None => (None, directive),
    };
    if !is_level(level) {
        return Err(format!(
            "`{level}` is no level: expected {}, or TARGET=LEVEL as in `info,{}=off`",
            LEVELS.join(", "),
            access_log::TARGET
        ));
    }
    match target {
        Some(target) if target.starts_with("yatagarasu::") && target != access_log::TARGET => {
            Err(format!("`{target}` cannot be filtered: expected `{}`", access_log::TARGET))
        }
        Some(target) if target.starts_with("yatagarasu_") => {
            let name = target.split("::").next().unwrap_or(target);
            if CRATES.contains(&name) {
                return Ok(());
            }
            Err(format!("`{target}` cannot be filtered: expected one of {}", CRATES.join(", ")))
        }
        Some(_) | None => Ok(()),
    }
}

fn is_level(text: &str) -> bool {
    LEVELS.iter().any(|known| known.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_levels() {
        for text in ["", " ", "info", "WARN", "info,yatagarasu::access=off", "off", "debug, aws_config=warn,"]
        {
            parse(text).unwrap();
        }
        parse("info,[request{path}]=debug").unwrap();
        assert!(parse("off").unwrap().to_string().contains("yatagarasu::panic=error"));
        for (text, expected) in [
            ("", "info,aws_config=off,aws_smithy_runtime=off,h2=error,hyper=error,yatagarasu::panic=error"),
            (
                "hyper=debug",
                "info,aws_config=off,aws_smithy_runtime=off,h2=error,hyper=debug,yatagarasu::panic=error",
            ),
            (
                "yatagarasu_server::admin=trace",
                "info,aws_config=off,aws_smithy_runtime=off,h2=error,hyper=error,yatagarasu_server::admin=trace,\
                 yatagarasu::panic=error",
            ),
            (
                "warn,aws_config=info",
                "warn,aws_config=info,aws_smithy_runtime=off,h2=error,hyper=error,yatagarasu::panic=error",
            ),
            ("Debug", "debug,yatagarasu::panic=error"),
        ] {
            let parsed = parse(text).unwrap().to_string();
            let sorted = |text: &str| {
                let mut parts: Vec<_> = text.split(',').map(str::to_owned).collect();
                parts.sort();
                parts
            };
            assert_eq!(sorted(&parsed), sorted(expected), "{text}");
        }
        for (text, word) in [
            ("loud", "`loud`"),
            ("verbose,info", "`verbose`"),
            ("info,yatagarasu_server", "`yatagarasu_server`"),
            ("info,yatagarasu::access=of", "`of`"),
            ("info,yatagarasu::access=", "``"),
            ("nonsense==", "`=`"),
            ("3", "`3`"),
            ("loud,[request{path}]=debug", "`loud`"),
            ("[request{path}]=debug,loud", "`loud`"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(
                said.starts_with(&format!("{word} is no level: expected off, error, ")),
                "{text}: {said}"
            );
        }
        let said = parse("info,yatagarasu::acess=off").unwrap_err();
        assert_eq!(said, "`yatagarasu::acess` cannot be filtered: expected `yatagarasu::access`");
        let said = parse("yatagarasu_sever=debug").unwrap_err();
        assert!(
            said.starts_with("`yatagarasu_sever` cannot be filtered: expected one of yatagarasu_cache, "),
            "{said}"
        );
        let said = parse("info,[[=debug").unwrap_err();
        assert!(said.starts_with("`info,[[=debug` is no filter: "), "{said}");
    }
}
