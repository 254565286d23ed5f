//! A snapshot of the environment variables that a configuration may use.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

/// The environment variables a configuration may use, read once.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    readable: BTreeMap<String, String>,
    unreadable: BTreeSet<String>,
}

impl Environment {
    /// Returns a snapshot of the variables of this process.
    pub fn of_process() -> Self {
        Self::of(std::env::vars_os())
    }

    fn of(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => {
                    environment.readable.insert(name, value);
                }
                (Ok(name), Err(_)) => {
                    environment.unreadable.insert(name);
                }
                (Err(name), _) => {
                    environment.unreadable.insert(name.to_string_lossy().into_owned());
                }
            }
        }
        environment
    }

    /// Returns the value of a variable, or `None` if it is not set or not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.readable.get(name).map(String::as_str)
    }

    /// Returns the names of the variables that are set but are not UTF-8 in name or value.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().map(String::as_str)
    }

    /// Returns each variable with a name that begins with `prefix`, as the rest of the name and the value.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.readable
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let readable = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { readable, unreadable: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::Config;

    fn environment(variables: &[(&[u8], &[u8])]) -> Environment {
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        Environment::of(variables.iter().map(|(name, value)| (text(name), text(value))))
    }

    #[track_caller]
    fn check(variables: &[(&[u8], &[u8])], expected: Result<(), &str>) {
        let yaml = "buckets: [{ name: \"a\", path_prefix: \"/${PREFIX}\" }]";
        let loaded = Config::from_yaml("f.yaml", yaml, &environment(variables));
        assert_eq!(loaded.map(drop).map_err(|errors| errors.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn a_variable_that_is_used_and_is_not_utf_8_is_an_error() {
        let prefix: (&[u8], &[u8]) = (b"PREFIX", b"a");
        check(&[prefix, (b"LS_COLORS", b"\xff"), (b"YATAGARASU_CONFIG", b"\xff")], Ok(()));
        for name in ["YATAGARASU_ADMIN_TOKEN", "YATAGARASU__SERVER__ADDRESS", "AWS_SECRET_ACCESS_KEY"] {
            let expected = format!("environment: {name}: is not UTF-8: set it again, or unset it");
            check(&[prefix, (name.as_bytes(), b"t\xff")], Err(&expected));
        }
        let name = "environment: YATAGARASU__\u{fffd}: is not UTF-8: set it again, or unset it";
        check(&[prefix, (b"YATAGARASU__\xff", b"a")], Err(name));
        let prefix = "f.yaml: buckets[0].path_prefix: the environment variable `PREFIX` is not UTF-8";
        check(&[(b"PREFIX", b"\xff")], Err(prefix));
    }
}
