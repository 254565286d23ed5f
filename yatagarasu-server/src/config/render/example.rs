//! Renders the example, a commented configuration file with every key.

use std::fmt::Write as _;

use crate::config::keys::{Absent, BucketSettings, CacheSettings, Key, Kind, Section, Settings};

/// The beginning of the example: a whole configuration, which ends in the cache of a bucket.
const HEAD: &str = r#"# Yatagarasu: a read-only HTTP gateway in front of S3.
#
# Check this file with `yatagarasu config check FILE`. Print the values that take effect with
# `yatagarasu config show FILE`. Run the server with `yatagarasu-server --config FILE`.
#
# The first lines are a whole configuration. The rest names all other keys, commented out, with their defaults. If a
# key has no fixed default, the line shows an example, and the comment above says what holds without the key.
#
# Sizes are bytes or "10MB", "64KiB"; durations are seconds or "500ms", "90s", "1h". "${NAME}" inserts an
# environment variable. YATAGARASU__SERVER__ADDRESS overrides server.address, YATAGARASU__BUCKETS__0__NAME the first
# name.

buckets:
  # Videos: stream everything
  - name: "videos"
    path_prefix: "/media"
    cache:
      enabled: false

  # Assets: cache small files only
  - name: "assets"
    path_prefix: "/static"
    cache:
      enabled: true
      max_item_size: "10MB"  # larger objects are streamed
      max_size: "1GB"        # this bucket's cache, bookkeeping included
      ttl: 3600              # lifetime of an object that names none itself
"#;

/// The longest line of a comment, in characters.
const WIDTH: usize = 100;

/// Returns a commented example configuration (YAML).
pub fn example() -> String {
    let mut text = HEAD.to_owned();
    for (section, indent) in
        [(&CacheSettings::SECTION, 6), (&BucketSettings::SECTION, 4), (&Settings::SECTION, 0)]
    {
        text.push('\n');
        rest_of(section, indent, &mut text);
    }
    text
}

/// Appends the keys of a section that `HEAD` does not have, with empty lines between them. The keys of a section that
/// stands in the place of a value are comments.
fn rest_of(section: &Section, indent: usize, text: &mut String) {
    let in_head = |key: &Key| HEAD.contains(&format!("\n{:indent$}{}:", "", key.name));
    let rest = section.keys.iter().filter(|key| !in_head(key) && key.absent != Absent::Required);
    for (index, key) in rest.enumerate() {
        if index > 0 {
            text.push('\n');
        }
        row(key, indent, text);
    }
}

fn row(key: &Key, indent: usize, text: &mut String) {
    for sentence in key.sentences() {
        comment(&sentence, indent, text);
    }
    let is_section = matches!(key.kind, Kind::Section(_) | Kind::Sections(_));
    if let Some(inner) = key.section().filter(|_| is_section) {
        write(text, format_args!("{:indent$}{}:\n", "", key.name));
        return rest_of(inner, indent + 2, text);
    }
    write(text, format_args!("{:indent$}# {}: {}\n", "", key.name, key.example_value()));
    if let Some(inner) = key.section() {
        write(text, format_args!("{:indent$}# With keys:\n{:indent$}# {}:\n", "", "", key.name));
        keys_of(inner, indent, 2, text);
    }
}

/// Appends the keys of a section that is a comment itself, `depth` spaces behind the sign of the comment.
fn keys_of(section: &Section, indent: usize, depth: usize, text: &mut String) {
    for key in section.keys {
        for sentence in key.sentences() {
            comment_within(&sentence, indent, depth, text);
        }
        // The keys of a section that stands elsewhere, too, are there.
        match key.section().filter(|_| !matches!(key.kind, Kind::Again(_))) {
            None => write(
                text,
                format_args!("{:indent$}# {:depth$}{}: {}\n", "", "", key.name, key.example_value()),
            ),
            Some(inner) => {
                write(text, format_args!("{:indent$}# {:depth$}{}:\n", "", "", key.name));
                keys_of(inner, indent, depth + 2, text);
            }
        }
    }
}

/// Appends a comment, wrapped.
fn comment(words: &str, indent: usize, text: &mut String) {
    wrapped(words, &format!("{:indent$}#", ""), text);
}

/// Appends a comment on a key that is a comment itself.
fn comment_within(words: &str, indent: usize, depth: usize, text: &mut String) {
    wrapped(words, &format!("{:indent$}# {:depth$}#", "", ""), text);
}

fn wrapped(words: &str, sign: &str, text: &mut String) {
    let mut line = sign.to_owned();
    for word in words.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            write(text, format_args!("{line}\n"));
            line.truncate(sign.len());
        }
        write(&mut line, format_args!(" {word}"));
    }
    write(text, format_args!("{line}\n"));
}

fn write(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes what is written");
}
