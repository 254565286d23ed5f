//! Bounds what a YAML document grows to in memory. An alias repeats all that its anchor names, and nested sections take stack.

use std::collections::HashMap;

use yaml_rust2::Event;
use yaml_rust2::parser::Parser;

/// Largest depth of sections and lists. A configuration needs far fewer.
const DEPTH_MAX: usize = 64;

/// Most that all aliases together may repeat, in bytes of text, with [`NODE_BYTES`] for each value.
const REPEATED_BYTES_MAX: usize = 1 << 20;

/// The size of a value without its text, roughly.
const NODE_BYTES: usize = 64;

/// Returns a message if the document exceeds a bound, or `None`. Returns `None` for text that is not YAML, too.
pub(super) fn exceeded(text: &str) -> Option<String> {
    let mut parser = Parser::new(text.chars());
    let mut sizes = HashMap::new();
    // The anchor and the size of each open section and list.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut repeated = 0_usize;
    loop {
        let (event, place) = parser.next_token().ok()?;
        let (anchor, bytes) = match event {
            Event::StreamEnd => return None,
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                open.push((anchor, NODE_BYTES));
                if open.len() > DEPTH_MAX {
                    return Some(format!(
                        "line {} is deeper than {DEPTH_MAX} sections and lists",
                        place.line()
                    ));
                }
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop()?,
            Event::Scalar(text, _, anchor, _) => (anchor, NODE_BYTES + text.len()),
            Event::Alias(anchor) => {
                let bytes = sizes.get(&anchor).copied().unwrap_or(NODE_BYTES);
                repeated = repeated.saturating_add(bytes);
                if repeated > REPEATED_BYTES_MAX {
                    let line = place.line();
                    return Some(format!(
                        "the aliases up to line {line} repeat more than 1 MiB: repeat less, or write it out"
                    ));
                }
                // 0 stands for no anchor.
                (0, bytes)
            }
            _ => continue,
        };
        sizes.insert(anchor, bytes);
        if let Some((_, outer)) = open.last_mut() {
            *outer = outer.saturating_add(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    #[test]
    fn aliases_repeat_a_little_only() {
        let few = "a: &a { s3: { region: r } }\nb: [*a, *a]\nc: { <<: *a }\n";
        assert_eq!(exceeded(few), None);
        // A list of ten, a list of ten of these, and so on.
        let doubled = |list: &str| format!("[{}]", [list; 10].join(", "));
        let lists =
            (1..9).map(|level| format!("l{level}: &l{level} {}", doubled(&format!("*l{}", level - 1))));
        let lines: Vec<_> = std::iter::once("l0: &l0 x".to_owned()).chain(lists).collect();
        let bomb = lines.join("\n");
        let refused = Config::from_yaml("f.yaml", &format!("\u{feff}{bomb}"), &Environment::default());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.starts_with("f.yaml: the aliases up to line 6 repeat"), "{refused}");
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), ["*a"; 11].join(", "));
        assert!(exceeded(&long).is_some());
        let text = format!("a: {}\n", "x".repeat(2 << 20));
        assert_eq!(exceeded(&text), None, "what is written out is no growth");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| {
            let lines = (0..depth).map(|level| " ".repeat(level) + "a:");
            lines.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(exceeded(&nested(DEPTH_MAX)), None);
        assert_eq!(exceeded(&nested(5000)).unwrap(), "line 65 is deeper than 64 sections and lists");
        assert_eq!(exceeded("a: ["), None, "the parser says what is wrong with it");
    }
}
