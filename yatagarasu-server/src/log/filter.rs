//! Log filters: `info`, or `info,yatagarasu::access=off`.

use tracing_subscriber::EnvFilter;

use super::DEFAULT_FILTER;
use crate::access_log;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Reads a filter. An empty one is the default, as a variable may be set and empty.
///
/// `tracing-subscriber` takes a word that is no level for the name of a target, and then logs nothing else: a mistyped
/// level would silence everything. So a target needs its level here.
pub(super) fn parse(text: &str) -> Result<EnvFilter, String> {
    // Brackets hold spans, which have a syntax and commas of their own.
    let filter = if text.contains('[') {
        text.to_owned()
    } else {
        let directives: Vec<_> =
            text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
        directives.iter().try_for_each(|directive| check(directive))?;
        directives.join(",")
    };
    let filter = if filter.is_empty() { DEFAULT_FILTER } else { &filter };
    EnvFilter::try_new(filter).map_err(|error| format!("`{text}` is no filter: {}", innermost(&error)))
}

fn check(directive: &str) -> Result<(), String> {
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
            Err(format!("nothing is logged as `{target}`: expected `{}`", access_log::TARGET))
        }
        Some(_) | None => Ok(()),
    }
}

/// Returns the message of the cause: the errors around it repeat it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
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
        for (text, word) in [
            ("loud", "`loud`"),
            ("verbose,info", "`verbose`"),
            ("info,yatagarasu_server", "`yatagarasu_server`"),
            ("info,yatagarasu::access=of", "`of`"),
            ("info,yatagarasu::access=", "``"),
            ("nonsense==", "`=`"),
            ("3", "`3`"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(
                said.starts_with(&format!("{word} is no level: expected off, error, ")),
                "{text}: {said}"
            );
        }
        let said = parse("info,yatagarasu::acess=off").unwrap_err();
        assert_eq!(said, "nothing is logged as `yatagarasu::acess`: expected `yatagarasu::access`");
        let said = parse("info,[[=debug").unwrap_err();
        assert!(said.starts_with("`info,[[=debug` is no filter: "), "{said}");
    }
}
