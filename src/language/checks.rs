//! What is wrong with the messages of a site or an operator, found when the server starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fluent_bundle::FluentResource;
use fluent_syntax::ast::{
    CallArguments, Entry, Expression, InlineExpression, Message, Pattern, PatternElement, Term,
};

use super::catalog::Catalog;
use super::elements;
use super::layers::{self, File, Layers};
use crate::folder::Folder;

/// Something wrong with a file of messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageProblem {
    /// The file, as an operator or developer knows it.
    pub file: String,
    /// Its line, from 1.
    pub line: Option<usize>,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl fmt::Display for MessageProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}: {}", self.file, self.message),
            None => write!(formatter, "{}: {}", self.file, self.message),
        }
    }
}

/// What is wrong with the messages that replace Frontdesk's.
pub fn problems(layers: &Layers) -> Vec<MessageProblem> {
    let all = Catalog::load(layers);
    let own = own_entries();
    let mut of_site = own.clone();
    for file in layers.files().filter(|file| !file.is_of_operator) {
        for (name, content) in entries(&resource(file.bytes)) {
            of_site.entry(name).or_insert(content);
        }
    }
    let mut strongest = own.clone();
    layers.files().for_each(|file| strongest.extend(entries(&resource(file.bytes))));
    let check = |file: File<'_>| {
        let before = if file.is_of_operator { &of_site } else { &own };
        Check { file, all: &all, before, strongest: &strongest }.problems()
    };
    let mut found: Vec<_> = layers.files().flat_map(check).collect();
    found.extend(repeated(&layers.site, "locales"));
    if let Some((folder, files)) = &layers.operator {
        found.extend(repeated(files, &folder.display().to_string()));
    }
    found
}

/// What a message contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// Variables, without `$`.
    pub(super) variables: BTreeSet<String>,
    /// Elements.
    pub(super) elements: BTreeSet<String>,
    /// Messages, and terms with their `-`.
    references: BTreeSet<String>,
    /// Functions.
    functions: BTreeSet<String>,
}

/// The messages of Frontdesk, and its terms.
fn own_entries() -> BTreeMap<String, Content> {
    layers::OWN.iter().flat_map(|(_, resource)| entries(resource)).collect()
}

/// The messages, and the terms with their `-`.
fn entries(resource: &FluentResource) -> Vec<(String, Content)> {
    let content = |value: &Pattern<&str>| content(value).unwrap_or_default();
    let entry = |entry: &Entry<&str>| match entry {
        Entry::Message(message) => {
            let value = message.value.as_ref();
            Some((message.id.name.to_owned(), value.map(content).unwrap_or_default()))
        }
        Entry::Term(term) => Some((format!("-{}", term.id.name), content(&term.value))),
        _ => None,
    };
    resource.entries().filter_map(entry).collect()
}

/// What can be read of a file.
fn resource(bytes: &[u8]) -> FluentResource {
    let text = String::from_utf8_lossy(bytes).into_owned();
    FluentResource::try_new(text).unwrap_or_else(|(resource, _)| resource)
}

/// What `pattern` contains. The error says which element is not closed.
pub(super) fn content(pattern: &Pattern<&str>) -> Result<Content, String> {
    let mut content = Content::default();
    content.read(pattern)?;
    Ok(content)
}

impl Content {
    /// The same with what the messages and terms contain to which it refers. Terms get no variables.
    fn with_references(&self, all: &BTreeMap<String, Self>) -> Self {
        let mut whole = self.clone();
        let mut waiting: Vec<String> = self.references.iter().cloned().collect();
        while let Some(name) = waiting.pop() {
            let Some(content) = all.get(&name) else { continue };
            if !name.starts_with('-') {
                whole.variables.extend(content.variables.iter().cloned());
            }
            whole.elements.extend(content.elements.iter().cloned());
            let new = content.references.difference(&whole.references).cloned();
            let new: Vec<String> = new.collect();
            whole.references.extend(new.iter().cloned());
            waiting.extend(new);
        }
        whole
    }

    fn read(&mut self, pattern: &Pattern<&str>) -> Result<(), String> {
        let mut texts = Vec::new();
        for element in &pattern.elements {
            match element {
                PatternElement::TextElement { value } => texts.push(*value),
                PatternElement::Placeable { expression } => self.read_expression(expression)?,
            }
        }
        // Each variant of a choice has its own beginnings and ends.
        self.elements.extend(elements::names(texts)?.into_iter().map(str::to_owned));
        Ok(())
    }

    fn read_expression(&mut self, expression: &Expression<&str>) -> Result<(), String> {
        match expression {
            Expression::Inline(inline) => self.read_inline(inline),
            Expression::Select { selector, variants } => {
                self.read_inline(selector)?;
                variants.iter().try_for_each(|variant| self.read(&variant.value))
            }
        }
    }

    fn read_inline(&mut self, inline: &InlineExpression<&str>) -> Result<(), String> {
        match inline {
            InlineExpression::VariableReference { id } => {
                self.variables.insert(id.name.to_owned());
            }
            InlineExpression::MessageReference { id, .. } => {
                self.references.insert(id.name.to_owned());
            }
            InlineExpression::TermReference { id, .. } => {
                self.references.insert(format!("-{}", id.name));
            }
            InlineExpression::FunctionReference { id, arguments } => {
                self.functions.insert(id.name.to_owned());
                let CallArguments { positional, .. } = arguments;
                positional.iter().try_for_each(|argument| self.read_inline(argument))?;
            }
            InlineExpression::Placeable { expression } => self.read_expression(expression)?,
            InlineExpression::StringLiteral { .. } | InlineExpression::NumberLiteral { .. } => {}
        }
        Ok(())
    }
}

/// One file, compared with all messages and with those that it replaces.
struct Check<'a> {
    file: File<'a>,
    all: &'a Catalog,
    /// The messages of the layers below.
    before: &'a BTreeMap<String, Content>,
    /// The messages in force.
    strongest: &'a BTreeMap<String, Content>,
}

impl Check<'_> {
    fn problems(&self) -> Vec<MessageProblem> {
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

    fn of_term(&self, text: &str, term: &Term<&str>) -> Vec<MessageProblem> {
        let name = format!("-{}", term.id.name);
        let mut found = Vec::new();
        if let Err(problem) = content(&term.value) {
            found.push(format!("In the term {name}, {problem}"));
        }
        // One would hide the other.
        if self.all.contains(term.id.name) {
            found.push(format!("The term {name} has the name of a message. Choose another name"));
        }
        let line = Some(line_of(text, &name, ""));
        found.iter().map(|message| self.problem(line, message)).collect()
    }

    fn of_message(&self, text: &str, message: &Message<&str>) -> Vec<MessageProblem> {
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
        let content = own_content.with_references(self.strongest);
        let mut found = Vec::new();
        let mut add = |part: &str, problem: String| {
            let message = format!("The message {key} {problem}");
            found.push(self.problem(Some(line_of(text, key, part)), &message));
        };
        if let Some(own) = self.before.get(key) {
            let own = own.with_references(self.strongest);
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
        if let Some(name) = content.functions.first() {
            add(&format!("{name}("), format!("uses the function {name}, which does not exist"));
        } else if self.strongest.get(key).is_some_and(|strongest| *strongest == own_content)
            && self.references_are_known(&content.references)
            && let Some(error) = self.all.error_of(key, content.variables.into_iter())
        {
            add("", format!("cannot be shown: {error}"));
        }
        for name in &content.references {
            if !self.all.has(name) {
                add(name, format!("refers to {name}, which does not exist"));
            }
        }
        found
    }

    fn references_are_known(&self, references: &BTreeSet<String>) -> bool {
        references.iter().all(|name| self.all.has(name))
    }

    fn problem(&self, line: Option<usize>, message: &str) -> MessageProblem {
        MessageProblem { file: self.file.name.clone(), line, message: format!("{message}.") }
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
    let found = lines[start..].iter().take(inside + 1).position(|line| line.contains(part));
    start + found.unwrap_or_default() + 1
}

/// Messages that are in a layer twice.
fn repeated(files: &Folder, folder: &str) -> Vec<MessageProblem> {
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
                found.push(MessageProblem {
                    file: format!("{folder}/{path}"),
                    line: Some(index + 1),
                    message,
                });
            }
        }
    }
    found
}
