//! Replaces `${NAME}` in a value with the environment variable's value. `$${` is an escape for a literal `${`.

use config::{Value, ValueKind};

use crate::config::Environment;

/// Replaces variables in all strings below `value`. Calls `missing` with the key and a message for each string that
/// cannot be expanded.
pub(super) fn substitute(
    value: &mut Value,
    key: &str,
    environment: &Environment,
    missing: &mut impl FnMut(&str, String),
) {
    match &mut value.kind {
        ValueKind::String(text) if text.contains("${") => match expand(text, environment) {
            Ok(expanded) => *text = expanded,
            Err(message) => missing(key, message),
        },
        ValueKind::Array(values) => {
            for (index, value) in values.iter_mut().enumerate() {
                substitute(value, &format!("{key}[{index}]"), environment, missing);
            }
        }
        ValueKind::Table(table) => {
            for (name, value) in table {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                substitute(value, &key, environment, missing);
            }
        }
        _ => {}
    }
}

fn expand(text: &str, environment: &Environment) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if let Some(before) = rest[..start].strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        expanded.push_str(&rest[..start]);
        let Some(end) = rest[start..].find('}') else {
            return Err("`${` without `}`: write `${NAME}`, or `$${` for the text itself".to_owned());
        };
        let name = &rest[start + 2..start + end];
        match environment.get(name) {
            Some(value) => expanded.push_str(value),
            None if environment.unreadable().any(|unreadable| unreadable == name) => {
                return Err(format!("the environment variable `{name}` is not UTF-8"));
            }
            None => return Err(format!("the environment variable `{name}` is not set")),
        }
        rest = &rest[start + end + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_anywhere_in_a_text() {
        let environment: Environment = [("A", "1"), ("B", "${A}")].into_iter().collect();
        let check = |text, expected: Result<&str, &str>| {
            assert_eq!(
                expand(text, &environment).as_deref().map_err(std::string::String::as_str),
                expected,
                "{text}"
            );
        };
        check("x${A}y${A}", Ok("x1y1"));
        check("${B}", Ok("${A}"));
        check("$${A} costs 1$", Ok("${A} costs 1$"));
        check("${C}", Err("the environment variable `C` is not set"));
        check("${A", Err("`${` without `}`: write `${NAME}`, or `$${` for the text itself"));
    }
}
