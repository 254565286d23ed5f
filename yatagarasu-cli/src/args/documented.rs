//! The commands in the documentation are commands.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;

use super::Arguments;

/// Returns the pages of the documentation, and those in the root of the repository.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let entries = ["docs/src", "."].map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let paths = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

/// Returns the lines of the scripts of a page. Lines that go on are put together.
fn script_lines(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks
        .flat_map(|block| block.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Splits a command into words as a shell does, up to a pipe, a redirection, a comment or the next command.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for one in line.chars() {
        match (quote, one) {
            (Some(open), _) if open == one => quote = None,
            (None, '"' | '\'') => {
                quote = Some(one);
                word.get_or_insert_default();
            }
            (None, '|' | '>' | '<' | '#' | ';' | '&') if word.is_none() => return words,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(one),
        }
    }
    words.extend(word);
    words
}

#[test]
fn commands_in_the_documentation_are_commands() {
    let mut tried = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for line in script_lines(&text) {
            let command = line.trim().strip_prefix("target/dist/").unwrap_or(line.trim());
            if !command.starts_with("yatagarasu ") {
                continue;
            }
            // Variables of a shell may be anything.
            let words = words(&command.replace("$program", "yatagarasu"));
            if let Err(error) = Arguments::try_parse_from(&words) {
                panic!("{}: {line}\n{error}", page.display());
            }
            tried += 1;
        }
    }
    assert!(tried >= 15, "{tried}");
}

#[test]
fn words_are_those_of_a_shell() {
    let split = words("yatagarasu explain 'a b' --header \"Range: x\"y '' | head # more");
    assert_eq!(split, ["yatagarasu", "explain", "a b", "--header", "Range: xy", ""]);
}
