//! Renders the tables of the documentation.

use std::collections::BTreeMap;

use crate::config::keys::{Absent, Key, Kind, Section, Type};

/// Returns a Markdown table for each section below `section`, by the name of the section. Sections under a section are
/// left out of its table. Those of a listener are named after it: a source has `tls` as well.
pub(super) fn tables(section: &Section) -> BTreeMap<String, String> {
    named(section, "")
}

fn named(section: &Section, place: &str) -> BTreeMap<String, String> {
    let mut tables = BTreeMap::new();
    for key in section.keys {
        if let Some(inner) = key.section().filter(|_| !matches!(key.kind, Kind::Again(_))) {
            let name = format!("{place}{}", key.name);
            let place = if name.starts_with("listeners") { format!("{name}.") } else { String::new() };
            tables.insert(name, table(inner));
            tables.append(&mut named(inner, &place));
        }
    }
    tables
}

fn table(section: &Section) -> String {
    let head = "| key | type | default | meaning | allowed |\n|---|---|---|---|---|\n".to_owned();
    section.keys.iter().fold(head, |table, key| match key.kind {
        Kind::Value(kind) => table + &row(key, words(kind)),
        Kind::Either(..) => table + &row(key, "name, or section"),
        Kind::Several(_) => table + &row(key, "section, or list of them"),
        Kind::Optional(_) | Kind::Again(_) => table + &row(key, "section"),
        Kind::Section(_) | Kind::Sections(_) => table,
    })
}

fn row(key: &Key, kind: &str) -> String {
    let default = match key.absent {
        Absent::Default => format!("`{}`", key.default_value()),
        Absent::Computed(words) => words.to_owned(),
        Absent::Required => "required".to_owned(),
    };
    let (name, meaning, allowed) = (key.name, key.meaning(), key.allowed());
    format!("| `{name}` | {kind} | {default} | {meaning} | {allowed} |\n")
}

fn words(kind: Type) -> &'static str {
    match kind {
        Type::Text => "text",
        Type::Lines => "text of any number of lines",
        Type::Address => "address",
        Type::Secret => "secret",
        Type::Boolean => "boolean",
        Type::Number | Type::Count => "number",
        Type::Decimal => "decimal number",
        Type::Size => "size",
        Type::Duration => "duration",
        Type::Choice(_) => "name",
        Type::Names => "list of names",
        Type::Fields => "names and values",
        Type::Statuses(_) => "list of numbers",
    }
}
