//! Tables as kubectl draws them: no borders, three spaces between columns.

use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::escape::escape_line;

/// Rows under headings, each line ending in a newline. Columns are never
/// narrower than `least`, so that rows that follow later stand under the first
/// ones; the widths that were used come back for that.
pub(super) fn table(
    headings: Option<&[&str]>,
    rows: &[Vec<String>],
    least: &[u16],
) -> (String, Vec<u16>) {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if let Some(headings) = headings {
        table.set_header(headings.iter().map(Cell::new));
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| Cell::new(escape_line(cell))));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 3));
        if let Some(least) = least.get(index) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*least)));
        }
    }
    let widths = table.column_max_content_widths();
    let widths = widths
        .iter()
        .enumerate()
        .map(|(index, width)| (*width + 3).max(least.get(index).copied().unwrap_or(0)))
        .collect();
    let text = table
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    (text, widths)
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_stand_under_each_other_also_later() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let (text, widths) = table(
            Some(&["NAME", "STATUS", "AGE"]),
            &[
                row(["a-long-name", "Ready", "5m"]),
                row(["b", "Off\x1b", "3h"]),
            ],
            &[],
        );
        assert_eq!(
            text,
            "NAME          STATUS    AGE\n\
             a-long-name   Ready     5m\n\
             b             Off\\x1b   3h\n"
        );
        let (text, _) = table(None, &[row(["c", "Booting", "1s"])], &widths);
        assert_eq!(text, "c             Booting   1s\n");
    }
}
