//! Holds the example, the schema and the documentation equal to the table of keys, and every key to an effect.

use serde_json::{Value, json};

use super::table::tables;
use super::{example, schema, show};
use crate::config::keys::{Absent, Key, Kind, Section, Settings, Type};
use crate::config::{Config, Environment};

/// The documentation of the configuration.
const DOCUMENTATION: &str = include_str!("../../../../docs/src/configuration.md");

/// Returns each key that has a value, with its type and its path as a JSON pointer.
fn rows(section: &Section, place: &str) -> Vec<(String, &'static Key, Type)> {
    let below = |key: &'static Key| match key.kind {
        Kind::Sections(inner) => rows(inner, &format!("{place}/{}/0", key.name)),
        Kind::Section(inner) | Kind::Several(inner) | Kind::Optional(inner) | Kind::Either(_, inner) => {
            rows(inner, &format!("{place}/{}", key.name))
        }
        // Its keys are in the table already.
        Kind::Again(_) => Vec::new(),
        Kind::Value(kind) => vec![(format!("{place}/{}", key.name), key, kind)],
    };
    section.keys.iter().flat_map(below).collect()
}

#[test]
fn the_example_in_the_documentation_is_rendered_from_the_table() {
    let kept = include_str!("../../../../docs/src/example.yaml");
    assert!(
        kept == example(),
        "write it anew: cargo run --bin yatagarasu -- config init > docs/src/example.yaml"
    );
}

#[test]
fn the_tables_in_the_documentation_are_rendered_from_the_table() {
    let blocks = tables(&Settings::SECTION).into_iter();
    let blocks = blocks.map(|(name, table)| format!("<!-- keys of {name} -->\n\n{table}\n<!-- end -->\n"));
    let wrong: String = blocks.filter(|block| !DOCUMENTATION.contains(block)).collect();
    assert!(wrong.is_empty(), "put this into docs/src/configuration.md:\n{wrong}");
}

#[test]
fn every_key_is_in_the_example_the_schema_and_the_documentation() {
    let (example, schema) = (example(), serde_json::from_str::<Value>(&schema()).unwrap());
    let rows = rows(&Settings::SECTION, "");
    assert!(rows.len() > 40, "{}", rows.len());
    for (path, key, _) in rows {
        let name = key.name;
        assert!(example.contains(&format!(" {name}: ")), "{path} in the example");
        assert!(DOCUMENTATION.contains(&format!("\n| `{name}` | ")), "{path} in the documentation");
        let place = path.replace("/0/", "/items/").replace('/', "/properties/");
        let place = place.replace("/properties/items/", "/items/");
        // A section that may stand in the place of a value is the first of the forms.
        let place =
            ["cors", "response_headers", "fallbacks", "listeners", "certificates", "rewrite", "answers"]
                .iter()
                .fold(place, |place, name| {
                    place.replace(&format!("/{name}/properties/"), &format!("/{name}/anyOf/0/properties/"))
                });
        let described = schema.pointer(&place).and_then(|found| found["description"].as_str());
        assert!(described.is_some_and(|text| text.starts_with(key.meaning())), "{path} in the schema");
    }
}

/// Returns a value of the key's type, other than the default.
fn sample(key: &Key, kind: Type) -> Value {
    match kind {
        Type::Text | Type::Lines | Type::Secret => {
            let example = key.example_value().as_str().unwrap_or_default().replace("${", "");
            let is_default = key.default_value() == json!(example);
            json!(if is_default { format!("{example}.other") } else { example })
        }
        Type::Address => json!("127.0.0.1:7"),
        Type::Boolean => json!(key.default_value() != json!(true)),
        Type::Number | Type::Count => json!(4321),
        Type::Decimal => json!(7.5),
        Type::Size => json!("5MiB"),
        Type::Duration => json!("7s"),
        Type::Choice(names) => json!(names.last()),
        Type::Names => match key.example_value() {
            // Some lists take names of their own.
            Value::Array(names) if !names.is_empty() => json!([names.last()]),
            _ => json!(["accept"]),
        },
        Type::Fields => json!({ "x-some": "value" }),
        Type::Statuses(statuses) => json!([statuses.last()]),
    }
}

/// Sets the value at a JSON pointer. Sections on the way are made.
fn set(tree: &mut Value, path: &str, value: Value) {
    let place = path.split('/').skip(1).fold(tree, |place, name| match name.parse::<usize>() {
        Ok(index) => &mut place[index],
        Err(_) => &mut place[name],
    });
    *place = value;
}

#[test]
fn every_key_has_an_effect() {
    let outcome = |tree: &Value| {
        let loaded = Config::from_yaml("f.yaml", &tree.to_string(), &Environment::default());
        loaded.map(|config| show(&config)).map_err(|errors| errors.to_string())
    };
    let plain = json!({ "buckets": [{ "name": "plain", "path_prefix": "/plain" }] });
    let before = outcome(&plain).unwrap();
    for (path, key, kind) in rows(&Settings::SECTION, "") {
        // A choice without an alternative has no effect.
        if matches!(kind, Type::Choice([_])) {
            continue;
        }
        let mut tree = plain.clone();
        set(&mut tree, &path, sample(key, kind));
        // A value that needs another key, or a feature, is an error: it is read as well.
        match outcome(&tree) {
            Ok(after) => assert_ne!(after, before, "{path}: nothing reads it"),
            Err(errors) => {
                assert!(!errors.contains("unknown") && !errors.contains("invalid"), "{path}: {errors}");
            }
        }
    }
}

#[test]
fn the_keys_beside_an_unknown_one_are_those_of_its_section() {
    for (path, first, last) in [
        ("x", "server", "buckets"),
        ("server.x", "address", "warm_restart"),
        ("admin.x", "address", "prices"),
        ("buckets[1].x", "name", "cache"),
        ("buckets[0].s3.x", "backend", "receive_buffer"),
        ("buckets[10].cache.x", "enabled", "eviction"),
    ] {
        let keys = Settings::SECTION.around(path).keys;
        assert_eq!((keys[0].name, keys[keys.len() - 1].name), (first, last), "{path}");
    }
    assert!(
        Settings::SECTION
            .find("buckets[3].s3.secret_key")
            .is_some_and(|key| matches!(key.kind, Kind::Value(Type::Secret)))
    );
    assert!(Settings::SECTION.find("buckets[3].secret_key").is_none());
}

#[test]
fn a_default_is_within_the_bounds_of_its_key() {
    Settings::default().check_bounds("", &mut |place, message| panic!("{place}: {message}"));
    for (path, key, _) in rows(&Settings::SECTION, "") {
        assert_eq!(key.absent == Absent::Default, !key.default_value().is_null(), "{path}: one of the two");
        assert!(!key.example_value().is_null(), "{path}: the example has a value");
        assert!(key.meaning().ends_with('.'), "{path}: its meaning is a sentence");
    }
}
