//! `config migrate`: gives keys of an earlier version their present names, and says which defaults have changed.
//!
//! It works on the text, so that comments and the order of the keys stay.

/// A key that has another name now.
struct Renamed {
    old: &'static str,
    new: &'static str,
}

/// No section has a key with one of the old names.
const RENAMED: [Renamed; 1] = [Renamed { old: "max_connections", new: "connections_max" }];

/// A key whose default is another one now.
struct Changed {
    key: &'static str,
    /// What its default was, as in a file.
    was: &'static str,
    note: &'static str,
}

const CHANGED: [Changed; 2] = [
    Changed {
        key: "stale_if_error",
        was: "0",
        note: "`cache.stale_if_error` was 0 by default and is \"1h\": an object that has become stale is served for so long if S3 \
               fails",
    },
    Changed {
        key: "connections_max",
        was: "4096",
        note: "`s3.connections_max` was 4096 by default and is 8192",
    },
];

/// A file with the present names.
pub(super) struct Migrated {
    pub(super) text: String,
    /// What has been renamed, and which defaults have changed.
    pub(super) notes: Vec<String>,
}

/// Gives the keys of a file their present names.
pub(super) fn migrate(text: &str) -> Migrated {
    let (mut lines, mut notes) = (Vec::new(), Vec::new());
    for (number, line) in text.split('\n').enumerate() {
        let mut line = line.to_owned();
        for Renamed { old, new } in RENAMED {
            while let Some(at) = key_in(&line, old) {
                line.replace_range(at..at + old.len(), new);
                notes.push(format!("line {}: `{old}` is `{new}` now", number + 1));
            }
        }
        lines.push(line);
    }
    let has = |key: &str| lines.iter().any(|line| key_in(line, key).is_some());
    for Changed { key, was, note } in CHANGED {
        if !has(key) {
            notes.push(format!("{note}; to keep it, write `{key}: {was}`"));
        }
    }
    Migrated { text: lines.join("\n"), notes }
}

/// Returns where a key of this name stands in a line: of YAML, JSON or TOML, not in a comment and not as a value.
fn key_in(line: &str, name: &str) -> Option<usize> {
    let code = line.split_once(" #").map_or(line, |(code, _)| code);
    if code.trim_start().starts_with('#') {
        return None;
    }
    code.match_indices(name).map(|(at, _)| at).find(|&at| {
        let before = code[..at].trim_end_matches(['"', '\'']);
        let after = code[at + name.len()..].trim_start_matches(['"', '\'']).trim_start();
        let is_key = after.starts_with(':') || after.starts_with('=');
        is_key
            && before.chars().next_back().is_none_or(|one| matches!(one, ' ' | '\t' | '{' | ',' | '-' | '.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_renamed_and_all_else_stays() {
        let text = [
            "# max_connections: in a comment",
            "buckets:",
            "  - name: max_connections   # a name",
            "    s3:",
            "      max_connections: 9  # max_connections: of S3",
            "  - { s3: { \"max_connections\": 5, endpoint: 'max_connections 1' } }\r",
            "",
        ];
        let Migrated { text, notes } = migrate(&text.join("\n"));
        let expected = [
            "# max_connections: in a comment",
            "buckets:",
            "  - name: max_connections   # a name",
            "    s3:",
            "      connections_max: 9  # max_connections: of S3",
            "  - { s3: { \"connections_max\": 5, endpoint: 'max_connections 1' } }\r",
            "",
        ];
        assert_eq!(text, expected.join("\n"));
        assert_eq!(
            notes[..2],
            [
                "line 5: `max_connections` is `connections_max` now",
                "line 6: `max_connections` is `connections_max` now"
            ]
        );
        assert!(notes.len() == 3 && notes[2].contains("stale_if_error: 0"), "{notes:?}");
    }

    #[test]
    fn other_formats_are_read_too() {
        assert_eq!(
            migrate("[buckets.s3]\nmax_connections = 5\n").text,
            "[buckets.s3]\nconnections_max = 5\n"
        );
        assert_eq!(migrate("s3.max_connections = 5").text, "s3.connections_max = 5");
        let present = "cache: { stale_if_error: 0 }\ns3: { connections_max: 1, other_max_connections: 2 }\n";
        let migrated = migrate(present);
        assert_eq!((migrated.text.as_str(), migrated.notes), (present, Vec::new()));
    }
}
