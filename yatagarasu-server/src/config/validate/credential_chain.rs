//! Checks the variables that the AWS credential chain reads. The chain goes on to the next provider if a variable names
//! nothing, and fails much later with a message about another one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Environment;
use crate::config::error::ErrorSink;
use crate::config::keys::{BucketSettings, EventSettings};

/// The variables that name a file.
const FILES: [&str; 4] = [
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Returns `true` if the bucket's keys come from the chain.
pub(in crate::config) fn is_used(bucket: &BucketSettings) -> bool {
    let fallbacks = bucket.fallbacks.0.iter().map(|fallback| &fallback.s3.0);
    fallbacks
        .chain([&bucket.s3])
        .any(|s3| !s3.anonymous && s3.access_key.is_none() && s3.secret_key.is_none())
}

/// Returns `true` if the keys of the queue come from the chain.
pub(in crate::config) fn is_used_by(events: &EventSettings) -> bool {
    events.sqs.url.is_some() && events.sqs.access_key.is_none() && events.sqs.secret_key.is_none()
}

/// Reports each variable that is incomplete or names nothing to `complain`.
pub(in crate::config) fn check(environment: &Environment, complain: ErrorSink<'_>) {
    let set = |name: &str| environment.get(name).map(str::trim).filter(|value| !value.is_empty());
    let pair = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    match pair.map(set) {
        [Some(_), None] => complain(pair[0], "is set without AWS_SECRET_ACCESS_KEY: set both, or neither"),
        [None, Some(_)] => complain(pair[1], "is set without AWS_ACCESS_KEY_ID: set both, or neither"),
        // The chain reads no profile then.
        [Some(_), Some(_)] => return,
        [None, None] => {}
    }
    for name in FILES {
        if let Some(path) = set(name)
            && let Err(error) = fs::File::open(path)
        {
            complain(name, &format!("`{path}` cannot be read: {error}"));
        }
    }
    if let Some(profile) = set("AWS_PROFILE") {
        let home = set("HOME").map(|home| Path::new(home).join(".aws"));
        let file = |name, default| {
            let inner = home.as_ref().map(|home| home.join(default));
            set(name).map(PathBuf::from).or(inner)
        };
        let files: Vec<_> =
            [file(FILES[0], "config"), file(FILES[1], "credentials")].into_iter().flatten().collect();
        if profile != "default" && !files.iter().any(|file| has_profile(file, profile)) {
            let places: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            complain(
                "AWS_PROFILE",
                &match &places[..] {
                    [] => format!(
                        "there is no file to find the profile `{profile}` in: set HOME or AWS_CONFIG_FILE"
                    ),
                    places => format!("there is no profile `{profile}` in {}", places.join(" or ")),
                },
            );
        }
    }
}

/// Returns `true` if the file has the section `[NAME]` or `[profile NAME]`.
fn has_profile(file: &Path, name: &str) -> bool {
    let Ok(text) = fs::read_to_string(file) else { return false };
    text.lines().any(|line| {
        let section = line.trim().strip_prefix('[').and_then(|rest| rest.split(']').next());
        let section = section.map(str::trim).unwrap_or_default();
        let inner = section.strip_prefix("profile").filter(|inner| inner.starts_with([' ', '\t']));
        inner.unwrap_or(section).trim() == name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_of(variables: &[(&str, &str)], expected: &[&str]) {
        let mut said = Vec::new();
        let environment: Environment = variables.iter().copied().collect();
        check(&environment, &mut |name, message| said.push(format!("{name}: {message}")));
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.starts_with(expected), "{expected}\nin\n{said}");
        }
    }

    #[test]
    fn what_names_nothing_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        fs::write(&file, "[default]\n[profile  site ] # ours\nregion = x\n[other]\n").unwrap();
        let config = file.to_str().unwrap();
        let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        check_of(&[], &[]);
        check_of(&keys, &[]);
        check_of(&[keys[0], keys[1], ("AWS_PROFILE", "none")], &[]);
        check_of(&keys[..1], &["AWS_ACCESS_KEY_ID: is set without AWS_SECRET_ACCESS_KEY"]);
        check_of(&keys[1..], &["AWS_SECRET_ACCESS_KEY: is set without AWS_ACCESS_KEY_ID"]);
        check_of(&[keys[0], ("AWS_SECRET_ACCESS_KEY", "\n")], &["AWS_ACCESS_KEY_ID: is set without"]);
        for name in FILES {
            check_of(&[(name, "/does/not/exist")], &[&format!("{name}: `/does/not/exist` cannot be read: ")]);
            check_of(&[(name, config)], &[]);
        }
        for profile in ["site", "other", "default"] {
            check_of(&[("AWS_CONFIG_FILE", config), ("AWS_PROFILE", profile)], &[]);
        }
        let expected = format!("AWS_PROFILE: there is no profile `profile` in {config}");
        check_of(&[("AWS_CONFIG_FILE", config), ("AWS_PROFILE", "profile")], &[&expected]);
        check_of(
            &[("HOME", "/nowhere"), ("AWS_PROFILE", "x")],
            &["AWS_PROFILE: there is no profile `x` in /nowhere/.aws/config or /nowhere/.aws/credentials"],
        );
    }
}
