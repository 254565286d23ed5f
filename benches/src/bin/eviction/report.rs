//! The table as Markdown.

use std::array;

use crate::replay::{POLICIES, label};
use crate::trace::Scan;

/// A value for each policy.
type Figures<T> = [T; POLICIES.len()];

/// Figures of one popularity, with or without a scan, and one size of the cache.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) exponent: f64,
    pub(crate) scan: Scan,
    /// Size of the cache, in percent of the bytes of all popular objects.
    pub(crate) percent: u64,
    /// Hit ratio of each policy, in percent.
    pub(crate) ratios: Figures<f64>,
}

/// Returns the table: a line for each of `rows`, and their mean below.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = line("zipf", "scan", "cache", &POLICIES.map(|policy| label(policy).to_owned()));
    text.push_str("|------|------|------:|---------:|---------:|---------:|---------:|\n");
    for Row { exponent, scan, percent, ratios } in rows {
        let (exponent, percent) = (format!("{exponent:.1}"), format!("{percent} %"));
        text.push_str(&line(&exponent, scan.label(), &percent, &figures(*ratios)));
    }
    text.push_str(&line("mean", "", "", &figures(mean(rows))));
    text
}

fn line(exponent: &str, scan: &str, percent: &str, figures: &Figures<String>) -> String {
    let [s3fifo, lfu, lru, sieve] = figures;
    format!("| {exponent:<4} | {scan:<4} | {percent:>5} | {s3fifo:>8} | {lfu:>8} | {lru:>8} | {sieve:>8} |\n")
}

/// Formats ratios, with the best in bold. If the digits shown do not distinguish several best ratios, all of them are
/// bold.
fn figures(ratios: Figures<f64>) -> Figures<String> {
    let best = format!("{:.1}", ratios.into_iter().fold(0.0, f64::max));
    ratios.map(|ratio| {
        let figure = format!("{ratio:.1}");
        if figure == best { format!("**{figure}**") } else { figure }
    })
}

fn mean(rows: &[Row]) -> Figures<f64> {
    let count = f64::from(u32::try_from(rows.len()).expect("there are few rows"));
    array::from_fn(|policy| rows.iter().map(|row| row.ratios[policy]).sum::<f64>() / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_the_best_in_bold_and_the_mean_below() {
        let rows = [
            Row { exponent: 0.7, scan: Scan::Absent, percent: 1, ratios: [20.0, 30.0, 10.0, 29.96] },
            Row { exponent: 1.1, scan: Scan::Present, percent: 20, ratios: [81.0, 80.0, 70.0, 79.0] },
        ];
        let expected = "\
            | zipf | scan | cache |   s3fifo |      lfu |      lru |    sieve |\n\
            |------|------|------:|---------:|---------:|---------:|---------:|\n\
            | 0.7  | no   |   1 % |     20.0 | **30.0** |     10.0 | **30.0** |\n\
            | 1.1  | yes  |  20 % | **81.0** |     80.0 |     70.0 |     79.0 |\n\
            | mean |      |       |     50.5 | **55.0** |     40.0 |     54.5 |\n";
        assert_eq!(table(&rows), expected);
    }
}
