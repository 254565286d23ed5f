//! Overrides keys from the environment.
//!
//! `YATAGARASU__SERVER__ADDRESS` overrides `server.address`, and `YATAGARASU__BUCKETS__0__NAME` the name of the first
//! bucket.

use std::collections::HashMap;

use config::{Map, Value, ValueKind};

use crate::config::Environment;
use crate::config::error::ErrorSink;
use crate::config::keys::{Kind, Section, Settings};

/// The prefix of all overriding variables.
pub(super) const PREFIX: &str = "YATAGARASU__";

/// The variables without two underscores that the programs read, without their prefix.
const OWN: [&str; 4] = ["CONFIG", "LOG", "ADMIN", "ADMIN_TOKEN"];

/// Applies all overriding variables to `root`. Calls `wrong` with the variable and a message if its path does not
/// exist. Returns the keys that were overridden, with their variables.
pub(super) fn apply(
    root: &mut Value,
    environment: &Environment,
    wrong: ErrorSink<'_>,
) -> HashMap<String, String> {
    let mut overridden = HashMap::new();
    let mut variables: Vec<_> = environment.with_prefix(PREFIX).collect();
    // A list can only grow by its next entry, so indices are sorted as numbers: as text, 10 comes before 2.
    variables.sort_by_cached_key(|(path, _)| path.split("__").map(place).collect::<Vec<_>>());
    for (path, value) in variables {
        let variable = format!("{PREFIX}{path}");
        let path = path.to_ascii_lowercase();
        let segments: Vec<&str> = path.split("__").collect();
        let (value, path) = (Value::new(Some(&variable), value), &segments[..]);
        if let Err(message) = set(root, path, path, value) {
            wrong(&variable, &message);
        }
        overridden.insert(written(&segments), variable);
    }
    overridden
}

/// Calls `wrong` for each variable that was meant to override a key and does not: its underscores are not doubled.
///
/// Others are ignored. Kubernetes sets `YATAGARASU_PORT` and the like for a service of this name, and the file itself,
/// which is `text`, may use any.
pub(super) fn misspelt(environment: &Environment, text: &str, wrong: ErrorSink<'_>) {
    for (rest, _) in environment.with_prefix("YATAGARASU_") {
        let variable = format!("YATAGARASU_{rest}");
        let own =
            variable.starts_with(PREFIX) || OWN.contains(&rest) || text.contains(&format!("${{{variable}}}"));
        let words: Vec<_> = rest.split('_').filter(|word| !word.is_empty()).collect();
        if let Some(path) =
            path_of(&words.join("_").to_ascii_lowercase(), &Settings::SECTION).filter(|_| !own)
        {
            let right = format!("{PREFIX}{}", path.join("__").to_ascii_uppercase());
            wrong(&variable, &format!("overrides nothing: set {right}, with two underscores between names"));
        }
    }
}

/// Returns the path of the key that `words` name, joined by single underscores.
fn path_of(words: &str, section: &'static Section) -> Option<Vec<String>> {
    section.keys.iter().find_map(|key| {
        let rest = words.strip_prefix(key.name)?;
        if rest.is_empty() {
            // A section has no value to set.
            let is_section = matches!(key.kind, Kind::Section(_) | Kind::Sections(_));
            return (!is_section).then(|| vec![key.name.to_owned()]);
        }
        let rest = rest.strip_prefix('_')?;
        let mut path = vec![key.name.to_owned()];
        let rest = match rest.split_once('_') {
            Some((index, rest)) if index.parse::<usize>().is_ok() => {
                path.push(index.to_owned());
                rest
            }
            Some(_) | None => rest,
        };
        path.extend(path_of(rest, key.section()?)?);
        Some(path)
    })
}

/// Returns the sort key of one path segment: its number, if it is one, then its lowercase text.
fn place(segment: &str) -> (Option<usize>, String) {
    (segment.parse().ok(), segment.to_ascii_lowercase())
}

/// Sets the value at `rest`, the last part of `path`, below `place`.
fn set(place: &mut Value, path: &[&str], rest: &[&str], value: Value) -> Result<(), String> {
    let before = written(&path[..path.len() - rest.len()]);
    let Some((segment, rest)) = rest.split_first() else {
        *place = value;
        return Ok(());
    };
    if let Ok(index) = segment.parse::<usize>() {
        if matches!(place.kind, ValueKind::Nil) {
            place.kind = ValueKind::Array(Vec::new());
        }
        let ValueKind::Array(values) = &mut place.kind else {
            return Err(format!("`{before}` is no list, so that it has no entry {segment}"));
        };
        if index == values.len() {
            values.push(Value::new(None, ValueKind::Nil));
        }
        let length = values.len();
        let next = values.get_mut(index).ok_or_else(|| {
            format!("`{before}` has {length} entries: the next one has the number {length}, not {segment}")
        })?;
        return set(next, path, rest, value);
    }
    if matches!(place.kind, ValueKind::Nil) {
        place.kind = ValueKind::Table(Map::new());
    }
    let ValueKind::Table(table) = &mut place.kind else {
        return Err(format!("`{before}` is a single value, so that it has no key `{segment}`"));
    };
    let next = table.entry((*segment).to_owned()).or_insert_with(|| Value::new(None, ValueKind::Nil));
    set(next, path, rest, value)
}

/// Returns a path as messages show it: `buckets[0].name`.
fn written(path: &[&str]) -> String {
    path.iter().fold(String::new(), |written, segment| match segment.parse::<usize>() {
        Ok(index) => format!("{written}[{index}]"),
        Err(_) if written.is_empty() => (*segment).to_owned(),
        Err(_) => format!("{written}.{segment}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_with_single_underscores_says_the_right_name() {
        let check = |name: &str, expected: Option<&str>| {
            let mut said = None;
            let environment: Environment = [(name, "x")].into_iter().collect();
            misspelt(&environment, "path_prefix: ${YATAGARASU_BUCKETS}", &mut |variable, message| {
                assert_eq!(variable, name);
                said = message
                    .split(['t', ','])
                    .find(|word| word.contains("YATA"))
                    .map(str::trim)
                    .map(str::to_owned);
            });
            assert_eq!(said.as_deref(), expected, "{name}");
        };
        check("YATAGARASU_SERVER_ADDRESS", Some("YATAGARASU__SERVER__ADDRESS"));
        check("YATAGARASU_SERVER__FILL_MEMORY", Some("YATAGARASU__SERVER__FILL_MEMORY"));
        check("YATAGARASU_BUCKETS_0_S3_SECRET_KEY", Some("YATAGARASU__BUCKETS__0__S3__SECRET_KEY"));
        check("YATAGARASU_buckets_0_cache_ttl", Some("YATAGARASU__BUCKETS__0__CACHE__TTL"));
        check("YATAGARASU_ADMIN_ADDRESS", Some("YATAGARASU__ADMIN__ADDRESS"));
        for name in [
            "ADMIN_TOKEN",
            "CONFIG",
            "LOG",
            "ADMIN",
            "PORT",
            "SERVICE_HOST",
            "SERVER_PORT_8080_TCP",
            "SERVER",
            "BUCKETS",
        ] {
            check(&format!("YATAGARASU_{name}"), None);
        }
        check("YATAGARASU__SERVER__ADDRESS", None);
    }
}
