//! Reads JSON Lines: one object per line.

use std::io::{self, BufRead};

use serde_json::{Map, Value};

use super::columns::{Column, Fields, Record, refusal};
use super::lines::Lines;

pub(super) struct Jsonl<R> {
    lines: Lines<R>,
    /// Unknown keys that may be similar to known ones.
    ignored: Vec<String>,
}

impl<R: BufRead> Jsonl<R> {
    pub(super) fn new(lines: Lines<R>, ignored: &[String]) -> Self {
        Self { lines, ignored: ignored.to_vec() }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        while let Some(line) = self.lines.next()? {
            let fields = match line.text {
                None => Err("the line is longer than 64 KiB".to_owned()),
                Some(text) if text.trim_ascii().is_empty() => continue,
                Some(text) => read(&text, &self.ignored),
            };
            return Ok(Some(Record { line: line.number, fields }));
        }
        Ok(None)
    }
}

fn read(text: &[u8], ignored: &[String]) -> Result<Fields, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the line is not UTF-8".to_owned())?;
    // The parser's own error would quote the input.
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| "the line is not a JSON object".to_owned())?;
    let mut fields = Fields::default();
    for (key, value) in object {
        let Some(column) = Column::named(&key) else {
            let is_ignored = ignored.contains(&key);
            match Column::similar(&key).filter(|_| !is_ignored) {
                Some(known) => return Err(refusal("a key", known)),
                None => continue,
            }
        };
        let value = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Bool(value) => value.to_string(),
            _ => return Err("a value is neither a string nor a boolean".to_owned()),
        };
        fields.set(column, value);
    }
    Ok(fields)
}
