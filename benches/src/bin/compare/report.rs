//! The report: the outcomes as a table and as a picture.

mod markdown;
mod number;
mod picture;

use std::collections::BTreeMap;

use crate::bench::Bench;
use crate::case::{Against, Better, Case};
use crate::machine::Machine;
use crate::peer::Peer;

/// Result of one proxy in one case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// A figure in the case's unit, and further details.
    Measured { value: f64, detail: String },
    /// The reason why there is no figure.
    Failed(String),
}

/// Results of one case: a line of the table.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) case: Case,
    /// Results by proxy. Proxies that were not measured are absent.
    pub(crate) cells: BTreeMap<Peer, Cell>,
}

/// The whole report.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) machine: Machine,
    pub(crate) bench: &'a Bench,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Report<'_> {
    /// Returns the report as Markdown with aligned columns.
    pub(crate) fn text(&self) -> String {
        markdown::text(self)
    }

    /// Returns a line for each figure.
    pub(crate) fn brief(&self) -> String {
        markdown::brief(&self.outcomes)
    }

    /// Returns the picture as SVG.
    pub(crate) fn picture(&self) -> String {
        picture::draw(&self.outcomes)
    }
}

impl Outcome {
    /// Returns whether measuring this proxy failed.
    pub(crate) fn failed(&self, peer: Peer) -> bool {
        matches!(self.cells.get(&peer), Some(Cell::Failed(_)))
    }

    /// Returns the figure of this proxy, if there is one.
    pub(crate) fn value(&self, peer: Peer) -> Option<f64> {
        match self.cells.get(&peer)? {
            Cell::Measured { value, .. } => Some(*value),
            Cell::Failed(_) => None,
        }
    }

    /// Returns the server's figure as a bound needs it: the figure itself, or its ratio to a peer's.
    pub(crate) fn figure(&self, against: Against) -> Option<f64> {
        let ours = self.value(Peer::Yatagarasu)?;
        match against {
            Against::Itself => Some(ours),
            Against::Peer(peer) => Some(ours / self.value(peer)?),
            Against::Best => Some(ours / self.best()?),
        }
    }

    /// Returns the best figure of the peers.
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
