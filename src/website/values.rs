//! Reads a struct from named texts: the fields of a form, or settings. Each name has the texts that were given
//! for it, so that a repeated field is either a list or an error.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _,
    MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::language::Text;

/// Names and their texts. `None` is a text that cannot be read.
pub(super) type Texts = BTreeMap<String, Vec<Option<String>>>;

/// Why the struct could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The name; empty if the problem has none.
    pub(super) name: String,
    /// A sentence for the person who gave the text.
    pub(super) message: String,
}

/// Reads `T` from `texts`.
pub(super) fn read<T: DeserializeOwned>(texts: &Texts) -> Result<T, Problem> {
    T::deserialize(Struct(texts))
}

/// The names of the fields of `T`; empty if it is not a struct, or has a flattened field.
pub(super) fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &[&str] = &[];
    // Always an error, because there is nothing to read.
    T::deserialize(FieldNames(&mut fields)).err();
    fields
}

struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Problem> {
        Err(problem("no struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Problem> {
        *self.0 = fields;
        Err(problem("only the names of the fields are read"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.name, self.message)
    }
}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { name: String::new(), message: message.to_string() }
    }

    fn invalid_type(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Self {
        Self::custom(Text::key("value-invalid"))
    }

    fn invalid_value(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Self {
        Self::custom(Text::key("value-invalid"))
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::custom(Text::key("value-option"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { name: field.to_owned(), message: Text::key("value-missing").to_string() }
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self { name: field.to_owned(), message: Text::key("value-unknown-field").to_string() }
    }
}

struct Struct<'a>(&'a Texts);

impl<'a, 'de> Deserializer<'de> for Struct<'a> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_map(Fields { rest: self.0.iter(), current: None })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Fields<'a> {
    rest: std::collections::btree_map::Iter<'a, String, Vec<Option<String>>>,
    current: Option<(&'a String, &'a [Option<String>])>,
}

impl<'a, 'de> MapAccess<'de> for Fields<'a> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        let Some((name, texts)) = self.rest.next() else { return Ok(None) };
        self.current = Some((name, texts));
        let name: StringDeserializer<Problem> = name.clone().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let (name, texts) = self.current.take().unwrap_or((&NO_NAME, &[]));
        seed.deserialize(Field(texts)).map_err(|problem| match problem.name.is_empty() {
            true => Problem { name: name.clone(), ..problem },
            false => problem,
        })
    }
}

static NO_NAME: String = String::new();

/// The texts of one name.
struct Field<'a>(&'a [Option<String>]);

impl<'a> Field<'a> {
    fn text(&self) -> Result<&'a str, Problem> {
        match self.0 {
            [Some(text)] => Ok(text),
            [None] => Err(problem(Text::key("value-unreadable"))),
            [] => Err(problem(Text::key("value-missing"))),
            _ => Err(problem(Text::key("value-repeated"))),
        }
    }
}

/// Whether a field or setting is not there.
pub(super) fn is_missing(message: &str) -> bool {
    Text::key("value-missing") == message
}

fn problem(message: impl Into<Text>) -> Problem {
    <Problem as de::Error>::custom(message.into())
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty: $message:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            match self.text()?.trim().parse::<$type>() {
                Ok(number) => visitor.$visit(number),
                Err(_) => Err(problem(Text::key($message))),
            }
        }
    )*};
}

impl<'a, 'de> Deserializer<'de> for Field<'a> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_str(self.text()?)
    }

    numbers! {
        deserialize_i8 visit_i8 i8: "value-whole-number";
        deserialize_i16 visit_i16 i16: "value-whole-number";
        deserialize_i32 visit_i32 i32: "value-whole-number";
        deserialize_i64 visit_i64 i64: "value-whole-number";
        deserialize_i128 visit_i128 i128: "value-whole-number";
        deserialize_u8 visit_u8 u8: "value-whole-number";
        deserialize_u16 visit_u16 u16: "value-whole-number";
        deserialize_u32 visit_u32 u32: "value-whole-number";
        deserialize_u64 visit_u64 u64: "value-whole-number";
        deserialize_u128 visit_u128 u128: "value-whole-number";
        deserialize_f32 visit_f32 f32: "value-number";
        deserialize_f64 visit_f64 f64: "value-number";
    }

    /// A checked checkbox is sent as `on`; an unchecked one is not sent.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.text()? {
            "on" | "true" | "1" => visitor.visit_bool(true),
            "off" | "false" | "0" | "" => visitor.visit_bool(false),
            _ => Err(problem(Text::key("value-yes-or-no"))),
        }
    }

    /// An empty text is `None`.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            [] => visitor.visit_none(),
            [Some(text)] if text.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_seq(Texted(self.0.iter()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_enum(Choice(self.text()?))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
    }
}

struct Texted<'a>(std::slice::Iter<'a, Option<String>>);

impl<'a, 'de> SeqAccess<'de> for Texted<'a> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(text) = self.0.next() else { return Ok(None) };
        seed.deserialize(Field(std::slice::from_ref(text))).map(Some)
    }
}

struct Choice<'a>(&'a str);

impl<'a, 'de> EnumAccess<'de> for Choice<'a> {
    type Error = Problem;
    type Variant = Unit;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Unit), Problem> {
        let name: StringDeserializer<Problem> = self.0.to_owned().into_deserializer();
        Ok((seed.deserialize(name)?, Unit))
    }
}

/// A variant without data.
struct Unit;

impl<'de> VariantAccess<'de> for Unit {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Problem> {
        Err(problem(Text::key("value-option")))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Problem> {
        Err(problem(Text::key("value-option")))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Problem> {
        Err(problem(Text::key("value-option")))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Color {
        Red,
        DarkBlue,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Everything {
        name: String,
        count: u8,
        price: Option<f64>,
        color: Color,
        #[serde(default)]
        agreed: bool,
        #[serde(default)]
        tags: Vec<String>,
    }

    fn texts(pairs: &[(&str, &str)]) -> Texts {
        let mut texts = Texts::new();
        for (name, text) in pairs {
            texts.entry((*name).to_owned()).or_default().push(Some((*text).to_owned()));
        }
        texts
    }

    const GOOD: [(&str, &str); 4] =
        [("name", "Ada"), ("count", "7"), ("price", ""), ("color", "dark_blue")];

    fn changed(name: &str, text: &str) -> Result<Everything, Problem> {
        let mut all = texts(&GOOD);
        all.insert(name.to_owned(), vec![Some(text.to_owned())]);
        read(&all)
    }

    #[test]
    fn a_struct_is_read_from_texts() {
        let all = [&GOOD[..], &[("agreed", "on"), ("tags", "a"), ("tags", "b"), ("extra", "x")]];
        let read: Everything = read(&texts(&all.concat())).unwrap();
        let expected = Everything {
            name: "Ada".to_owned(),
            count: 7,
            price: None,
            color: Color::DarkBlue,
            agreed: true,
            tags: vec!["a".to_owned(), "b".to_owned()],
        };
        assert_eq!(read, expected);
        assert_eq!(changed("price", " 2.5 ").unwrap().price, Some(2.5));
    }

    #[test]
    fn every_problem_names_the_field_and_what_to_do() {
        for (name, text, message) in [
            ("count", "many", "Enter a whole number."),
            ("count", "256", "Enter a whole number."),
            ("count", "-1", "Enter a whole number."),
            ("price", "cheap", "Enter a number."),
            ("color", "green", "Choose one of the options."),
            ("agreed", "perhaps", "Choose yes or no."),
        ] {
            let expected = Problem { name: name.to_owned(), message: message.to_owned() };
            assert_eq!(changed(name, text), Err(expected), "{text}");
        }
        let mut without = texts(&GOOD);
        without.remove("name");
        assert_eq!(read::<Everything>(&without).unwrap_err().name, "name");
        let mut twice = texts(&GOOD);
        twice.get_mut("name").unwrap().push(Some("Bob".to_owned()));
        assert!(read::<Everything>(&twice).unwrap_err().message.contains("more than once"));
        let mut unreadable = texts(&GOOD);
        unreadable.insert("name".to_owned(), vec![None]);
        assert!(read::<Everything>(&unreadable).unwrap_err().message.contains("retype"));
    }
}
