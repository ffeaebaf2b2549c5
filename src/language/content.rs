//! What a message contains: its variables, elements, functions, and the other messages to which it refers.

use std::collections::{BTreeMap, BTreeSet};

use fluent_bundle::FluentResource;
use fluent_syntax::ast::{
    Attribute, CallArguments, Entry, Expression, Identifier, InlineExpression, Message, Pattern,
    PatternElement, Term,
};

use super::{elements, layers};

/// What a message contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// Variables, without `$`.
    pub(super) variables: BTreeSet<String>,
    /// Elements.
    pub(super) elements: BTreeSet<String>,
    /// Messages, terms with their `-`, and attributes of both, such as `-brand.case`.
    pub(super) references: BTreeSet<String>,
    /// Functions.
    pub(super) functions: BTreeSet<String>,
}

/// The messages of Frontdesk, and its terms.
pub(super) fn own_entries() -> BTreeMap<String, Content> {
    layers::OWN.iter().flat_map(|(_, resource)| entries(resource)).collect()
}

/// The messages, the terms with their `-`, and the attributes of both.
pub(super) fn entries(resource: &FluentResource) -> Vec<(String, Content)> {
    let content = |value: &Pattern<&str>| content(value).unwrap_or_default();
    let entry = |entry: &Entry<&str>| {
        let (name, value, attributes) = match entry {
            Entry::Message(Message { id, value, attributes, .. }) => {
                (id.name.to_owned(), value.as_ref(), attributes)
            }
            Entry::Term(Term { id, value, attributes, .. }) => {
                (format!("-{}", id.name), Some(value), attributes)
            }
            _ => return Vec::new(),
        };
        let of_attribute = |attribute: &Attribute<&str>| {
            (format!("{name}.{}", attribute.id.name), content(&attribute.value))
        };
        let mut found: Vec<_> = attributes.iter().map(of_attribute).collect();
        found.push((name, value.map(content).unwrap_or_default()));
        found
    };
    resource.entries().flat_map(entry).collect()
}

/// What can be read of a file.
pub(super) fn resource(bytes: &[u8]) -> FluentResource {
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
    pub(super) fn with_references(&self, all: &BTreeMap<String, Self>) -> Self {
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
            InlineExpression::MessageReference { id, attribute } => {
                self.refer(id.name, attribute.as_ref());
            }
            InlineExpression::TermReference { id, attribute, arguments } => {
                self.refer(&format!("-{}", id.name), attribute.as_ref());
                arguments.iter().try_for_each(|arguments| self.read_arguments(arguments))?;
            }
            InlineExpression::FunctionReference { id, arguments } => {
                self.functions.insert(id.name.to_owned());
                self.read_arguments(arguments)?;
            }
            InlineExpression::Placeable { expression } => self.read_expression(expression)?,
            InlineExpression::StringLiteral { .. } | InlineExpression::NumberLiteral { .. } => {}
        }
        Ok(())
    }

    /// Named arguments are always literals.
    fn read_arguments(&mut self, arguments: &CallArguments<&str>) -> Result<(), String> {
        arguments.positional.iter().try_for_each(|argument| self.read_inline(argument))
    }

    fn refer(&mut self, name: &str, attribute: Option<&Identifier<&str>>) {
        let attribute = attribute.map(|attribute| format!(".{}", attribute.name));
        self.references.insert(format!("{name}{}", attribute.unwrap_or_default()));
    }
}
