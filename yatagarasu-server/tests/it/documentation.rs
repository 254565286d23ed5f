//! Tests of the blocks in the documentation: configurations load, JSON and YAML are readable, and scripts are written in a
//! shell's language. `yatagarasu-cli` tests the commands.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use yaml_rust2::YamlLoader;
use yatagarasu_server::Config;
use yatagarasu_server::config::Environment;

/// A block of a page, between fences.
struct Block {
    /// The page and the line.
    place: String,
    language: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = ["docs/src", "docs/src/internals", "."];
    let pages = folders.iter().flat_map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let pages =
        pages.map(|page| page.unwrap().path()).filter(|page| page.extension().is_some_and(|end| end == "md"));
    let mut blocks = Vec::new();
    for page in pages {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        let mut open: Option<(Block, usize)> = None;
        for (number, line) in fs::read_to_string(&page).unwrap().lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    let place = format!("{name}:{}", number + 1);
                    open =
                        Some((Block { place, language: language.to_owned(), text: String::new() }, indent));
                }
                (Some(_), Some(_)) => blocks.push(open.take().expect("it is open").0),
                (None, Some((block, indent))) => {
                    block.text.push_str(line.get(*indent..).unwrap_or_default());
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{name}: a block has no end");
    }
    blocks
}

fn of_language(language: &str) -> Vec<Block> {
    blocks().into_iter().filter(|block| block.language == language).collect()
}

#[test]
fn configurations_load() {
    let mut loaded = 0;
    for Block { place, text, .. } in of_language("yaml") {
        YamlLoader::load_from_str(&text).unwrap_or_else(|error| panic!("{place}: {error}"));
        // The values of the chart hold one.
        let text = match text.split_once("\nconfig:\n") {
            Some((_, inner)) => {
                inner.lines().map(|line| line.get(2..).unwrap_or_default()).collect::<Vec<_>>().join("\n")
            }
            None => text,
        };
        let is_whole = text.starts_with("buckets:") || text.contains("\nbuckets:\n");
        if !is_whole {
            continue;
        }
        if let Err(errors) = Config::from_yaml(&place, &filled(&text), &Environment::default()) {
            // Files of certificates are not here, and the chart has the token in a variable.
            let others: Vec<_> = errors
                .0
                .iter()
                .filter(|error| {
                    !["No such file", "YATAGARASU_ADMIN_TOKEN"]
                        .iter()
                        .any(|known| error.message.contains(known))
                })
                .collect();
            assert!(others.is_empty(), "{others:?}");
        }
        loaded += 1;
    }
    assert!(loaded >= 25, "{loaded}");
}

/// Puts a text in the place of each variable.
fn filled(text: &str) -> String {
    let mut parts = text.split("${");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + "value" + part.split_once('}').map_or(part, |(_, rest)| rest))
}

#[test]
fn json_is_readable() {
    let blocks = of_language("json");
    assert!(blocks.len() >= 10);
    for Block { place, text, .. } in blocks {
        // Some have several documents.
        let documents = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
        for document in documents {
            document.unwrap_or_else(|error| panic!("{place}: {error}"));
        }
    }
}

#[test]
fn scripts_are_of_a_shell() {
    let blocks = of_language("sh");
    assert!(blocks.len() >= 20);
    for Block { place, text, .. } in blocks {
        let mut shell =
            Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut shell.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let said = shell.wait_with_output().unwrap();
        assert!(said.status.success(), "{place}: {}", String::from_utf8_lossy(&said.stderr));
    }
}
