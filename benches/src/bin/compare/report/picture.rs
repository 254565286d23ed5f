//! The table as a picture: an SVG with a group of bars for each case.

use std::fmt::Write;

use super::Outcome;
use super::number::number;
use crate::case::Better;
use crate::peer::Peer;

/// Groups side by side.
const COLUMNS: u32 = 2;

// All of these are in pixels.
const COLUMN: u32 = 460;
const MARGIN: u32 = 20;
const TITLE: u32 = 24;
const BAR: u32 = 18;
const BARS: u32 = 4 * BAR; // one for each proxy
const GAP: u32 = 16;
const NAME: u32 = 80;
const LONGEST: u32 = 250;

/// Draws the outcomes and returns the SVG. A case without any figure is left out.
pub(super) fn draw(outcomes: &[Outcome]) -> String {
    let groups: Vec<_> = outcomes.iter().filter(|outcome| most(outcome).is_some()).collect();
    let (width, group_height) = (2 * MARGIN + COLUMNS * COLUMN, TITLE + BARS + GAP);
    let count = u32::try_from(groups.len()).unwrap_or(u32::MAX);
    let height = 2 * MARGIN + count.div_ceil(COLUMNS) * group_height;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>Yatagarasu beside nginx, HAProxy and Varnish</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (place, outcome) in (0_u32..).zip(groups) {
        let left = MARGIN + place % COLUMNS * COLUMN;
        let top = MARGIN + place / COLUMNS * group_height;
        group(&mut svg, outcome, left, top);
    }
    svg.push_str("</svg>\n");
    svg
}

fn group(svg: &mut String, outcome: &Outcome, left: u32, top: u32) {
    let case = outcome.case;
    let better = match case.better() {
        Better::More => "more is better",
        Better::Less => "less is better",
    };
    let title = escaped(&format!("{} ({}, {better})", case.title(), case.unit()));
    let base = top + TITLE - 8;
    writeln!(svg, "<text x=\"{left}\" y=\"{base}\" font-weight=\"bold\" fill=\"#1f2933\">{title}</text>")
        .expect("a string takes what is written");
    let most = most(outcome).unwrap_or_default();
    for (place, peer) in (0_u32..).zip(Peer::ALL) {
        let top = top + TITLE + place * BAR;
        let base = top + BAR - 6;
        let name = escaped(peer.label());
        write!(svg, "<text x=\"{left}\" y=\"{base}\" fill=\"#1f2933\">{name}</text>")
            .expect("a string takes what is written");
        let (from, high) = (left + NAME, BAR - 4);
        let (length, said) = match outcome.value(peer) {
            Some(value) => (length(value, most), number(value)),
            None if outcome.failed(peer) => (0.0, "failed".to_owned()),
            None => (0.0, "not measured".to_owned()),
        };
        let (behind, colour) = (f64::from(from + 6) + length, colour(peer));
        writeln!(
            svg,
            "<rect x=\"{from}\" y=\"{top}\" width=\"{length:.1}\" height=\"{high}\" fill=\"{colour}\"/>\
             <text x=\"{behind:.1}\" y=\"{base}\" fill=\"#1f2933\">{said}</text>"
        )
        .expect("a string takes what is written");
    }
}

/// Returns the largest figure of a case.
fn most(outcome: &Outcome) -> Option<f64> {
    Peer::ALL.into_iter().filter_map(|peer| outcome.value(peer)).reduce(f64::max)
}

/// Returns the length of a bar. The bar of `most` has the full length, and a figure that is not positive has none.
fn length(value: f64, most: f64) -> f64 {
    let full = f64::from(LONGEST);
    if most > 0.0 && value > 0.0 { (value / most * full).clamp(1.0, full) } else { 0.0 }
}

fn colour(peer: Peer) -> &'static str {
    match peer {
        Peer::Yatagarasu => "#0b6e4f",
        Peer::Nginx => "#6c8ebf",
        Peer::Haproxy => "#9aa5b1",
        Peer::Varnish => "#c9b458",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::report::Cell;

    #[test]
    fn the_largest_figure_has_the_longest_bar() {
        for (value, most, expected) in [
            (80.0, 80.0, 250.0),
            (40.0, 80.0, 125.0),
            (0.0, 80.0, 0.0),
            (0.001, 80.0, 1.0),
            (-5.0, 80.0, 0.0),
            (-5.0, -5.0, 0.0),
            (0.0, 0.0, 0.0),
            (f64::NAN, 80.0, 0.0),
        ] {
            let length = length(value, most);
            assert!((length - expected).abs() < 1e-9, "{value} of {most}: {length}, not {expected}");
        }
    }

    #[test]
    fn there_is_a_group_for_each_case_that_was_measured() {
        let measured = |value| Cell::Measured { value, detail: String::new() };
        let hits = [(Peer::Yatagarasu, measured(2000.0)), (Peer::Nginx, Cell::Failed("a < b".to_owned()))];
        let nothing = [(Peer::Yatagarasu, Cell::Failed("why".to_owned()))];
        let svg = draw(&[
            Outcome { case: Case::Hit1k, cells: hits.into() },
            Outcome { case: Case::Hit10k, cells: nothing.into() },
        ]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("hit, 1 KiB (requests/s, more is better)") && !svg.contains("10 KiB"), "{svg}");
        assert!(
            svg.contains(">2,000<") && svg.contains(">failed<") && svg.contains(">not measured<"),
            "{svg}"
        );
        assert_eq!(svg.matches("<rect ").count(), 1 + Peer::ALL.len());
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("a < b & c > d"), "a &lt; b &amp; c &gt; d");
    }
}
