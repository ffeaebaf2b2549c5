//! Reads `.env`. Every value is taken as it is written: there is no substitution and there are no escapes,
//! because both change a password without notice. Most of what other readers of such files (a shell, Docker,
//! systemd) would read differently is refused. A message names the line and never its text, which may be a secret.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::ConfigErrors;

/// The names and values in the file; none if it does not exist.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, String>, ConfigErrors> {
    match std::fs::read(path) {
        Ok(bytes) => parse(&bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(ConfigErrors(vec![format!(".env cannot be read: {error}.")])),
    }
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>, ConfigErrors> {
    // Editors on Windows write a byte order mark.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut settings = BTreeMap::new();
    let mut problems = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let added = match parse_line(line) {
            Ok(None) => Ok(()),
            Ok(Some((name, _))) if settings.contains_key(name) => {
                Err("sets a name that an earlier line sets. Delete one of the two")
            }
            Ok(Some((name, value))) => {
                settings.insert(name.to_owned(), value.to_owned());
                Ok(())
            }
            Err(problem) => Err(problem),
        };
        if let Err(problem) = added {
            problems.push(format!("Line {} of .env {problem}.", index + 1));
        }
    }
    if problems.is_empty() { Ok(settings) } else { Err(ConfigErrors(problems)) }
}

/// `None`: a blank line or a comment.
fn parse_line(line: &[u8]) -> Result<Option<(&str, &str)>, &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| "is not UTF-8 text")?.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.chars().any(|character| character.is_control() && character != '\t') {
        return Err("contains a control character");
    }
    let exported = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    let line = exported.unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("is not NAME=value")?;
    let name = name.trim();
    let is_name = |text: &str| {
        text.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
    };
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || !is_name(name) {
        return Err("is not NAME=value");
    }
    Ok(Some((name, parse_value(value.trim())?)))
}

fn parse_value(value: &str) -> Result<&str, &'static str> {
    const SUBSTITUTION: &str =
        "has ${…} or $(…), which is not substituted. Put the value in single quotes";
    let is_substitution = value.contains("${") || value.contains("$(");
    match value.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let (inner, rest) =
                value[1..].split_once(quote).ok_or("has a quote that is not closed")?;
            if !rest.trim().is_empty() && !rest.trim_start().starts_with('#') {
                return Err(
                    "has text after the closing quote. A value cannot contain the quotes that enclose it",
                );
            }
            if quote == '"' && inner.contains('\\') {
                return Err(
                    "has a backslash in double quotes. Escapes are not supported: use single quotes",
                );
            }
            if quote == '"' && is_substitution {
                return Err(SUBSTITUTION);
            }
            Ok(inner)
        }
        _ if is_substitution => Err(SUBSTITUTION),
        _ if value.contains(['\'', '"', '\\', '`']) => {
            Err("has a quote or a backslash in a value without quotes. Put the value in quotes")
        }
        _ if value.contains(char::is_whitespace) => Err(
            "has a space in a value without quotes. Put the value in quotes, and a comment on its own line",
        ),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        parse(format!("NAME={text}").as_bytes()).unwrap()["NAME"].clone()
    }

    #[test]
    fn a_value_is_taken_as_it_is_written() {
        for (text, expected) in [
            ("Pay$Desk", "Pay$Desk"),
            ("\"Pay$Desk\"", "Pay$Desk"),
            ("'Pay${Desk}\\n'", "Pay${Desk}\\n"),
            ("'say \"hi\"'", "say \"hi\""),
            ("\"it's\"", "it's"),
            ("a#b", "a#b"),
            ("\"a # b\" # comment", "a # b"),
            ("postgres://u:p%24@h/d?x=1&y=2", "postgres://u:p%24@h/d?x=1&y=2"),
            ("$", "$"),
            ("", ""),
            ("  x  ", "x"),
            ("a=b=", "a=b="),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn the_form_of_the_file_does_not_change_a_value() {
        let text = "\u{feff}ONE=1\r\n\r\n# comment\r\n  export TWO = 'a b'\r\nTHREE=\"c\"\nexport\tFOUR=d\nexportFIVE=e";
        let settings = parse(text.as_bytes()).unwrap();
        let pairs: Vec<_> =
            settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [("FOUR", "d"), ("ONE", "1"), ("THREE", "c"), ("TWO", "a b"), ("exportFIVE", "e")]
        );
    }

    #[test]
    fn what_could_be_read_differently_is_refused_with_its_line_and_without_its_text() {
        for line in [
            "hunter2",
            "NA ME=hunter2",
            "=hunter2",
            "1NAME=hunter2",
            "NAME=hunter2 # comment",
            "NAME=hunter2 more",
            "NAME=hunter2\\n",
            "NAME=\"hunter2\\n\"",
            "NAME=hunter2'",
            "NAME='hunter2",
            "NAME='hunter2'more",
            "NAME='hunter2'more'",
            "NAME=\"hunter2",
            "NAME=${hunter2}",
            "NAME=\"$(hunter2)\"",
            "NAME=hunter2`id`",
            "NAME=hunter2\0",
            "NAME=hunter2\rOTHER=1",
            "FIRST=hunter2",
        ] {
            let problem = parse(format!("FIRST=1\n{line}\n").as_bytes()).unwrap_err().to_string();
            assert!(problem.contains("Line 2 of .env"), "{line}: {problem}");
            assert!(!problem.contains("hunter2"), "{line}: {problem}");
        }
        let problem = parse(b"NAME=caf\xE9").unwrap_err().to_string();
        assert!(problem.contains("Line 1 of .env is not UTF-8"), "{problem}");
    }
}
