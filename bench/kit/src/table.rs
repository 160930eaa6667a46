//! Plain-text tables.

/// Formats rows below `headings`. The columns named in `right_aligned` are aligned to the right.
pub fn format_table(headings: &[&str], right_aligned: &[&str], rows: &[Vec<String>]) -> String {
    let lines =
        || std::iter::once(headings.iter().map(|head| (*head).to_owned()).collect()).chain(rows.iter().cloned());
    let width = |column: usize| {
        let cells = lines().map(|row: Vec<String>| row.get(column).map_or(0, |cell| cell.chars().count()));
        cells.max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for row in lines() {
        let mut line = String::new();
        for ((cell, width), head) in row.iter().zip(&widths).zip(headings) {
            let blank = " ".repeat(width - cell.chars().count());
            line += &if right_aligned.contains(head) { format!("{blank}{cell}  ") } else { format!("{cell}{blank}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_width_is_the_widest_cell() {
        let rows = [vec!["cloudbox".to_owned(), "7".to_owned()], vec!["时间".to_owned(), "1234".to_owned()]];
        assert_eq!(format_table(&["what", "n"], &["n"], &rows), "what         n\ncloudbox     7\n时间        1234\n");
    }
}
