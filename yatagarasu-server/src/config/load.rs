//! Parses a configuration file and collects all of its errors.

mod growth;
mod repeated_key;

use std::collections::HashMap;
use std::io;
use std::path::Path;

use config::{ConfigError as Cause, FileFormat, Format, Map, Value, ValueKind};
use serde_path_to_error::Segment;

use crate::config::error::{ConfigError, ConfigErrors};
use crate::config::keys::{Kind, Section, Settings};
use crate::config::load::repeated_key::repeated_key;
use crate::config::validate::credential_chain;
use crate::config::{Config, Environment, interpolate, overrides, text, validate};

impl Config {
    /// Reads and validates a file. Its extension selects the format: YAML, TOML or JSON.
    ///
    /// # Errors
    ///
    /// Returns all errors at once.
    pub fn load(file: &Path, environment: &Environment) -> Result<Self, ConfigErrors> {
        Self::with_text(file, || std::fs::read_to_string(file), environment)
    }

    /// Validates `text` as if it were the content of a file.
    ///
    /// # Errors
    ///
    /// Returns all errors at once.
    pub fn from_text(file: &Path, text: &str, environment: &Environment) -> Result<Self, ConfigErrors> {
        Self::with_text(file, || Ok(text.to_owned()), environment)
    }

    fn with_text(
        file: &Path,
        read: impl FnOnce() -> io::Result<String>,
        environment: &Environment,
    ) -> Result<Self, ConfigErrors> {
        let name = file.display().to_string();
        let alone = |message: String| {
            ConfigErrors(vec![ConfigError { file: name.clone(), key: String::new(), message }])
        };
        let format = match file.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => FileFormat::Yaml,
            Some("toml") => FileFormat::Toml,
            Some("json") => FileFormat::Json,
            _ => return Err(alone("expected a file that ends in .yaml, .yml, .toml or .json".to_owned())),
        };
        let text = read().map_err(|error| alone(format!("cannot be read: {error}")))?;
        Self::parse(&name, &text, format, environment)
    }

    /// Parses and validates YAML. `name` is the file name in messages.
    ///
    /// # Errors
    ///
    /// Returns all errors at once.
    pub fn from_yaml(name: &str, text: &str, environment: &Environment) -> Result<Self, ConfigErrors> {
        Self::parse(name, text, FileFormat::Yaml, environment)
    }

    pub(crate) fn parse(
        name: &str,
        text: &str,
        format: FileFormat,
        environment: &Environment,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = Errors { file: name.to_owned(), overridden: HashMap::new(), list: Vec::new() };
        let text = text.trim_start_matches('\u{feff}');
        if format == FileFormat::Yaml
            && let Some(message) = growth::exceeded(text)
        {
            errors.add("", &message);
            return Err(errors.end());
        }
        let table = match Format::parse(&format, Some(&name.to_owned()), text) {
            Ok(table) => table,
            Err(error) => {
                errors.add("", &syntax_error(error.to_string().trim_end_matches(&format!(" in {name}"))));
                return Err(errors.end());
            }
        };
        if let Some(message) = repeated_key(text).filter(|_| format == FileFormat::Json) {
            errors.add("", &message);
        }
        let mut root = Value::new(Some(&name.to_owned()), ValueKind::Table(table));
        let mut missing = Vec::new();
        interpolate::substitute(&mut root, "", environment, &mut |key, message| {
            missing.push((key.to_owned(), message));
        });
        let mut wrong = |variable: &str, message: &str| errors.list.push(of_variable(variable, message));
        for variable in environment.unreadable().filter(|name| is_ours(name)) {
            wrong(variable, "is not UTF-8: set it again, or unset it");
        }
        overrides::misspelt(environment, text, &mut wrong);
        // Overrides come after substitution, so that `${NAME}` in an overriding variable is not expanded.
        errors.overridden = overrides::apply(&mut root, environment, &mut wrong);
        // A variable that overrides a key takes the place of the one that the file names there.
        missing.retain(|(key, _)| !errors.overridden.contains_key(key));
        for (key, message) in &missing {
            errors.add(key, message);
        }
        text::clean(&mut root, "", &mut |key, message| errors.add(key, message));
        keep_sections(&mut root, &Settings::SECTION);
        strip_nothing(&mut root);
        refuse_lists(&mut root, &Settings::SECTION, "", &mut errors);
        let settings = deserialize(root, &mut errors);
        if settings.buckets.iter().any(credential_chain::is_used)
            || credential_chain::is_used_by(&settings.events)
        {
            let wrong = &mut |variable: &str, message: &str| errors.list.push(of_variable(variable, message));
            credential_chain::check(environment, wrong);
        }
        let config = validate::validate(settings, environment, &mut |key, message| errors.add(key, message));
        match config {
            Some(config) if errors.list.is_empty() => Ok(config),
            _ => Err(errors.end()),
        }
    }
}

/// Returns `true` if this program or the AWS credential chain reads the variable.
///
/// `YATAGARASU_CONFIG` is excluded: the path of the configuration file may contain any bytes.
fn is_ours(variable: &str) -> bool {
    ["YATAGARASU_", "AWS_"].iter().any(|prefix| variable.starts_with(prefix))
        && variable != "YATAGARASU_CONFIG"
}

fn of_variable(variable: &str, message: &str) -> ConfigError {
    ConfigError { file: "environment".to_owned(), key: variable.to_owned(), message: message.to_owned() }
}

/// Returns the message of a parser, without what it says of its own inside.
fn syntax_error(message: &str) -> String {
    // It shows the line, which may have a secret in it. The key in front is enough.
    if let Some((place, rest)) =
        message.strip_prefix("TOML parse error at ").and_then(|rest| rest.split_once('\n'))
    {
        let shown = rest.lines().find_map(|line| line.split_once(" | "));
        let key =
            shown.and_then(|(_, line)| line.split_once('=')).map(|(key, _)| format!("`{}`: ", key.trim()));
        return format!("{}{}: {place}", key.unwrap_or_default(), rest.lines().last().unwrap_or_default());
    }
    match message.strip_prefix("String(\"").and_then(|rest| rest.split_once("\"): duplicated key in mapping"))
    {
        Some((key, place)) => {
            let place = place.rfind("line ").map_or(place, |line| &place[line..]);
            format!("the key `{key}` is there twice, the second time at {place}")
        }
        None => message.to_owned(),
    }
}

struct Errors {
    file: String,
    /// The keys whose values come from variables, with the variables.
    overridden: HashMap<String, String>,
    list: Vec<ConfigError>,
}

impl Errors {
    /// Adds an error, unless the key or an enclosing section already has one. The first error explains those that
    /// follow.
    fn add(&mut self, key: &str, message: &str) {
        let covers = |error: &ConfigError| {
            let rest = key.strip_prefix(error.key.as_str());
            !error.key.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if !self.list.iter().any(covers) {
            let message = message.to_owned();
            self.list.push(match self.overridden.get(key) {
                Some(variable) => of_variable(variable, &message),
                None => ConfigError { file: self.file.clone(), key: key.to_owned(), message },
            });
        }
    }

    fn end(mut self) -> ConfigErrors {
        self.list.sort();
        ConfigErrors(self.list)
    }
}

/// Puts an empty section under keys without a value that switch something on (`tls:`). The section says what it needs.
fn keep_sections(value: &mut Value, section: &Section) {
    match &mut value.kind {
        ValueKind::Table(table) => {
            for key in section.keys {
                let (Some(inner), Some(value)) = (key.section(), table.get_mut(key.name)) else { continue };
                if value.kind == ValueKind::Nil && matches!(key.kind, Kind::Optional(_)) {
                    value.kind = ValueKind::Table(Map::new());
                }
                keep_sections(value, inner);
            }
        }
        ValueKind::Array(entries) => entries.iter_mut().for_each(|entry| keep_sections(entry, section)),
        _ => {}
    }
}

/// Removes keys without a value (`cache:`), so that their defaults apply.
fn strip_nothing(value: &mut Value) {
    match &mut value.kind {
        ValueKind::Table(table) => {
            table.retain(|_, value| value.kind != ValueKind::Nil);
            table.values_mut().for_each(strip_nothing);
        }
        ValueKind::Array(values) => values.iter_mut().for_each(strip_nothing),
        _ => {}
    }
}

/// Reports lists in the place of a section. serde would take their entries for the values of the keys, in order.
fn refuse_lists(value: &mut Value, section: &Section, place: &str, errors: &mut Errors) {
    if let ValueKind::Array(_) = value.kind {
        errors.add(place, &format!("invalid type: list, expected {}", section.expecting));
        value.kind = ValueKind::Table(Map::new());
    }
    let ValueKind::Table(table) = &mut value.kind else { return };
    for key in section.keys {
        let (Some(inner), Some(value)) = (key.section(), table.get_mut(key.name)) else { continue };
        let place = key.place(place);
        match &mut value.kind {
            ValueKind::Array(entries) if matches!(key.kind, Kind::Sections(_) | Kind::Several(_)) => {
                for (index, entry) in entries.iter_mut().enumerate() {
                    refuse_lists(entry, inner, &format!("{place}[{index}]"), errors);
                }
            }
            _ => refuse_lists(value, inner, &place, errors),
        }
    }
}

/// Deserializes the settings, and reports every unknown key and every value of a wrong type.
///
/// The deserializer stops at the first wrong value. So that value is removed and the rest is read again.
fn deserialize(mut root: Value, errors: &mut Errors) -> Settings {
    loop {
        let mut unknown = Vec::new();
        let mut note = |path: serde_ignored::Path<'_>| unknown.push(written(&path));
        let tree = serde_ignored::Deserializer::new(root.clone(), &mut note);
        match serde_path_to_error::deserialize::<_, Settings>(tree) {
            Ok(settings) => {
                for key in unknown {
                    let known: Vec<_> =
                        Settings::SECTION.around(&key).keys.iter().map(|key| key.name).collect();
                    errors.add(&key, &format!("unknown key: expected one of {}", known.join(", ")));
                }
                return settings;
            }
            Err(error) => {
                let segments: Vec<_> = error.path().iter().cloned().collect();
                errors.add(&key_of(&segments), &in_our_words(&bare(error.inner())));
                if !remove(&mut root, &segments) {
                    return Settings::default();
                }
            }
        }
    }
}

fn written(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", written(parent)),
        Path::Map { parent, key } => match written(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            written(parent)
        }
    }
}

fn key_of(segments: &[Segment]) -> String {
    segments.iter().fold(String::new(), |key, segment| match segment {
        Segment::Seq { index } => format!("{key}[{index}]"),
        Segment::Map { key: name } if key.is_empty() => name.clone(),
        Segment::Map { key: name } => format!("{key}.{name}"),
        Segment::Enum { .. } | Segment::Unknown => key,
    })
}

/// Returns the message of an error without its location, because [`ConfigError`] has a more precise one.
fn bare(error: &Cause) -> String {
    match error {
        Cause::At { error, .. } => bare(error),
        Cause::Type { unexpected, expected, .. } => {
            format!("invalid type: {unexpected}, expected {expected}")
        }
        other => other.to_string(),
    }
}

/// Returns a message of serde in the words of the documentation.
fn in_our_words(message: &str) -> String {
    let message = message.replace("invalid type: sequence,", "invalid type: list,");
    let message = message.replace("invalid type: map,", "invalid type: section,");
    message.replace("expected a sequence", "expected a list in brackets, such as `[a, b]`")
}

/// Removes the value at `path`. Returns `true` if the tree has changed.
fn remove(value: &mut Value, path: &[Segment]) -> bool {
    match (path, &mut value.kind) {
        ([Segment::Map { key }], ValueKind::Table(table)) => table.remove(key).is_some(),
        // An empty table takes the place of a list entry, so that the indices of later entries stay correct. If the
        // table is wrong as well, the entry is removed.
        ([Segment::Seq { index }], ValueKind::Array(values)) if *index < values.len() => {
            let nothing = Value::new(None, ValueKind::Table(Map::new()));
            if values[*index].kind == nothing.kind {
                values.remove(*index);
            } else {
                values[*index] = nothing;
            }
            true
        }
        ([Segment::Map { key }, rest @ ..], ValueKind::Table(table)) => {
            table.get_mut(key).is_some_and(|value| remove(value, rest))
        }
        ([Segment::Seq { index }, rest @ ..], ValueKind::Array(values)) => {
            values.get_mut(*index).is_some_and(|value| remove(value, rest))
        }
        _ => false,
    }
}
