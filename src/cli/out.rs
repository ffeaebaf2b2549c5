//! Output of the commands. When the reader closes the pipe (`| head`), writing stops without an error or a
//! panic.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use serde::Serialize;

use crate::db;

/// The first error of standard output that is not a closed pipe.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Writes a line to standard output.
pub(super) fn line(text: &str) {
    try_line(text);
}

/// Like [`line`]. Returns `false` if standard output cannot be written or its reader has closed the pipe.
pub(super) fn try_line(text: &str) -> bool {
    write_text(&format!("{text}\n"))
}

fn write_text(text: &str) -> bool {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                FAILURE.set(error).ok();
            }
            false
        }
    }
}

/// Why standard output is incomplete, for example because the disk is full. `None` if the reader closed the
/// pipe.
pub(super) fn failure() -> Option<&'static io::Error> {
    FAILURE.get()
}

/// Writes a problem to standard error.
pub(super) fn problem(text: &str) {
    writeln!(std::io::stderr().lock(), "{text}").ok();
}

/// Writes pretty-printed JSON to standard output.
pub(super) fn json(data: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(data)?);
    Ok(())
}

/// A table with aligned columns. Rows are written in blocks, so that a long table needs little memory; the
/// width of a column may grow from one block to the next.
pub(super) struct Table<const N: usize> {
    widths: [usize; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// Rows of a block.
    const BLOCK: usize = 1000;

    pub(super) fn new(headings: [&str; N]) -> Self {
        Self { widths: [0; N], rows: vec![headings.map(str::to_owned)] }
    }

    pub(super) fn row(&mut self, row: [String; N]) {
        self.rows.push(row);
        if self.rows.len() >= Self::BLOCK {
            self.write();
        }
    }

    pub(super) fn end(mut self) {
        self.write();
    }

    fn write(&mut self) {
        for row in &self.rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in self.rows.drain(..) {
            let cells = row.iter().zip(self.widths);
            let padded: Vec<String> =
                cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
            line(padded.join("  ").trim_end());
        }
    }
}

/// Writes a table.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) {
    let mut table = Table::new(headings);
    for row in rows {
        table.row(row.clone());
    }
    table.end();
}

/// A JSON array that is written element by element.
#[derive(Default)]
pub(super) struct JsonArray {
    is_begun: bool,
}

impl JsonArray {
    pub(super) fn element(&mut self, data: &serde_json::Value) {
        let before = if self.is_begun { ",\n  " } else { "[\n  " };
        write_text(&format!("{before}{}", format!("{data:#}").replace('\n', "\n  ")));
        self.is_begun = true;
    }

    pub(super) fn end(self) {
        line(if self.is_begun { "\n]" } else { "[]" });
    }
}

/// A list that is printed as a table or, with `--json`, as an array.
pub(super) enum List<const N: usize> {
    Table(Table<N>),
    Json(JsonArray),
}

impl<const N: usize> List<N> {
    pub(super) fn new(json: bool, headings: [&str; N]) -> Self {
        if json { Self::Json(JsonArray::default()) } else { Self::Table(Table::new(headings)) }
    }

    pub(super) fn add(
        &mut self,
        row: impl FnOnce() -> [String; N],
        data: impl FnOnce() -> serde_json::Value,
    ) {
        match self {
            Self::Table(table) => table.row(row()),
            Self::Json(array) => array.element(&data()),
        }
    }

    pub(super) fn end(self) {
        match self {
            Self::Table(table) => table.end(),
            Self::Json(array) => array.end(),
        }
    }
}

/// Rows of one query of a list.
const PAGE_SIZE: i64 = 5000;

/// The sizes of the pages of a list of at most `limit` rows.
pub(super) fn pages(limit: i64) -> impl Iterator<Item = i64> {
    let starts = (0..limit).step_by(PAGE_SIZE as usize);
    starts.map(move |start| (limit - start).min(PAGE_SIZE))
}

/// Writes a bar for each count. The longest is 40 columns wide.
pub(super) fn histogram(title: &str, rows: &[(&str, i64)]) {
    const WIDTH: f64 = 40.0;
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or_default();
    if most == 0 {
        return;
    }
    let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
    line(&format!("\n{title}"));
    for (label, count) in rows {
        // In eighths of a column, rounded up, so that a small count is visible.
        let eighths = (*count as f64 / most as f64 * WIDTH * 8.0).ceil() as usize;
        let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
        let bar = "█".repeat(eighths / 8) + rest;
        line(format!("  {label:<width$}  {bar} {count}").trim_end());
    }
}

/// A progress bar on standard error, shown only if that is a terminal.
pub(super) struct Progress {
    total: u64,
    is_shown: bool,
}

impl Progress {
    pub(super) fn new(total: u64) -> Self {
        Self { total, is_shown: std::io::stderr().is_terminal() && total > 0 }
    }

    pub(super) fn show(&self, done: u64) {
        if self.is_shown {
            const WIDTH: u64 = 30;
            let filled = (done.min(self.total) * WIDTH / self.total.max(1)) as usize;
            let bar = "█".repeat(filled) + &"░".repeat(WIDTH as usize - filled);
            let mut error = std::io::stderr().lock();
            write!(error, "\r{bar} {done} of {}", self.total.max(done)).ok();
            error.flush().ok();
        }
    }

    pub(super) fn end(self) {
        if self.is_shown {
            writeln!(std::io::stderr().lock()).ok();
        }
    }
}

/// An error with its causes, as one sentence. An email at its beginning stays as it is.
pub(super) fn sentence(error: &anyhow::Error) -> String {
    let mut text = db::explain(error);
    let begins_with_email = text.split(' ').next().is_some_and(|word| word.contains('@'));
    if let Some(first) = text.get(..1).map(str::to_uppercase)
        && !begins_with_email
    {
        text.replace_range(..1, &first);
    }
    if !text.ends_with(['.', '!', '?', '\n']) {
        text.push('.');
    }
    text
}
