//! The settings of a site.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::values::{self, Problem, Texts};
use crate::config::{self, ConfigErrors};

/// Reads `T` from the settings whose names begin with `prefix`: the field `page_size` from `NOTES_PAGE_SIZE`, or
/// from the file that `NOTES_PAGE_SIZE_FILE` names. An empty setting is not set.
pub(super) fn read<T: DeserializeOwned>(
    settings: &BTreeMap<String, String>,
    prefix: &str,
) -> Result<T, ConfigErrors> {
    let fields = values::fields::<T>();
    let mut texts = Texts::new();
    let mut problems = Vec::new();
    for name in settings.keys().filter_map(|name| name.strip_prefix(prefix)) {
        let field = field_of(&name.to_ascii_lowercase(), fields);
        let full_name = format!("{prefix}{}", field.to_ascii_uppercase());
        match config::text_or_file(settings, &full_name) {
            Ok(Some(text)) => {
                texts.insert(field, vec![Some(text)]);
            }
            Ok(None) => {}
            Err(problem) if problems.contains(&problem) => {}
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(ConfigErrors(problems));
    }
    values::read(&texts).map_err(|problem| ConfigErrors(vec![sentence(prefix, problem)]))
}

/// The field that the setting `name` is for. A struct that does not say which fields it has gets those that end in
/// `_file` as they are.
fn field_of(name: &str, fields: &[&str]) -> String {
    let of_file = name.strip_suffix("_file").filter(|field| fields.contains(field));
    of_file.filter(|_| !fields.contains(&name)).unwrap_or(name).to_owned()
}

fn sentence(prefix: &str, problem: Problem) -> String {
    let name = problem.name.to_ascii_uppercase();
    match problem.message.as_str() {
        message if values::is_missing(message) => format!("{prefix}{name} must be set."),
        message => format!("{prefix}{name} cannot be read: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Settings {
        api_key: String,
        #[serde(default)]
        log_file: Option<String>,
    }

    fn read_from(pairs: &[(&str, &str)]) -> Result<Settings, ConfigErrors> {
        let settings =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        read(&settings, "NOTES_")
    }

    #[test]
    fn a_setting_is_read_from_its_file_unless_the_struct_has_a_field_with_that_name() {
        let file = std::env::temp_dir().join(format!("frontdesk-settings-{}", std::process::id()));
        std::fs::write(&file, " secret\n").unwrap();
        let path = file.to_str().unwrap();
        let expected = Settings { api_key: "secret".to_owned(), log_file: Some("/log".to_owned()) };
        let read = read_from(&[("NOTES_API_KEY_FILE", path), ("NOTES_LOG_FILE", "/log")]);
        assert_eq!(read, Ok(expected));
        for (pairs, message) in [
            (&[("NOTES_API_KEY", "x"), ("NOTES_API_KEY_FILE", path)][..], "are both set"),
            (&[("NOTES_API_KEY_FILE", "/nowhere/at/all")], "cannot be read"),
            (&[("NOTES_API_KEY", "")], "NOTES_API_KEY must be set."),
        ] {
            let ConfigErrors(problems) = read_from(pairs).unwrap_err();
            assert!(problems.len() == 1 && problems[0].contains(message), "{problems:?}");
        }
        std::fs::remove_file(file).unwrap();
    }
}
