//! Reads and writes CSV (RFC 4180) with a header line. The delimiter is a comma, a semicolon or a tab,
//! because spreadsheets write all of them, depending on the locale. An unclosed quotation mark invalidates
//! only its own line, not the rest of the file.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use csv_core::{ReadFieldResult, Reader, ReaderBuilder};

use super::columns::{Column, Fields, Record, refusal};
use super::lines::{Line, Lines, MAX_LENGTH};

/// The maximum number of continuation lines of a value with line breaks.
const MAX_FURTHER_LINES: usize = 64;
/// A spreadsheet reads a value that starts with one of these as a formula (OWASP, CSV Injection).
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

pub(super) struct Csv<R> {
    lines: Lines<R>,
    /// Lines that were read ahead in search of a closing quotation mark.
    ahead: VecDeque<Line>,
    reader: Reader,
    delimiter: u8,
    columns: Vec<Option<Column>>,
}

impl<R: BufRead> Csv<R> {
    /// Reads the header line. `Err` says why it is invalid. `ignored`: unknown columns that may be similar to
    /// known ones.
    pub(super) fn new(mut lines: Lines<R>, ignored: &[String]) -> io::Result<Result<Self, String>> {
        let first = lines.next()?.and_then(|line| line.text).unwrap_or_default();
        for delimiter in [b',', b';', b'\t'] {
            let mut reader = ReaderBuilder::new().delimiter(delimiter).build();
            let Some(names) = split(&mut reader, &first) else { continue };
            let columns: Vec<_> = names.iter().map(|name| Column::named(name)).collect();
            let known: Vec<_> = columns.iter().flatten().collect();
            if !known.contains(&&Column::Email) {
                continue;
            }
            if (1..known.len()).any(|at| known[..at].contains(&known[at])) {
                return Ok(Err("two columns have the same name".to_owned()));
            }
            for (at, name) in names.iter().enumerate().filter(|(at, _)| columns[*at].is_none()) {
                let is_ignored = ignored.iter().any(|ignored| ignored == name.trim());
                if let Some(known) = Column::similar(name).filter(|_| !is_ignored) {
                    return Ok(Err(refusal(&format!("column {}", at + 1), known)));
                }
            }
            return Ok(Ok(Self { lines, ahead: VecDeque::new(), reader, delimiter, columns }));
        }
        Ok(Err("the first line must name the columns, and one of them must be email".to_owned()))
    }

    /// The positions, from one, of unknown columns.
    pub(super) fn unknown_columns(&self) -> Vec<String> {
        let unknown = self.columns.iter().enumerate().filter(|(_, column)| column.is_none());
        unknown.map(|(at, _)| (at + 1).to_string()).collect()
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let Some(first) = self.line()? else { return Ok(None) };
            let Some(text) = first.text else {
                let fields = Err("the line is longer than 64 KiB".to_owned());
                return Ok(Some(Record { line: first.number, fields }));
            };
            if text.trim_ascii().is_empty() {
                continue;
            }
            let (text, further_lines, is_closed) = self.read_quoted(text)?;
            let fields = if is_closed {
                self.fields(&text)
            } else {
                Err("a quotation mark is not closed".to_owned())
            };
            if fields.is_err() {
                for line in further_lines.into_iter().rev() {
                    self.ahead.push_front(line);
                }
            }
            return Ok(Some(Record { line: first.number, fields }));
        }
    }

    fn line(&mut self) -> io::Result<Option<Line>> {
        match self.ahead.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.lines.next(),
        }
    }

    /// Appends further lines to `text` until its quotation marks are closed. Returns the text, the further
    /// lines, and whether the quotation marks are closed.
    fn read_quoted(&mut self, mut text: Vec<u8>) -> io::Result<(Vec<u8>, Vec<Line>, bool)> {
        let mut further_lines = Vec::new();
        let mut is_open = has_odd_quotes(&text);
        while is_open {
            let Some(line) = self.line()? else { break };
            let part = line.text.clone();
            further_lines.push(line);
            let Some(part) = part else { break };
            if text.len() + part.len() > MAX_LENGTH || further_lines.len() > MAX_FURTHER_LINES {
                break;
            }
            is_open ^= has_odd_quotes(&part);
            text.push(b'\n');
            text.extend(part);
        }
        Ok((text, further_lines, !is_open))
    }

    fn fields(&mut self, text: &[u8]) -> Result<Fields, String> {
        let text = std::str::from_utf8(text).map_err(|_| "the line is not UTF-8".to_owned())?;
        if !is_well_quoted(text.as_bytes(), self.delimiter) {
            return Err("a quotation mark is in the wrong place".to_owned());
        }
        let values = split(&mut self.reader, text.as_bytes())
            .ok_or_else(|| "the line cannot be read as CSV".to_owned())?;
        if values.len() != self.columns.len() {
            return Err(format!(
                "the line has {} fields and the first line has {}",
                values.len(),
                self.columns.len()
            ));
        }
        let mut fields = Fields::default();
        for (column, value) in self.columns.iter().zip(values) {
            match column {
                Some(column @ (Column::Email | Column::DisplayName)) => {
                    fields.set(*column, unescape_formula(value));
                }
                Some(column) => fields.set(*column, value),
                None => {}
            }
        }
        Ok(fields)
    }
}

fn has_odd_quotes(text: &[u8]) -> bool {
    text.iter().filter(|byte| **byte == b'"').count() % 2 == 1
}

/// Whether each quotation mark opens a value, closes one, or is doubled inside one. The parser also accepts
/// misplaced quotation marks, so a missing one could merge several users into one value.
fn is_well_quoted(text: &[u8], delimiter: u8) -> bool {
    let (mut is_start, mut is_within) = (true, false);
    let mut rest = text.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match (byte, is_within) {
            (b'"', false) if is_start => is_within = true,
            (b'"', false) => return false,
            (b'"', true) => match rest.peek() {
                Some(b'"') => {
                    rest.next();
                }
                None => is_within = false,
                Some(next) if *next == delimiter => is_within = false,
                Some(_) => return false,
            },
            _ => {}
        }
        is_start = !is_within && byte == delimiter;
    }
    !is_within
}

/// The values of one record; `None` if it is not UTF-8.
fn split(reader: &mut Reader, text: &[u8]) -> Option<Vec<String>> {
    reader.reset();
    let mut values = Vec::new();
    let mut value = vec![0; text.len() + 1];
    let (mut rest, mut filled) = (text, 0);
    loop {
        let (result, used, written) = reader.read_field(rest, &mut value[filled..]);
        rest = &rest[used..];
        filled += written;
        match result {
            // The next call gets empty input, which ends the record.
            ReadFieldResult::InputEmpty => {}
            ReadFieldResult::Field { record_end } => {
                values.push(std::str::from_utf8(&value[..filled]).ok()?.to_owned());
                filled = 0;
                if record_end {
                    return Some(values);
                }
            }
            ReadFieldResult::OutputFull => return None,
            ReadFieldResult::End => return (!values.is_empty()).then_some(values),
        }
    }
}

fn is_formula(value: &str) -> bool {
    value.trim_start_matches('\'').starts_with(FORMULA)
}

/// Adds an apostrophe to a value that a spreadsheet would evaluate.
fn escape_formula(value: &str) -> String {
    if is_formula(value) { format!("'{value}") } else { value.to_owned() }
}

/// Removes the apostrophe of [`escape_formula`].
fn unescape_formula(value: String) -> String {
    match value.strip_prefix('\'') {
        Some(rest) if is_formula(rest) => rest.to_owned(),
        _ => value,
    }
}

/// Encodes a value for an export.
pub(super) fn encode(column: Column, value: &str) -> String {
    let value = match column {
        Column::Email | Column::DisplayName => escape_formula(value),
        _ => value.to_owned(),
    };
    quote(value)
}

/// Puts a value in quotation marks if it needs them.
pub(super) fn quote(value: String) -> String {
    if value.contains(['"', ',', ';', '\t', '\r', '\n']) || value.trim() != value {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<Result<Option<String>, String>> {
        let mut csv = Csv::new(Lines::new(text.as_bytes()), &[]).unwrap().unwrap();
        let mut found = Vec::new();
        while let Some(record) = csv.next().unwrap() {
            let name = record.fields.map(|one| one.get(Column::DisplayName).map(str::to_owned));
            found.push(name.map_err(|reason| format!("{}: {reason}", record.line)));
        }
        found
    }

    #[test]
    fn encoded_values_are_read_back() {
        for name in
            ["Ada", "=1+1", "'=1+1", "''@x", "'Ada", "+49", "-", "a\"b, c;d", "\"", "O'Neil"]
        {
            let text = format!(
                "email,display_name\nada@example.com,{}\n",
                encode(Column::DisplayName, name)
            );
            assert_eq!(names(&text), [Ok(Some(name.to_owned()))], "{text}");
        }
        assert_eq!(encode(Column::DisplayName, "=1+1"), "'=1+1");
    }

    #[test]
    fn an_unclosed_quotation_mark_invalidates_one_line() {
        let text =
            "email;display_name\r\na;\"Ada\r\nb;Bob\r\nc;\"C\nD\"\r\n\r\ne;E\"e\r\nf;\"Eve\r\n";
        let name = |name: &str| Ok(Some(name.to_owned()));
        let misplaced = "a quotation mark is in the wrong place";
        assert_eq!(
            names(text),
            [
                Err(format!("2: {misplaced}")),
                name("Bob"),
                name("C\nD"),
                Err(format!("7: {misplaced}")),
                Err("8: a quotation mark is not closed".to_owned()),
            ]
        );
    }

    #[test]
    fn a_file_of_unclosed_quotation_marks_is_read_in_bounded_time_and_memory() {
        let text = format!("email,display_name\n{}", "a,\"b\n".repeat(20_000));
        assert_eq!(names(&text).iter().filter(|one| one.is_err()).count(), 20_000);
    }
}
