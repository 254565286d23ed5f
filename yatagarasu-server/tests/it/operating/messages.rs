//! The messages that the documentation explains are those that the programs print.

use std::fs;
use std::path::Path;

/// Returns all Rust code below a folder, without the marks of code and the breaks of long texts.
fn code(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            code(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = fs::read_to_string(path).unwrap();
            let mut parts = code.split("\\\n");
            text.push_str(parts.next().unwrap());
            parts.for_each(|part| text.push_str(part.trim_start()));
        }
    }
}

/// A message of rustls.
const OF_RUSTLS: &str = "invalid peer certificate";

#[test]
fn each_message_of_the_troubleshooting_table_is_printed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut printed = String::new();
    for part in ["core", "s3", "cache", "server", "cli"] {
        code(&root.join(format!("yatagarasu-{part}/src")), &mut printed);
    }
    let printed = printed.replace('`', "");
    let page = fs::read_to_string(root.join("docs/src/operations.md")).unwrap();
    let table =
        page.split("## Troubleshooting").nth(1).unwrap().split("| message | what to do |").nth(1).unwrap();
    let mut rows = 0;
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let message = row.split('|').nth(1).unwrap().replace('`', "");
        // Parts that differ from case to case.
        for part in
            message.split("...").flat_map(|part| part.split("KEY: ")).flat_map(|part| part.split(" HOST"))
        {
            let part = part.trim().trim_matches(['(', ',', ':', ' ']);
            let part = part.split("(40").next().unwrap().trim();
            let is_theirs = part == OF_RUSTLS
                || part.starts_with("40")
                || part.chars().all(|c| c.is_ascii_alphanumeric());
            assert!(part.len() < 8 || is_theirs || printed.contains(part), "{part:?} of {message}");
        }
        rows += 1;
    }
    assert!(rows > 20, "{rows}");
}
