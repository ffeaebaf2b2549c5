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
    match writeln!(std::io::stdout().lock(), "{text}") {
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

/// Writes a table with aligned columns.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or_default()
    };
    let print = |cells: [&str; N]| {
        let padded: Vec<String> = cells
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:<width$}", width = width(column)))
            .collect();
        line(padded.join("  ").trim_end());
    };
    print(headings);
    for row in rows {
        print(std::array::from_fn(|column| row[column].as_str()));
    }
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

    /// Shows only every 250th value.
    pub(super) fn show_sometimes(&self, done: u64) {
        if done.is_multiple_of(250) {
            self.show(done);
        }
    }

    pub(super) fn end(self) {
        if self.is_shown {
            writeln!(std::io::stderr().lock()).ok();
        }
    }
}

/// An error with its causes, as one sentence.
pub(super) fn sentence(error: &anyhow::Error) -> String {
    let mut text = db::explain(error);
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
    }
    if !text.ends_with(['.', '!', '?', '\n']) {
        text.push('.');
    }
    text
}
