//! The names of fields in JSON, for golden files.

use std::collections::BTreeSet;

use serde_json::Value;

/// The names of the fields of a value: `viewer.email`, `sessions[].device`.
pub fn fields(value: &Value, name: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(values) => {
            for (key, value) in values {
                let dot = if name.is_empty() { "" } else { "." };
                fields(value, &format!("{name}{dot}{key}"), found);
            }
        }
        Value::Array(values) => {
            found.insert(format!("{name}[]"));
            values.iter().for_each(|value| fields(value, &format!("{name}[]"), found));
        }
        _ => {
            found.insert(name.to_owned());
        }
    }
}
