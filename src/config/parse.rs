//! Parses settings one by one and collects the problems.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use strsim::levenshtein;

use super::error::ConfigErrors;
use super::kubernetes;
use crate::crypto::secret::SecretText;

/// Not a setting: sqlx reads it when it compiles the queries (`sqlx.toml`).
const BUILD_VARIABLE: &str = "FRONTDESK_SQLX_DATABASE_URL";

/// Whether a name is meant as a setting of Frontdesk, in whatever case it is written.
pub(super) fn is_ours(name: &str, known: &[&str]) -> bool {
    let upper = name.to_ascii_uppercase();
    upper.starts_with("FRONTDESK_") || known.contains(&upper.as_str())
}

/// The value of `name`, or else the content of the file that `…_FILE` names, without white space around it. `None` if
/// both are empty or not set; the error is a sentence for operators.
pub fn text_or_file(
    settings: &BTreeMap<String, String>,
    name: &str,
) -> Result<Option<String>, String> {
    let file_name = format!("{name}_FILE");
    let set =
        |name: &str| settings.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    match (set(name), set(&file_name)) {
        (Some(_), Some(_)) => {
            Err(format!("{name} and {file_name} are both set. Set only one of them."))
        }
        (Some(value), None) => Ok(Some(value.to_owned())),
        (None, Some(path)) => match std::fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => Ok(Some(text.trim().to_owned())),
            Ok(_) => Err(format!("{file_name} points to {path}, which is empty.")),
            Err(error) => {
                Err(format!("{file_name} points to {path}, which cannot be read ({error})."))
            }
        },
        (None, None) => Ok(None),
    }
}

/// Names and values, and the problems found so far.
pub(super) struct SettingsReader<'a> {
    settings: &'a BTreeMap<String, String>,
    problems: Vec<String>,
}

impl<'a> SettingsReader<'a> {
    pub(super) fn new(settings: &'a BTreeMap<String, String>) -> Self {
        Self { settings, problems: Vec::new() }
    }

    pub(super) fn finish(self) -> Result<(), ConfigErrors> {
        if self.problems.is_empty() { Ok(()) } else { Err(ConfigErrors(self.problems)) }
    }

    pub(super) fn problem(&mut self, name: &str, text: &str) {
        self.problems.push(format!("{name} {text}."));
    }

    /// A misspelled setting, or one in lower case, would otherwise be ignored without notice.
    pub(super) fn refuse_unknown(&mut self, known: &[&str]) {
        for (name, value) in self.settings.iter().filter(|(name, _)| is_ours(name, known)) {
            if name != BUILD_VARIABLE
                && !known.contains(&name.as_str())
                && !kubernetes::is_service_variable(name, value)
            {
                let upper = name.to_ascii_uppercase();
                let nearest = known.iter().min_by_key(|known| levenshtein(&upper, known));
                let hint = nearest.filter(|known| levenshtein(&upper, known) <= 4).map_or_else(
                    || "See .env.example".to_owned(),
                    |known| format!("Did you mean {known}?"),
                );
                let hint = hint.trim_end_matches('.');
                self.problems.push(format!("{name} is not a known setting. {hint}"));
            }
        }
    }

    /// The value. An empty value is treated as not set.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.settings.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.text(name).is_some() || self.text(&format!("{name}_FILE")).is_some()
    }

    /// A secret, from its setting or from the file in `…_FILE`.
    pub(super) fn secret(&mut self, name: &str) -> Option<SecretText> {
        let found = text_or_file(self.settings, name);
        found
            .map_err(|problem| self.problems.push(problem))
            .ok()
            .flatten()
            .map(|text| SecretText::new(&text))
    }

    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, default: &str, expected: &str) -> T {
        let text = self.text(name).unwrap_or(default);
        text.parse().unwrap_or_else(|_| {
            self.problem(name, &format!("is “{text}”, but must be {expected}"));
            default.parse().ok().expect("the default of a setting is valid")
        })
    }

    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> T {
        let (_, default) = choices[0];
        let Some(text) = self.text(name) else {
            return default;
        };
        let found = choices.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).unwrap_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.problem(name, &format!("is “{text}”, but must be {}", words.join(" or ")));
            default
        })
    }

    pub(super) fn number(&mut self, name: &str, default: u32, range: RangeInclusive<u32>) -> u32 {
        let Some(text) = self.text(name) else {
            return default;
        };
        text.parse().ok().filter(|number| range.contains(number)).unwrap_or_else(|| {
            let (from, to) = (range.start(), range.end());
            self.problem(
                name,
                &format!("is “{text}”, but must be a whole number from {from} to {to}"),
            );
            default
        })
    }

    /// From a second to ten years.
    pub(super) fn duration(&mut self, name: &str, default: &str) -> Duration {
        self.duration_from(1, name, default)
    }

    /// From zero to ten years.
    pub(super) fn duration_or_zero(&mut self, name: &str, default: &str) -> Duration {
        self.duration_from(0, name, default)
    }

    fn duration_from(&mut self, min: u64, name: &str, default: &str) -> Duration {
        const TEN_YEARS: u64 = 10 * 366 * 86_400;
        let text = self.text(name).unwrap_or(default);
        let found = duration(text).filter(|span| (min..=TEN_YEARS).contains(&span.as_secs()));
        found.unwrap_or_else(|| {
            self.problem(
                name,
                &format!("is “{text}”, but must be a duration like 90s, 5m, 2h, 14d or 1h30m"),
            );
            duration(default).expect("the default of a setting is valid")
        })
    }
}

/// Parses a duration like `1h30m`: whole numbers, each followed by s, m, h or d.
pub fn duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut digits = String::new();
    for character in text.chars() {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        let unit = match character {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        let count: u64 = std::mem::take(&mut digits).parse().ok()?;
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
    }
    (digits.is_empty() && !text.is_empty()).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_units() {
        for (text, seconds) in
            [("90s", 90), ("5m", 300), ("2h", 7_200), ("14d", 1_209_600), ("1h30m", 5_400)]
        {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "m", "5 m", "-5m", "5w", "1.5h", "99999999999999999999d"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
