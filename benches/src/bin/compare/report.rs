//! What was measured, as a table and as a picture.

mod markdown;
mod number;
mod picture;

use std::collections::BTreeMap;

use crate::bench::Bench;
use crate::case::{Against, Better, Case};
use crate::machine::Machine;
use crate::peer::Peer;

/// What one proxy reached in one case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// A figure, in the case's unit, and what else there is to say.
    Measured { value: f64, detail: String },
    /// Why there is none.
    Failed(String),
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) case: Case,
    /// Without those who were not measured.
    pub(crate) cells: BTreeMap<Peer, Cell>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) machine: Machine,
    pub(crate) bench: &'a Bench,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Report<'_> {
    /// As Markdown, with columns that line up.
    pub(crate) fn text(&self) -> String {
        markdown::text(self)
    }

    /// As SVG.
    pub(crate) fn picture(&self) -> String {
        picture::draw(&self.outcomes)
    }
}

impl Outcome {
    /// Whether this proxy could not be measured.
    pub(crate) fn failed(&self, peer: Peer) -> bool {
        matches!(self.cells.get(&peer), Some(Cell::Failed(_)))
    }

    /// What this proxy reached.
    pub(crate) fn value(&self, peer: Peer) -> Option<f64> {
        match self.cells.get(&peer)? {
            Cell::Measured { value, .. } => Some(*value),
            Cell::Failed(_) => None,
        }
    }

    /// The server's figure as a bound wants it: as it is, or as the ratio to another's.
    pub(crate) fn figure(&self, against: Against) -> Option<f64> {
        let ours = self.value(Peer::Yatagarasu)?;
        match against {
            Against::Itself => Some(ours),
            Against::Peer(peer) => Some(ours / self.value(peer)?),
            Against::Best => Some(ours / self.best()?),
        }
    }

    /// The best of the peers' figures.
    fn best(&self) -> Option<f64> {
        let peers = Peer::ALL.into_iter().filter(|&peer| peer != Peer::Yatagarasu);
        peers.filter_map(|peer| self.value(peer)).reduce(match self.case.better() {
            Better::More => f64::max,
            Better::Less => f64::min,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(case: Case, values: [f64; 3], against: Against, expected: Option<f64>) {
        let measured = |value| Cell::Measured { value, detail: String::new() };
        let peers = [Peer::Yatagarasu, Peer::Nginx, Peer::Haproxy];
        let cells = peers.into_iter().zip(values.map(measured)).collect();
        let figure = Outcome { case, cells }.figure(against);
        let same = match (figure, expected) {
            (Some(figure), Some(expected)) => (figure - expected).abs() < 1e-9,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        assert!(same, "{figure:?}, not {expected:?}");
    }

    #[test]
    fn figures_are_ratios_to_one_or_to_the_best_peer() {
        check(Case::Hit1k, [30.0, 20.0, 10.0], Against::Itself, Some(30.0));
        check(Case::Hit1k, [30.0, 20.0, 10.0], Against::Peer(Peer::Haproxy), Some(3.0));
        check(Case::Hit1k, [30.0, 20.0, 10.0], Against::Peer(Peer::Varnish), None);
        check(Case::Hit100k, [30.0, 20.0, 10.0], Against::Best, Some(1.5));
        check(Case::P99, [30.0, 20.0, 10.0], Against::Best, Some(3.0));
    }

    #[test]
    fn what_failed_has_no_figure() {
        let cells = [(Peer::Yatagarasu, Cell::Failed("why".to_owned()))].into();
        let outcome = Outcome { case: Case::Hit1k, cells };
        assert!(outcome.failed(Peer::Yatagarasu) && !outcome.failed(Peer::Nginx));
        assert_eq!(outcome.figure(Against::Itself), None);
    }
}
