//! Renders the JSON Schema of a configuration file.
//!
//! The schema accepts what the loader accepts, as far as a schema can. A number or a boolean may stand in quotes, and a
//! text with `${NAME}` may expand to any value. A key without a value counts as absent. Rules for several keys, and
//! those in words, are left to the loader.

use serde_json::{Map, Number, Value, json};

use crate::config::keys::{Absent, Key, Kind, Section, Settings, Type};
use crate::config::units::{ByteSize, Span};

/// Matches a text with a variable.
const VARIABLE: &str = r"\$\{";

/// Returns the JSON Schema (draft 2020-12) of a configuration file.
pub fn schema() -> String {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Yatagarasu",
    });
    extend(&mut schema, section(&Settings::SECTION, &json!("object")));
    format!("{schema:#}\n")
}

fn section(section: &Section, types: &Value) -> Value {
    let properties: Map<_, _> = section.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required = section.keys.iter().filter(|key| key.absent == Absent::Required).map(|key| key.name);
    json!({
        "description": section.about.trim_start(),
        "type": types,
        "properties": properties,
        "required": required.collect::<Vec<_>>(),
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut schema = json!({ "description": key.sentences().join(" ") });
    let more = match key.kind {
        Kind::Section(inner) | Kind::Optional(inner) | Kind::Again(inner) => {
            section(inner, &json!(["object", "null"]))
        }
        Kind::Sections(inner) => {
            json!({ "type": "array", "minItems": 1, "items": section(inner, &json!("object")) })
        }
        Kind::Several(inner) => {
            let one = section(inner, &json!("object"));
            json!({ "anyOf": [one, { "type": "array", "items": one }, { "type": "null" }] })
        }
        Kind::Either(names, inner) => {
            let names = [json!({ "enum": names }), text(&names.join("|")), json!({ "enum": [false, null] })];
            let forms = [section(inner, &json!("object"))].into_iter().chain(names);
            json!({ "anyOf": forms.collect::<Vec<_>>(), "default": key.default_value() })
        }
        Kind::Value(kind) => value(key, kind),
    };
    extend(&mut schema, more);
    schema
}

fn value(key: &Key, kind: Type) -> Value {
    let mut forms = forms(key, kind);
    if key.absent != Absent::Required {
        forms.push(json!({ "type": "null" }));
    }
    let mut schema = json!({ "anyOf": forms });
    if matches!(kind, Type::Secret) {
        schema["writeOnly"] = json!(true);
    }
    match key.absent {
        Absent::Default => schema["default"] = key.default_value(),
        Absent::Computed(_) | Absent::Required => schema["examples"] = json!([key.example_value()]),
    }
    schema
}

/// Returns the schemas of the forms that a value may have.
fn forms(key: &Key, kind: Type) -> Vec<Value> {
    // The loader turns numbers and booleans into texts, and into each other.
    let any_text = json!({ "type": ["string", "number", "boolean"] });
    let booleans = any_case("true|false|on|off|yes|no");
    match kind {
        Type::Text | Type::Lines => vec![any_text],
        Type::Address | Type::Secret => vec![json!({ "type": "string" })],
        Type::Boolean => vec![json!({ "type": ["boolean", "number"] }), text(&format!("{booleans}|1|0"))],
        Type::Number | Type::Count => vec![
            json!({
                "type": "number",
                "minimum": 0,
                "maximum": if matches!(kind, Type::Number) { u16::MAX.into() } else { u32::MAX },
            }),
            json!({ "type": "boolean" }),
            text(&format!(r"\+?\d+|{booleans}")),
        ],
        Type::Decimal => {
            vec![json!({ "type": "number", "minimum": 0 }), text(r"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")]
        }
        Type::Size => quantity(key, 1, ByteSize::UNITS),
        Type::Duration => quantity(key, 1_000, Span::UNITS),
        Type::Choice(names) => {
            // YAML reads `301` and `1.2` as numbers.
            let numbers = names.iter().filter_map(|name| serde_json::from_str::<Number>(name).ok());
            let values: Vec<Value> = names
                .iter()
                .map(|&name| json!(name))
                .chain(numbers.map(Value::Number))
                .chain(names.contains(&"off").then_some(Value::Bool(false)))
                .collect();
            vec![json!({ "enum": values }), text(&names.join("|"))]
        }
        Type::Names => vec![json!({ "type": "array", "items": any_text })],
        Type::Fields => vec![json!({ "type": "object", "additionalProperties": any_text })],
        Type::Statuses(statuses) => {
            let names: Vec<_> = statuses.iter().map(u16::to_string).collect();
            let items = [json!({ "enum": statuses }), text(&names.join("|"))];
            vec![json!({ "type": "array", "items": { "anyOf": items } })]
        }
    }
}

/// Returns the forms of a size or a duration. A number without a unit counts `scale` bytes or milliseconds.
fn quantity(key: &Key, scale: u64, units: &[(&str, u64)]) -> Vec<Value> {
    let mut number = json!({ "type": "integer", "minimum": key.bounds.least.div_ceil(scale) });
    if let Some(end) = key.bounds.end {
        number["exclusiveMaximum"] = json!(end.div_ceil(scale));
    }
    let zero = (key.bounds.least > 0 && key.bounds.allow(0)).then(|| json!({ "const": 0 }));
    let units: Vec<_> = units.iter().map(|(name, _)| any_case(name)).collect();
    let text = text(&format!(r"\d+(\.\d+)?\s*({})", units.join("|")));
    [Some(number), zero, Some(text)].into_iter().flatten().collect()
}

/// Returns the schema of a text that matches a pattern, between white space, or has a variable.
fn text(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!(r"^\s*({pattern})\s*$|{VARIABLE}") })
}

/// Returns a pattern that matches a text in upper and lower case.
fn any_case(text: &str) -> String {
    let letter = |c: char| match c {
        'a'..='z' => format!("[{c}{}]", c.to_ascii_uppercase()),
        other => other.to_string(),
    };
    text.chars().map(letter).collect()
}

/// Adds the members of `more` that `schema` does not have.
fn extend(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        for (name, value) in more {
            schema.entry(name).or_insert(value);
        }
    }
}
