//! The table as Markdown.

use std::fmt::Write;

use super::number::number;
use super::{Cell, Outcome, Report};
use crate::case::{Against, Bound, Verdict};
use crate::peer::Peer;

/// Returns the machine and the versions, the table, and the details.
pub(super) fn text(report: &Report<'_>) -> String {
    let bench = report.bench;
    let mut text = format!("Machine: {}.\n\n", report.machine);
    let versions: Vec<_> =
        bench.peers.iter().map(|peer| format!("{} {}", peer.peer.label(), peer.version)).collect();
    let (samples, seconds) = (bench.samples, bench.duration.as_secs_f64());
    write!(text, "Versions: {}. Medians of {samples} samples of {seconds} s.\n\n", versions.join(", "))
        .expect("a string takes what is written");
    for missing in &bench.missing {
        write!(text, "Not compared: {missing}.\n\n").expect("a string takes what is written");
    }
    text.push_str(&table(&report.outcomes));
    text.push_str(&details(&report.outcomes));
    text
}

/// Returns a line for each case: the server's figure, and whether it reaches its bounds.
pub(super) fn brief(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let figure = cell(outcome.cells.get(&Peer::Yatagarasu));
        for (peer, cell) in &outcome.cells {
            if let Cell::Failed(reason) = cell {
                writeln!(text, "{}, {}: failed: {reason}", outcome.case.title(), peer.label())
                    .expect("a string takes what is written");
            }
        }
        writeln!(text, "{}: {figure} {}; {}", outcome.case.title(), outcome.case.unit(), judged(outcome))
            .expect("a string takes what is written");
    }
    text
}

/// Returns the table: a line for each case, a column for each proxy, and whether the server reaches its bounds.
fn table(outcomes: &[Outcome]) -> String {
    let mut head = vec!["case".to_owned(), "unit".to_owned()];
    head.extend(Peer::ALL.map(|peer| peer.label().to_owned()));
    head.push("reached (must; aim)".to_owned());
    let mut lines = vec![head];
    for outcome in outcomes {
        let mut line = vec![outcome.case.title().to_owned(), outcome.case.unit().to_owned()];
        line.extend(Peer::ALL.map(|peer| cell(outcome.cells.get(&peer))));
        line.push(judged(outcome));
        lines.push(line);
    }
    aligned(&lines)
}

fn cell(cell: Option<&Cell>) -> String {
    match cell {
        Some(Cell::Measured { value, .. }) => number(*value),
        Some(Cell::Failed(_)) => "failed".to_owned(),
        None => "-".to_owned(),
    }
}

/// Returns each bound of a case with the figure reached.
fn judged(outcome: &Outcome) -> String {
    let judge = |bound: Bound| {
        let against = match bound.against {
            Against::Peer(peer) => format!("{} ", peer.label()),
            Against::Best => "best ".to_owned(),
            Against::Itself => String::new(),
        };
        let aim = bound.aim.map(|aim| format!("; {aim}")).unwrap_or_default();
        let bounds = format!("({}{aim})", bound.must);
        let Some(figure) = outcome.figure(bound.against) else { return format!("{against}? {bounds}") };
        let word = match bound.verdict(outcome.case.better(), figure) {
            Verdict::Aim => "aim",
            Verdict::Must => "must",
            Verdict::Missed => "**missed**",
        };
        match bound.against {
            Against::Peer(_) | Against::Best => format!("{against}{figure:.2}x {word} {bounds}"),
            Against::Itself => format!("{word} {bounds}"),
        }
    };
    outcome.case.bounds().into_iter().map(judge).collect::<Vec<_>>().join(", ")
}

/// Returns a Markdown table of `lines`. The first line is its head.
fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for (place, line) in lines.iter().enumerate() {
        for (cell, &width) in line.iter().zip(&widths) {
            write!(text, "| {cell:<width$} ").expect("a string takes what is written");
        }
        text.push_str("|\n");
        if place == 0 {
            for &width in &widths {
                write!(text, "|{}", "-".repeat(width + 2)).expect("a string takes what is written");
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Returns the details that do not fit into the table, and the reasons for failures.
fn details(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        for (peer, cell) in &outcome.cells {
            let detail = match cell {
                Cell::Measured { detail, .. } if detail.is_empty() => continue,
                Cell::Measured { detail, .. } => detail.clone(),
                Cell::Failed(reason) => format!("failed: {reason}"),
            };
            writeln!(text, "- {}, {}: {detail}", outcome.case.title(), peer.label())
                .expect("a string takes what is written");
        }
    }
    if text.is_empty() { text } else { format!("\nBesides:\n\n{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;

    fn measured(value: f64, detail: &str) -> Cell {
        Cell::Measured { value, detail: detail.to_owned() }
    }

    fn outcomes() -> [Outcome; 2] {
        let hits = [
            (Peer::Yatagarasu, measured(80_000.4, "busy")),
            (Peer::Nginx, measured(40_000.0, "")),
            (Peer::Haproxy, measured(70_000.0, "")),
            (Peer::Varnish, Cell::Failed("status 503".to_owned())),
        ];
        let start = [(Peer::Yatagarasu, measured(60.0, ""))];
        [
            Outcome { case: Case::Hit1k, cells: hits.into() },
            Outcome { case: Case::StartTime, cells: start.into() },
        ]
    }

    #[test]
    fn the_table_shows_figures_ratios_and_what_is_reached() {
        let table = table(&outcomes());
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        let length = lines[0].len();
        assert!(lines.iter().all(|line| line.len() == length), "{table}");
        assert!(lines[1].chars().all(|character| "|-".contains(character)), "{table}");
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            squeezed(lines[2]),
            "| hit, 1 KiB | requests/s | 80,000 | 40,000 | 70,000 | failed | \
             nginx 2.00x aim (1.5; 2), HAProxy 1.14x **missed** (1.3; 2), Varnish ? (2; 3) |"
        );
        assert_eq!(squeezed(lines[3]), "| start to listening | ms | 60.0 | - | - | - | nginx ? (2; 1) |");
    }

    #[test]
    fn a_quick_run_prints_a_line_for_each_figure() {
        assert_eq!(
            brief(&outcomes()),
            "hit, 1 KiB, Varnish: failed: status 503\n\
             hit, 1 KiB: 80,000 requests/s; \
             nginx 2.00x aim (1.5; 2), HAProxy 1.14x **missed** (1.3; 2), Varnish ? (2; 3)\n\
             start to listening: 60.0 ms; nginx ? (2; 1)\n"
        );
    }

    #[test]
    fn details_and_failures_are_told_below() {
        let text = details(&outcomes());
        assert_eq!(
            text,
            "\nBesides:\n\n- hit, 1 KiB, Yatagarasu: busy\n- hit, 1 KiB, Varnish: failed: status 503\n"
        );
        assert_eq!(details(&[]), "");
    }
}
