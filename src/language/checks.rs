//! What is wrong with the messages of a site or an operator, found when the server starts.

use std::collections::{BTreeMap, BTreeSet};

use fluent_bundle::FluentResource;
use fluent_syntax::ast::{Entry, Message, Term};

use super::catalog::Catalog;
use super::content::{Content, content, entries, own_entries, resource};
use super::elements;
use super::layers::File;
use crate::folder::{FileProblem, Folder, Layers};

/// What is wrong with the messages that replace Frontdesk's.
pub fn problems(layers: &Layers) -> Vec<FileProblem> {
    if layers.files().next().is_none() {
        return Vec::new();
    }
    let own = own_entries();
    let mut before_operator = own.clone();
    for file in layers.files().filter(|file| !file.is_of_operator) {
        for (name, content) in entries(&resource(file.bytes)) {
            before_operator.entry(name).or_insert(content);
        }
    }
    let of_site = InForce::of(&Layers { operator: None, ..layers.clone() });
    let of_all = InForce::of(layers);
    let check = |file: File<'_>| {
        let (before, in_force) =
            if file.is_of_operator { (&before_operator, &of_all) } else { (&own, &of_site) };
        Check { file, before, in_force }.problems()
    };
    let mut found: Vec<_> = layers.files().flat_map(check).collect();
    found.extend(repeated(&layers.site, "locales"));
    if let Some((folder, files)) = &layers.operator {
        found.extend(repeated(files, &folder.display().to_string()));
    }
    found
}

/// The messages that pages and mails get.
struct InForce {
    catalog: Catalog,
    /// What each contains.
    entries: BTreeMap<String, Content>,
}

impl InForce {
    fn of(layers: &Layers) -> Self {
        let mut all = own_entries();
        layers.files().for_each(|file| all.extend(entries(&resource(file.bytes))));
        Self { catalog: Catalog::load(layers), entries: all }
    }
}

/// One file, compared with the messages that it replaces and with those that it refers to.
struct Check<'a> {
    file: File<'a>,
    /// The messages of the layers below.
    before: &'a BTreeMap<String, Content>,
    /// The messages of this layer and of those below.
    in_force: &'a InForce,
}

impl Check<'_> {
    fn problems(&self) -> Vec<FileProblem> {
        if !is_message_file(self.file.path) {
            let expected = "is not read. Messages are in en/site.ftl, or in other files en/*.ftl";
            return vec![self.problem(None, expected)];
        }
        let Ok(text) = std::str::from_utf8(self.file.bytes) else {
            return vec![self.problem(None, "is not UTF-8 text")];
        };
        let (resource, errors) = match FluentResource::try_new(text.to_owned()) {
            Ok(resource) => (resource, Vec::new()),
            Err((resource, errors)) => (resource, errors),
        };
        let mut found: Vec<_> = errors
            .iter()
            .map(|error| {
                let line = text.get(..error.pos.start).unwrap_or(text).matches('\n').count() + 1;
                let message = format!(
                    "{}. A message is written: key = Text with {{ $variable }}",
                    error.kind
                );
                self.problem(Some(line), &message)
            })
            .collect();
        found.extend(resource.entries().flat_map(|entry| match entry {
            Entry::Message(message) => self.of_message(text, message),
            Entry::Term(term) => self.of_term(text, term),
            _ => Vec::new(),
        }));
        found
    }

    fn of_term(&self, text: &str, term: &Term<&str>) -> Vec<FileProblem> {
        let name = format!("-{}", term.id.name);
        let at = |message: String| self.problem(Some(line_of(text, &name, "")), &message);
        let mut found = match content(&term.value) {
            Ok(content) => self.of_references(text, "term", &name, &content),
            Err(problem) => vec![at(format!("In the term {name}, {problem}"))],
        };
        // One would hide the other.
        if self.in_force.catalog.contains(term.id.name) {
            let other = "has the name of a message. Choose another name";
            found.push(at(format!("The term {name} {other}")));
        }
        found
    }

    fn of_message(&self, text: &str, message: &Message<&str>) -> Vec<FileProblem> {
        let key = message.id.name;
        let Some(pattern) = &message.value else {
            let line = line_of(text, key, "");
            return vec![self.problem(Some(line), &format!("The message {key} has no text"))];
        };
        let own_content = match content(pattern) {
            Ok(content) => content,
            Err(problem) => {
                let tag = problem.split(' ').next().unwrap_or_default();
                let message = format!("In the message {key}, {problem}");
                return vec![self.problem(Some(line_of(text, key, tag)), &message)];
            }
        };
        let content = own_content.with_references(&self.in_force.entries);
        let mut found = Vec::new();
        let mut add = |part: &str, problem: String| {
            let message = format!("The message {key} {problem}");
            found.push(self.problem(Some(line_of(text, key, part)), &message));
        };
        if let Some(own) = self.before.get(key) {
            let own = own.with_references(&self.in_force.entries);
            for name in content.variables.difference(&own.variables) {
                let known = list(own.variables.iter().map(|name| format!("${name}")));
                add(&format!("${name}"), format!("has no variable ${name}. It has {known}"));
            }
            let known: BTreeSet<_> = match own.elements.is_empty() {
                true => BTreeSet::new(),
                false => {
                    let common = elements::COMMON.map(str::to_owned);
                    own.elements.iter().cloned().chain(common).collect()
                }
            };
            for name in content.elements.difference(&known) {
                let known = list(known.iter().map(|name| format!("<{name}>")));
                add(&format!("<{name}>"), format!("has no element <{name}>. It has {known}"));
            }
        }
        found.extend(self.of_references(text, "message", key, &own_content));
        // What remains, such as too many messages within messages. An unknown reference is a problem of the message
        // that has it, and not of those that refer to that one.
        if found.is_empty()
            && content.references.iter().all(|other| self.in_force.entries.contains_key(other))
            && self.in_force.entries.get(key) == Some(&own_content)
            && let Some(error) = self.in_force.catalog.error_of(key, content.variables.into_iter())
        {
            let line = Some(line_of(text, key, ""));
            found.push(self.problem(line, &format!("The message {key} cannot be shown: {error}")));
        }
        found
    }

    /// What is wrong with the functions of a message or term and with those to which it refers, whichever variant is
    /// chosen.
    fn of_references(
        &self,
        text: &str,
        what: &str,
        name: &str,
        content: &Content,
    ) -> Vec<FileProblem> {
        let entries = &self.in_force.entries;
        let problem = |part: &str, problem: String| {
            let line = Some(line_of(text, name, part));
            self.problem(line, &format!("The {what} {name} {problem}"))
        };
        let unknown_function = |function: &String| {
            let message = format!("uses the function {function}, which does not exist");
            problem(&format!("{function}("), message)
        };
        let unknown_reference =
            |other: &String| problem(other, format!("refers to {other}, which does not exist"));
        let circle = |other: &String| {
            let leads_back = entries.get(other)?.with_references(entries).references.contains(name);
            let message = match other == name {
                true => "refers to itself".to_owned(),
                false if leads_back => format!("refers to itself through {other}"),
                false => return None,
            };
            Some(problem(other, message))
        };
        let unknown = content.references.iter().filter(|other| !entries.contains_key(*other));
        let functions = content.functions.iter().map(unknown_function);
        let found = functions.chain(unknown.map(unknown_reference));
        found.chain(content.references.iter().filter_map(circle)).collect()
    }

    fn problem(&self, line: Option<usize>, message: &str) -> FileProblem {
        FileProblem { file: self.file.name.clone(), line, message: format!("{message}.") }
    }
}

fn is_message_file(path: &str) -> bool {
    let name = path.strip_prefix("en/").and_then(|name| name.strip_suffix(".ftl"));
    name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

/// `a, b and c`, or `none`.
fn list(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    match names.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// The line of `part` in the message `key`, or that of its beginning.
fn line_of(text: &str, key: &str, part: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let is_start =
        |line: &&str| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    let start = lines.iter().position(is_start).unwrap_or_default();
    let is_inside = |line: &&str| line.is_empty() || line.starts_with([' ', '}', '[', '*']);
    let inside = lines.iter().skip(start + 1).take_while(|line| is_inside(line)).count();
    let text_of = |(index, line): (usize, &&str)| {
        // The key itself is not part of the text.
        let after_key = line.find('=').filter(|_| index == 0).map_or(0, |at| at + 1);
        has_part(&line[after_key..], part)
    };
    let found = lines[start..].iter().take(inside + 1).enumerate().position(text_of);
    start + found.unwrap_or_default() + 1
}

/// Whether `part` is in the line, and not only as a part of a longer word.
fn has_part(line: &str, part: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || "-_".contains(letter);
    line.match_indices(part).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + part.len()..]);
        !(part.starts_with(is_word) && before.ends_with(is_word)
            || part.ends_with(is_word) && after.starts_with(is_word))
    })
}

/// Messages that are in a layer twice.
fn repeated(files: &Folder, folder: &str) -> Vec<FileProblem> {
    let (mut seen, mut found) = (BTreeMap::new(), Vec::new());
    for (path, bytes) in files.iter().filter(|(path, _)| is_message_file(path)) {
        for (index, line) in String::from_utf8_lossy(bytes).lines().enumerate() {
            let Some((key, _)) = line
                .split_once('=')
                .filter(|(key, _)| key.starts_with(|first: char| first.is_ascii_alphabetic()))
            else {
                continue;
            };
            let place = format!("{folder}/{path}:{}", index + 1);
            if let Some(before) = seen.insert(key.trim_end().to_owned(), place) {
                let message = format!(
                    "The message {} is in {before} too. Remove one of them.",
                    key.trim_end()
                );
                found.push(FileProblem {
                    file: format!("{folder}/{path}"),
                    line: Some(index + 1),
                    message,
                });
            }
        }
    }
    found
}
