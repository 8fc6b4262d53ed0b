//! Tables: printed plainly, and written as CSV for the script that draws them.

use std::{fs, path::PathBuf};

use super::options::Options;

/// A table of figures.
pub(crate) struct Table {
    title: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(
        title: &'static str,
        columns: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        Self {
            title,
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells: Vec<_> = cells.into_iter().map(Into::into).collect();
        assert_eq!(cells.len(), self.columns.len(), "{cells:?}");
        self.rows.push(cells);
    }

    /// Prints it, and writes it to `target/figures/`.
    pub(crate) fn done(&self, file: &str, options: &Options) {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| row[column].chars().count());
                cells.chain([self.columns[column].len()]).max().unwrap_or(0)
            })
            .collect();
        println!("\n{}", self.title);
        let head = self.columns.iter().map(|name| (*name).to_owned()).collect();
        for row in [&head].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Numbers to the right, words to the left.
                if line.is_empty() {
                    line.push_str(&format!("{cell:width$}"));
                } else {
                    line.push_str(&format!("  {cell:>width$}"));
                }
            }
            println!("{}", line.trim_end());
        }

        let mut csv = String::new();
        for row in [&head].into_iter().chain(&self.rows) {
            let cells: Vec<_> = row.iter().map(|cell| quoted(cell)).collect();
            csv.push_str(&cells.join(","));
            csv.push('\n');
        }
        let path = figures(options).join(format!("{file}.csv"));
        fs::write(&path, csv).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Where figures are written: `target/figures/` of tower-bearer's own tree, whichever crate this is. Those of a short run mean
/// nothing, and replace no others.
pub(crate) fn figures(options: &Options) -> PathBuf {
    let mut path = root().join("target/figures");
    if options.test {
        path.push("short");
    }
    fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// tower-bearer's own tree.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    match here.ends_with("benches/peers") {
        true => here.join("../.."),
        false => here,
    }
}

/// `1.23`, or a dash for what is none.
pub(crate) fn ratio(value: f64) -> String {
    match value.is_finite() {
        true => format!("{value:.2}"),
        false => NONE.into(),
    }
}

/// What a cell says where there is no figure.
pub(crate) const NONE: &str = "–";

fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.into(),
    }
}
