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

const OBJECT: &str = "a key is unknown and has an object as its value. Write what it contains to known keys, remove it, or name it with --ignore";

/// Whether an unknown key has nested keys. They could mean known columns, so they are not dropped silently.
fn has_object(value: &Value) -> bool {
    match value {
        Value::Object(object) => !object.is_empty(),
        Value::Array(values) => values.iter().any(has_object),
        _ => false,
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
            if ignored.contains(&key) {
                continue;
            }
            match Column::similar(&key) {
                Some(known) => return Err(refusal("a key", known)),
                None if has_object(&value) => return Err(OBJECT.to_owned()),
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
