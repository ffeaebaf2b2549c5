//! Reads the lines of a file, numbered from one. Memory is bounded even if a line is very long.

use std::io::{self, BufRead};

/// In bytes. A typical line has a few hundred.
pub(super) const MAX_LENGTH: usize = 65_536;

/// A line without its line break.
pub(super) struct Line {
    pub(super) number: u64,
    /// `None` if it is longer than [`MAX_LENGTH`]; the line was skipped.
    pub(super) text: Option<Vec<u8>>,
}

pub(super) struct Lines<R> {
    input: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, number: 0 }
    }

    /// The next line; `None` at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        let mut text = Vec::new();
        let (mut has_input, mut is_long) = (false, false);
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            has_input = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            is_long |= text.len() + part.len() > MAX_LENGTH;
            if is_long {
                text.clear();
            } else {
                text.extend_from_slice(part);
            }
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !has_input {
            return Ok(None);
        }
        self.number += 1;
        if text.ends_with(b"\r") {
            text.pop();
        }
        // Excel and Notepad write a byte order mark.
        if self.number == 1 && text.starts_with(b"\xEF\xBB\xBF") {
            text.drain(..3);
        }
        Ok(Some(Line { number: self.number, text: (!is_long).then_some(text) }))
    }
}
