//! Tables for people: columns that are as wide as their longest cell.

/// The lines of a table. Stored text in `rows` must be escaped.
pub(crate) fn format_table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let width_of = |cell: &str| cell.chars().count();
    let cells = || std::iter::once(header).chain(rows.iter().map(|row| row.each_ref().map(String::as_str)));
    let widths: [usize; N] = std::array::from_fn(|column| cells().map(|row| width_of(row[column])).max().unwrap_or(0));
    let format_row = |row: [&str; N]| {
        let pad = |(cell, width): (&&str, usize)| format!("{cell}{}", " ".repeat(width - width_of(cell)));
        row.iter().zip(widths).map(pad).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells().map(format_row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [["a".to_owned(), "1".to_owned()], ["wörter".to_owned(), String::new()]];
        assert_eq!(format_table(["x", "number"], &rows), ["x       number", "a       1", "wörter"]);
    }
}
