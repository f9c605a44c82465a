//! Prints a Markdown table whose columns are aligned, so that it is readable in a terminal too.

/// Prints a table. The first column is aligned left, the others right.
pub fn print(head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::from("|");
        for (column, cell) in cells.enumerate() {
            let pad = " ".repeat(width(column) - cell.chars().count());
            out += &if column == 0 { format!(" {cell}{pad} |") } else { format!(" {pad}{cell} |") };
        }
        println!("{out}");
    };
    line(&mut head.iter().copied());
    let rule: Vec<String> = (0..head.len())
        .map(|column| "-".repeat(width(column) - usize::from(column > 0)) + if column > 0 { ":" } else { "" })
        .collect();
    line(&mut rule.iter().map(String::as_str));
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
}

/// A whole number with commas between the thousands.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Prints whether the ratio is within its bound, and returns it.
pub fn verdict(what: &str, ratio: f64, bound: f64, at_most: bool) -> bool {
    let kept = if at_most { ratio <= bound } else { ratio >= bound };
    let sign = if at_most { "at most" } else { "at least" };
    println!("{what}: {ratio:.2} ({sign} {bound:.2}) {}", if kept { "kept" } else { "MISSED" });
    kept
}
