//! Overrides keys from the environment.
//!
//! `YATAGARASU__SERVER__ADDRESS` overrides `server.address`, and `YATAGARASU__BUCKETS__0__NAME` the name of the first
//! bucket.

use config::{Map, Value, ValueKind};

use crate::config::Environment;

/// The prefix of all overriding variables.
pub(super) const PREFIX: &str = "YATAGARASU__";

/// Applies all overriding variables to `root`. Calls `wrong` with the variable and a message if its path does not
/// exist.
pub(super) fn apply(root: &mut Value, environment: &Environment, wrong: &mut impl FnMut(&str, String)) {
    let mut variables: Vec<_> = environment.with_prefix(PREFIX).collect();
    // A list can only grow by its next entry, so indices are sorted as numbers: as text, 10 comes before 2.
    variables.sort_by_cached_key(|(path, _)| path.split("__").map(place).collect::<Vec<_>>());
    for (path, value) in variables {
        let variable = format!("{PREFIX}{path}");
        let path = path.to_ascii_lowercase();
        let segments: Vec<&str> = path.split("__").collect();
        if let Err(message) = set(root, &segments, Value::new(Some(&variable), value)) {
            wrong(&variable, message);
        }
    }
}

/// Returns the sort key of one path segment: its number, if it is one, then its lowercase text.
fn place(segment: &str) -> (Option<usize>, String) {
    (segment.parse().ok(), segment.to_ascii_lowercase())
}

fn set(place: &mut Value, path: &[&str], value: Value) -> Result<(), String> {
    let Some((segment, rest)) = path.split_first() else {
        *place = value;
        return Ok(());
    };
    if let Ok(index) = segment.parse::<usize>() {
        if matches!(place.kind, ValueKind::Nil) {
            place.kind = ValueKind::Array(Vec::new());
        }
        let ValueKind::Array(values) = &mut place.kind else {
            return Err(format!("`{segment}` counts in a list, but there is none"));
        };
        if index == values.len() {
            values.push(Value::new(None, ValueKind::Nil));
        }
        let length = values.len();
        let next = values.get_mut(index).ok_or_else(|| format!("there are {length} list entries only"))?;
        return set(next, rest, value);
    }
    if matches!(place.kind, ValueKind::Nil) {
        place.kind = ValueKind::Table(Map::new());
    }
    let ValueKind::Table(table) = &mut place.kind else {
        return Err(format!("`{segment}` is the name of a key, but there are no keys here"));
    };
    set(table.entry((*segment).to_owned()).or_insert_with(|| Value::new(None, ValueKind::Nil)), rest, value)
}
