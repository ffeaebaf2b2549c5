//! The functions `t` and `t_html`: messages of the catalog in templates. Calls whose result is known when the templates are
//! loaded are replaced before tera parses them ([`super::constants`]).

use std::borrow::Cow;
use std::collections::BTreeMap;

use tera::{Kwargs, State, Tera, TeraResult, Value};

use crate::language::{Argument, MessageError, with_current};

/// Registers both functions.
pub(super) fn register(tera: &mut Tera) {
    tera.register_function("t", text);
    tera.register_function("t_html", html);
}

fn text(arguments: Kwargs, _: &State) -> TeraResult<String> {
    let (key, values) = (arguments.must_get::<&str>("key")?, values(&arguments)?);
    with_current(|catalog| catalog.text(key, values).map(Cow::into_owned)).map_err(error)
}

fn html(arguments: Kwargs, _: &State) -> TeraResult<Value> {
    let (key, values) = (arguments.must_get::<&str>("key")?, values(&arguments)?);
    let values: BTreeMap<_, _> = values.into_iter().collect();
    let html = with_current(|catalog| catalog.html(key, &values));
    html.map(|html| Value::safe_string(&html)).map_err(error)
}

fn error(error: MessageError) -> tera::Error {
    tera::Error::message(error)
}

/// The values of the variables and elements of a message.
fn values(arguments: &Kwargs) -> TeraResult<Vec<(&str, Argument<'_>)>> {
    let named = arguments.iter().filter_map(|(name, value)| Some((name.as_str()?, value)));
    let values = named.filter(|(name, _)| *name != "key").map(|(name, value)| {
        let argument = match value.as_str() {
            Some(text) if value.is_safe() => Argument::Html(text),
            Some(text) => Argument::Text(Cow::Borrowed(text)),
            None if value.is_none() => Argument::Nothing,
            None => {
                let number = value.as_number().map(|number| Argument::Number(number.as_float()));
                let problem = || format!("{name} must be a text or a number");
                number.ok_or_else(|| tera::Error::message(problem()))?
            }
        };
        Ok((name, argument))
    });
    values.collect()
}
