//! What the command line says. A reader that went away (`| head`) ends the saying, not the program in a panic.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use serde::Serialize;

/// The first error of standard output that is not a closed pipe.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// A line on standard output.
pub(super) fn line(text: &str) {
    is_heard(text);
}

/// The same; `false` when nobody reads it any more.
pub(super) fn is_heard(text: &str) -> bool {
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

/// Why standard output is incomplete, for example because the disk is full. `None` after a reader closed the pipe.
pub(super) fn failure() -> Option<&'static io::Error> {
    FAILURE.get()
}

/// A problem, on standard error.
pub(super) fn problem(text: &str) {
    writeln!(std::io::stderr().lock(), "{text}").ok();
}

/// Data for machines.
pub(super) fn json(data: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(data)?);
    Ok(())
}

/// Rows under headings, aligned.
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

/// Counts as bars, the longest as wide as the page.
pub(super) fn histogram(title: &str, rows: &[(&str, i64)]) {
    const WIDTH: f64 = 40.0;
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or_default();
    if most == 0 {
        return;
    }
    let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
    line(&format!("\n{title}"));
    for (label, count) in rows {
        // In eighths, so that a few are not nothing.
        let eighths = (*count as f64 / most as f64 * WIDTH * 8.0).ceil() as usize;
        let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
        let bar = "█".repeat(eighths / 8) + rest;
        line(format!("  {label:<width$}  {bar} {count}").trim_end());
    }
}

/// A bar that fills, on a terminal; elsewhere nothing.
pub(super) struct Progress {
    total: u64,
    shown: bool,
}

impl Progress {
    pub(super) fn new(total: u64) -> Self {
        Self { total, shown: std::io::stderr().is_terminal() && total > 0 }
    }

    pub(super) fn at(&self, done: u64) {
        if self.shown {
            const WIDTH: u64 = 30;
            let filled = (done.min(self.total) * WIDTH / self.total.max(1)) as usize;
            let bar = "█".repeat(filled) + &"░".repeat(WIDTH as usize - filled);
            let mut error = std::io::stderr().lock();
            write!(error, "\r{bar} {done} of {}", self.total.max(done)).ok();
            error.flush().ok();
        }
    }

    /// Shows every 250th.
    pub(super) fn at_times(&self, done: u64) {
        if done.is_multiple_of(250) {
            self.at(done);
        }
    }

    pub(super) fn end(self) {
        if self.shown {
            writeln!(std::io::stderr().lock()).ok();
        }
    }
}

/// The causes of an error as one sentence.
pub(super) fn sentence(error: &anyhow::Error) -> String {
    let mut text = format!("{error:#}");
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
    }
    if !text.ends_with(['.', '!', '?', '\n']) {
        text.push('.');
    }
    text
}
