//! Lays out text in columns.

/// Returns the rows in columns, two spaces apart. The first `text_columns` are left-aligned, all others
/// right-aligned.
///
/// All rows have the same number of cells.
pub(super) fn table(rows: &[Vec<String>], text_columns: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column < text_columns {
                format!("{cell:<width$}", width = *width)
            } else {
                format!("{cell:>width$}", width = *width)
            }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_cell_sets_the_width() {
        let rows = [["a", "b", "c"], ["\u{e9}\u{e9}", "1", "100"], ["", "22", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, 1), "a    b    c\n\u{e9}\u{e9}   1  100\n    22\n");
        assert_eq!(table(&[], 1), "");
    }
}
