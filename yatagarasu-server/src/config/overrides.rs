//! `YATAGARASU__SERVER__ADDRESS` overrides `server.address`, `YATAGARASU__BUCKETS__0__NAME` the first bucket's name.

use config::{Map, Value, ValueKind};

use crate::config::Environment;

/// What the names of overriding variables begin with.
pub(super) const PREFIX: &str = "YATAGARASU__";

/// Sets what the environment overrides. Calls `wrong` with the variable and the message where there is no such
/// place.
pub(super) fn apply(root: &mut Value, environment: &Environment, wrong: &mut impl FnMut(&str, String)) {
    let mut variables: Vec<_> = environment.with_prefix(PREFIX).collect();
    // A list grows by its next entry only, and as a text 10 comes before 2.
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

/// Returns the number and the text by which a part of a path is sorted.
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
