//! Lines of a file, numbered from one, each in bounded memory, however long it is.

use std::io::{self, BufRead};

/// In bytes. A line of people is a few hundred.
pub(super) const LONGEST: usize = 65_536;

/// A line without its end.
pub(super) struct Line {
    pub(super) number: u64,
    /// `None`: longer than [`LONGEST`]; it was read past.
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

    /// The next one; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        let mut text = Vec::new();
        let (mut has_begun, mut is_long) = (false, false);
        loop {
            let there = self.input.fill_buf()?;
            if there.is_empty() {
                break;
            }
            has_begun = true;
            let end = there.iter().position(|byte| *byte == b'\n');
            let part = &there[..end.unwrap_or(there.len())];
            is_long |= text.len() + part.len() > LONGEST;
            if is_long {
                text.clear();
            } else {
                text.extend_from_slice(part);
            }
            let used = end.map_or(there.len(), |end| end + 1);
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !has_begun {
            return Ok(None);
        }
        self.number += 1;
        if text.ends_with(b"\r") {
            text.pop();
        }
        // Excel and Notepad begin a file with a mark.
        if self.number == 1 && text.starts_with(b"\xEF\xBB\xBF") {
            text.drain(..3);
        }
        Ok(Some(Line { number: self.number, text: (!is_long).then_some(text) }))
    }
}
