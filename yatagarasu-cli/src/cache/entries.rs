//! `cache list` and `cache inspect`: what is stored, as a table, as text or as JSON.

use std::fmt::Write;

use serde::Deserialize;
use yatagarasu_server::admin::entries::{Entry, Kind, Next};

use super::client::AdminClient;
use super::error::AdminError;
use super::progress::say;
use super::table::table;
use crate::args::{InspectArguments, ListArguments};
use crate::words::{duration, shown, size};

/// Number of leading columns of the table that hold text.
const TEXT_COLUMNS: usize = 1;

/// A page of the entries that a server has stored.
#[derive(Debug, Deserialize)]
pub(super) struct Entries {
    pub(super) entries: Vec<Entry>,
    /// The place of the next page, unless this is the last one.
    pub(super) next: Option<Next>,
}

/// Lists what is stored. Returns the text to print.
pub(super) async fn list(client: &AdminClient, arguments: &ListArguments) -> Result<String, AdminError> {
    let (mut listed, mut after, mut more) = (Vec::new(), None, false);
    loop {
        let page = client.entries(&arguments.bucket, &arguments.selected(), after.as_ref()).await?;
        listed.extend(page.entries);
        if listed.len() > arguments.limit.get() {
            listed.truncate(arguments.limit.get());
            more = true;
        }
        after = page.next;
        if more || after.is_none() || listed.len() == arguments.limit.get() {
            break;
        }
    }
    if more || after.is_some() {
        say("there are more: see --limit");
    }
    if arguments.json {
        return Ok(listed.iter().map(json_line).collect());
    }
    if listed.is_empty() {
        say(&format!("nothing such is stored in bucket {}", arguments.bucket));
        return Ok(String::new());
    }
    let headings = ["KIND", "SIZE", "MEMORY", "AGE", "FRESH FOR"].map(str::to_owned).to_vec();
    let rows: Vec<_> = std::iter::once(headings).chain(listed.iter().map(row)).collect();
    // Keys come last: a long one widens no other column.
    let names = std::iter::once("KEY".to_owned()).chain(listed.iter().map(name));
    let mut text = String::new();
    for (line, name) in table(&rows, TEXT_COLUMNS).lines().zip(names) {
        writeln!(text, "{line}  {name}").expect("a string takes what is written");
    }
    Ok(text)
}

/// Shows all that is stored for one key. Returns the text to print.
pub(super) async fn inspect(
    client: &AdminClient,
    arguments: &InspectArguments,
) -> Result<String, AdminError> {
    let InspectArguments { bucket, key, json } = arguments;
    let selected = ("key", Some(key.as_str()));
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let page = client.entries(bucket, &selected, after.as_ref()).await?;
        entries.extend(page.entries);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if entries.is_empty() {
        // A path of a URL is no key.
        let hint = client.stats().await?.only(bucket)?.hint(key);
        let hint = hint.map(|hint| format!("\n{}", hint.trim_end())).unwrap_or_default();
        return Err(AdminError::NotStored { key: key.clone(), bucket: bucket.clone(), hint });
    }
    if *json {
        return Ok(entries.iter().map(json_line).collect());
    }
    let texts: Vec<_> = entries.iter().map(described).collect();
    Ok(texts.join("\n"))
}

fn json_line(entry: &Entry) -> String {
    format!("{}\n", serde_json::to_string(entry).expect("its keys are texts"))
}

/// Returns the key with the query and a mark for variants.
fn name(entry: &Entry) -> String {
    let query = entry.query.as_ref().map(|query| format!("?{}", shown(query))).unwrap_or_default();
    let variant = if entry.variant.is_some() { " (variant)" } else { "" };
    format!("{}{query}{variant}", shown(&entry.key))
}

fn row(entry: &Entry) -> Vec<String> {
    let is_sized = matches!(entry.kind, Kind::Object | Kind::Parts);
    vec![
        named(entry.kind).to_owned(),
        if is_sized { size(entry.bytes) } else { "-".to_owned() },
        size(entry.memory),
        duration(entry.age),
        lifetime(entry),
    ]
}

fn lifetime(entry: &Entry) -> String {
    match u64::try_from(entry.ttl) {
        Ok(left) if left > 0 => duration(left),
        _ => "stale".to_owned(),
    }
}

fn named(kind: Kind) -> &'static str {
    match kind {
        Kind::Object => "object",
        Kind::Parts => "parts",
        Kind::Error => "error",
        Kind::Variants => "variants",
        Kind::Pass => "pass",
    }
}

/// Returns a description of an entry, one property a line.
fn described(entry: &Entry) -> String {
    let mut lines = vec![("key", shown(&entry.key)), ("kind", named(entry.kind).to_owned())];
    let texts = [
        ("detail", &entry.detail),
        ("query", &entry.query),
        ("origin", &entry.origin),
        ("variant", &entry.variant),
    ];
    lines.extend(
        texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?.trim().to_owned()))),
    );
    let exact = if entry.bytes < 1000 { String::new() } else { format!(" ({} bytes)", entry.bytes) };
    lines.push(("size", size(entry.bytes) + &exact));
    lines.push(("memory", size(entry.memory)));
    lines.push(("age", duration(entry.age)));
    lines.push(match u64::try_from(entry.ttl) {
        Ok(left) if left > 0 => ("fresh for", duration(left)),
        _ => ("stale for", duration(entry.ttl.unsigned_abs())),
    });
    if !entry.codings.is_empty() {
        lines.push(("codings", entry.codings.join(", ")));
    }
    let mut text = String::new();
    for (name, value) in lines {
        // A variant has several lines.
        let value = value.split('\n').map(shown).collect::<Vec<_>>().join("\n           ");
        writeln!(text, "{name:<9}  {value}").expect("a string takes what is written");
    }
    for (index, (name, value)) in entry.fields.iter().enumerate() {
        let heading = if index == 0 { "fields" } else { "" };
        writeln!(text, "{heading:<9}  {}: {}", shown(name), shown(value))
            .expect("a string takes what is written");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            key: "css/a.css".to_owned(),
            query: None,
            origin: None,
            variant: None,
            kind: Kind::Object,
            bytes: 1234,
            memory: 1500,
            age: 61,
            ttl: 3539,
            codings: vec!["br".to_owned()],
            fields: vec![
                ("etag".to_owned(), "\"one\"".to_owned()),
                ("content-type".to_owned(), "text/css".to_owned()),
            ],
            detail: None,
        }
    }

    #[test]
    fn an_entry_is_described_line_by_line() {
        let expected = "\
key        css/a.css
kind       object
size       1.2 KB (1234 bytes)
memory     1.5 KB
age        1m 1s
fresh for  58m 59s
codings    br
fields     etag: \"one\"
           content-type: text/css
";
        assert_eq!(described(&entry()), expected);
        let stale =
            Entry { ttl: -5, variant: Some("accept: a\naccept-language: de\n".to_owned()), ..entry() };
        let text = described(&stale);
        assert!(text.contains("variant    accept: a\n           accept-language: de\nsize"), "{text}");
        assert!(text.contains("stale for  5s"), "{text}");
    }

    #[test]
    fn a_key_gives_the_terminal_no_orders() {
        let entry = Entry { key: "a\u{1b}[2Jb\n".to_owned(), ..entry() };
        assert_eq!(name(&entry), "a\u{fffd}[2Jb\u{fffd}");
        assert!(described(&entry).starts_with("key        a\u{fffd}[2Jb\u{fffd}\n"));
        let variant = Some("accept-language: \u{9b}31m".to_owned());
        let entry =
            Entry { variant, detail: Some("\u{1b}c".to_owned()), query: Some("\u{7}".to_owned()), ..entry };
        assert!(!described(&entry).contains(['\u{9b}', '\u{1b}', '\u{7}']), "{:?}", described(&entry));
        assert!(!row(&entry).concat().contains(char::is_control));
    }
}
