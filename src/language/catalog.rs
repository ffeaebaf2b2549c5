//! The messages of one language.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use fluent_syntax::ast::{Entry, Expression, InlineExpression, PatternElement};

use super::elements::{self, Wrapper};
use super::layers;
use crate::folder::Layers;

/// The language of all pages and mails, as a language tag (BCP 47).
pub const ENGLISH: &str = "en";

/// The value of a variable in a message, or of an element.
#[derive(Clone, Debug)]
pub enum Argument<'a> {
    /// Text, which is escaped in HTML and isolated from the text around it (`<bdi>`). As an element, the target of a
    /// link.
    Text(Cow<'a, str>),
    /// Finished HTML. As an element, with `…` in place of the text that the message has inside of the element.
    Html(&'a str),
    /// A number, which may select the plural.
    Number(f64),
    /// As an element: the text inside of it stands for itself, as that of a link without a target.
    Nothing,
}

/// Why a message cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// There is no message with this key.
    #[error("There is no message {0}")]
    Unknown(String),
    /// A variable has no value, or a message that it refers to does not exist.
    #[error("The message {key} cannot be shown: {cause}")]
    Incomplete {
        /// Its key.
        key: String,
        /// What is missing.
        cause: String,
    },
}

/// The messages of one language, those of Frontdesk with the ones that replace them.
pub struct Catalog {
    bundle: FluentBundle<Arc<FluentResource>>,
    /// The same, with marks around each text that replaces a variable (`elements`).
    html: FluentBundle<Arc<FluentResource>>,
    /// The messages that are only text. Most are.
    plain: HashMap<String, String>,
    /// The keys of all messages.
    keys: BTreeSet<String>,
}

impl Catalog {
    /// Frontdesk's own messages.
    pub fn own() -> &'static Arc<Self> {
        static OWN: LazyLock<Arc<Catalog>> =
            LazyLock::new(|| Arc::new(Catalog::load(&Layers::default())));
        &OWN
    }

    /// Frontdesk's messages, with those of `layers` in place of the ones with the same key. What is wrong with a file
    /// is left out ([`super::problems`]).
    pub fn load(layers: &Layers) -> Self {
        let of_file = |file: layers::File<'_>| {
            let text = std::str::from_utf8(file.bytes).ok()?.to_owned();
            let resource = FluentResource::try_new(text).unwrap_or_else(|(resource, _)| resource);
            Some(Arc::new(resource))
        };
        let own = layers::OWN.iter().map(|(_, resource)| Arc::clone(resource));
        Self::new(own.chain(layers.files().filter_map(of_file)))
    }

    fn new(resources: impl Iterator<Item = Arc<FluentResource>>) -> Self {
        let (mut bundle, mut html) = (bundle(), bundle());
        html.set_formatter(Some(|value, _| match value {
            FluentValue::String(text) => Some(elements::mark(text)),
            _ => None,
        }));
        let (mut plain, mut keys) = (HashMap::new(), BTreeSet::new());
        for resource in resources {
            for (key, text) in resource.entries().filter_map(plain_text) {
                keys.insert(key.clone());
                match text {
                    Some(text) => plain.insert(key, text),
                    None => plain.remove(&key),
                };
            }
            bundle.add_resource_overriding(Arc::clone(&resource));
            html.add_resource_overriding(resource);
        }
        Self { bundle, html, plain, keys }
    }

    /// Whether there is a message with this key.
    pub fn contains(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// Whether the message is text and variables only, so that a variable can be inserted later.
    pub fn inserts_variables_only(&self, key: &str) -> bool {
        let pattern = self.bundle.get_message(key).and_then(|message| message.value());
        pattern.is_some_and(|pattern| {
            pattern.elements.iter().all(|element| match element {
                PatternElement::TextElement { .. } => true,
                PatternElement::Placeable { expression } => matches!(
                    expression,
                    Expression::Inline(InlineExpression::VariableReference { .. })
                ),
            })
        })
    }

    /// The keys of all messages.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }

    /// The message as text.
    pub fn text<'a>(
        &self,
        key: &str,
        arguments: impl IntoIterator<Item = (&'a str, Argument<'a>)>,
    ) -> Result<Cow<'_, str>, MessageError> {
        if let Some(text) = self.plain.get(key) {
            return Ok(Cow::Borrowed(text));
        }
        let mut values = FluentArgs::new();
        for (name, argument) in arguments {
            match argument {
                Argument::Text(text) => values.set(name, text),
                Argument::Html(html) => values.set(name, html),
                Argument::Number(number) => values.set(name, number),
                Argument::Nothing => {}
            }
        }
        format(&self.bundle, key, &values).map(Cow::Owned)
    }

    /// The message as HTML: text and variables are escaped, elements are kept.
    pub fn html(
        &self,
        key: &str,
        arguments: &BTreeMap<&str, Argument<'_>>,
    ) -> Result<String, MessageError> {
        let mut values = FluentArgs::new();
        for (name, argument) in arguments {
            match argument {
                Argument::Text(text) => values.set(*name, elements::without_marks(text)),
                Argument::Html(html) => values.set(*name, elements::mark_html(html)),
                Argument::Number(number) => values.set(*name, *number),
                Argument::Nothing => {}
            }
        }
        let text = match self.plain.get(key) {
            Some(text) => Cow::Borrowed(text.as_str()),
            None => Cow::Owned(format(&self.html, key, &values)?),
        };
        let wrapper = |name: &str| match arguments.get(name)? {
            Argument::Text(url) => Some(Wrapper::link(url)),
            Argument::Html(html) => Wrapper::of(html),
            Argument::Nothing => Some(Wrapper::default()),
            Argument::Number(_) => None,
        };
        elements::to_html(&text, wrapper)
            .map_err(|cause| MessageError::Incomplete { key: key.to_owned(), cause })
    }

    /// What goes wrong when the message is shown with the number 1 for each of `variables`.
    pub(super) fn error_of(
        &self,
        key: &str,
        variables: impl Iterator<Item = String>,
    ) -> Option<MessageError> {
        let mut values = FluentArgs::new();
        for name in variables {
            values.set(name, 1);
        }
        format(&self.bundle, key, &values).err()
    }
}

fn bundle() -> FluentBundle<Arc<FluentResource>> {
    let mut bundle = FluentBundle::new_concurrent(ENGLISH.parse().into_iter().collect());
    // Pages isolate variables with an element instead, and mails have them in a line of their own.
    bundle.set_use_isolating(false);
    bundle
}

/// The key of a message and its text, if it is only text.
fn plain_text(entry: &Entry<&str>) -> Option<(String, Option<String>)> {
    let Entry::Message(message) = entry else { return None };
    let parts = message.value.as_ref()?.elements.iter().map(|element| match element {
        PatternElement::TextElement { value } => Some(*value),
        PatternElement::Placeable { .. } => None,
    });
    Some((message.id.name.to_owned(), parts.collect()))
}

fn format(
    bundle: &FluentBundle<Arc<FluentResource>>,
    key: &str,
    values: &FluentArgs<'_>,
) -> Result<String, MessageError> {
    let message = bundle.get_message(key).and_then(|message| message.value());
    let pattern = message.ok_or_else(|| MessageError::Unknown(key.to_owned()))?;
    let (mut text, mut errors) = (String::new(), Vec::new());
    // Not `format_pattern`, which would format the whole text as one value again.
    let written = bundle.write_pattern(&mut text, pattern, Some(values), &mut errors);
    let error = errors.first().map(ToString::to_string);
    match error.or_else(|| written.err().map(|error| error.to_string())) {
        None => Ok(text),
        Some(cause) => Err(MessageError::Incomplete { key: key.to_owned(), cause }),
    }
}
