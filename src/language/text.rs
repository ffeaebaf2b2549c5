//! A sentence in Rust.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::catalog::Argument;
use super::current::with_current;

/// A sentence: a message of the catalog by its key (`locales/en/*.ftl`), or a text that is the same in every language.
///
/// ```
/// use frontdesk::{Notice, Text};
///
/// let note = Notice::success("Note added.");
/// // In locales/en/site.ftl: note-moved = { $note } was moved to { $folder }.
/// let moved = Text::key("note-moved").with("note", "Milk").with("folder", "Shopping");
/// let moved = Notice::success(moved);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Inner);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Inner {
    Literal(String),
    Message { key: Cow<'static, str>, values: Vec<(&'static str, TextValue)> },
}

/// The value of a variable of a [`Text`]: a number, a text, or another message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextValue(Value);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(i64),
    Text(Text),
}

impl Text {
    /// The message with this key. It is looked up when it is shown.
    pub fn key(key: impl Into<Cow<'static, str>>) -> Self {
        Self(Inner::Message { key: key.into(), values: Vec::new() })
    }

    /// The same, with a value for the variable `name` of the message.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<TextValue>) -> Self {
        if let Inner::Message { values, .. } = &mut self.0 {
            values.push((name, value.into()));
        }
        self
    }

    /// The text before and after the variable `name`, whose value is `value`, for a page that isolates the value.
    /// `None`: the message does not have the variable.
    pub(crate) fn around(&self, name: &'static str, value: &str) -> Option<(String, String)> {
        const PLACE: &str = "\u{F8F3}";
        let text = self.clone().with(name, PLACE).to_string();
        let (before, after) = text.split_once(PLACE)?;
        Some((before.to_owned(), after.replace(PLACE, value)))
    }

    /// The text, in the language of what is being rendered.
    fn resolve(&self) -> Cow<'_, str> {
        let (key, values) = match &self.0 {
            Inner::Literal(text) => return Cow::Borrowed(text),
            Inner::Message { key, values } => (key, values),
        };
        let arguments: Vec<(&str, Argument<'_>)> = values
            .iter()
            .map(|(name, value)| match &value.0 {
                Value::Number(number) => (*name, Argument::Number(*number as f64)),
                Value::Text(text) => (*name, Argument::Text(text.resolve())),
            })
            .collect();
        let text = with_current(|catalog| catalog.text(key, arguments).map(Cow::into_owned));
        Cow::Owned(text.unwrap_or_else(|error| {
            tracing::error!(%error, "a text cannot be shown");
            key.to_string()
        }))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.resolve())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.resolve())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Inner::Literal(text))
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.resolve() == *other
    }
}

impl From<Text> for TextValue {
    fn from(text: Text) -> Self {
        Self(Value::Text(text))
    }
}

impl From<String> for TextValue {
    fn from(text: String) -> Self {
        Self(Value::Text(text.into()))
    }
}

impl From<&str> for TextValue {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        text.into_owned().into()
    }
}

impl From<&String> for TextValue {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

macro_rules! from_numbers {
    ($($number:ty)*) => {$(
        impl From<$number> for TextValue {
            fn from(number: $number) -> Self {
                Self(Value::Number(i64::try_from(number).unwrap_or(i64::MAX)))
            }
        }
    )*};
}

from_numbers!(i32 i64 u32 u64 usize);
