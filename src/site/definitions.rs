//! What is wrong with the names that a site defines: one name twice, or one of Frontdesk's.

use std::collections::BTreeMap;
use std::panic::Location;

use crate::background::OWN_JOBS;
use crate::config::NAMES;

/// File and line of the caller.
#[track_caller]
pub fn place() -> String {
    let place = Location::caller();
    format!("{}:{}", place.file(), place.line())
}

/// A name and where it is defined.
type Definition<'a> = (&'a str, &'a str);

/// What is wrong with the prefixes of settings.
pub(super) fn settings_problems<'a>(
    settings: impl Iterator<Item = Definition<'a>> + Clone,
) -> Vec<String> {
    let mut problems: Vec<String> = settings.clone().filter_map(prefix_problem).collect();
    problems.extend(repeated("The prefix of settings", settings));
    problems
}

/// What is wrong with the names of jobs.
pub(super) fn job_problems<'a>(jobs: impl Iterator<Item = Definition<'a>> + Clone) -> Vec<String> {
    let mut problems = own("job", jobs.clone(), |name| OWN_JOBS.contains(&name));
    problems.extend(repeated("The job", jobs));
    problems
}

/// What is wrong with the names of commands. `is_own`: whether Frontdesk has a command with this name.
pub(super) fn command_problems<'a>(
    commands: impl Iterator<Item = Definition<'a>> + Clone,
    is_own: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut problems: Vec<String> = commands.clone().filter_map(command_problem).collect();
    problems.extend(own("command", commands.clone(), is_own));
    problems.extend(repeated("The command", commands));
    problems
}

fn prefix_problem((prefix, place): Definition<'_>) -> Option<String> {
    let upper = prefix.to_ascii_uppercase();
    let is_own = upper.starts_with("FRONTDESK_") || NAMES.iter().any(|own| own.starts_with(&upper));
    is_own.then(|| {
        format!(
            "The prefix “{prefix}” of the site's settings ({place}) is that of Frontdesk. Choose another one, such as “NOTES_”."
        )
    })
}

fn command_problem((name, place): Definition<'_>) -> Option<String> {
    let is_word = !name.is_empty() && !name.starts_with('-') && !name.contains(char::is_whitespace);
    (!is_word).then(|| format!("The command “{name}” ({place}) must be one word."))
}

fn own<'a>(
    what: &str,
    definitions: impl Iterator<Item = Definition<'a>>,
    is_own: impl Fn(&str) -> bool,
) -> Vec<String> {
    let own = definitions.filter(|(name, _)| is_own(name));
    own.map(|(name, place)| {
        format!("The {what} {name} ({place}) has the name of a {what} of Frontdesk. Choose another name.")
    })
    .collect()
}

fn repeated<'a>(what: &str, definitions: impl Iterator<Item = Definition<'a>>) -> Vec<String> {
    let mut first_places = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, place) in definitions {
        match first_places.get(name) {
            Some(first) => problems.push(format!(
                "{what} {name} is defined twice: {place} and {first}. Remove one of them."
            )),
            None => {
                first_places.insert(name, place);
            }
        }
    }
    problems
}
