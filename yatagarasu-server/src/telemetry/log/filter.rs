//! Parses log filters, such as `info` or `info,yatagarasu::access=off`.

use tracing_subscriber::EnvFilter;
use yatagarasu_core::innermost;

use crate::telemetry::access_log;
use crate::telemetry::log::{DEFAULT_FILTER, PANICS};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Parses a filter. An empty one selects the default, because an environment variable may be set but empty.
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
    let filter = if directives.is_empty() { DEFAULT_FILTER.to_owned() } else { directives.join(",") };
    // Panics are logged regardless of the filter.
    EnvFilter::try_new(format!("{filter},{PANICS}=error"))
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
    if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
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
        Some(_) | None => Ok(()),
    }
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
        let said = parse("info,[[=debug").unwrap_err();
        assert!(said.starts_with("`info,[[=debug` is no filter: "), "{said}");
    }
}
