//! Forms of a site.

use std::collections::BTreeMap;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Error;
use super::values::{self, Texts};
use crate::language::Text;
use crate::web::form;

/// A submitted form (`application/x-www-form-urlencoded`), to be checked with [`Form::check`].
///
/// Extraction fails only if the request cannot be read: 400, 408 (10 seconds), 413 (64 KiB, see
/// [`Routes::limits`](crate::Routes::limits)) or 415. What the user typed is judged by [`Form::check`], so that the
/// page can show it again.
///
/// The fields of `T` are those of the form. A field that is sent once is a text, a number or an enum without data;
/// one that is sent several times is a `Vec`. An empty field is `None` for an `Option`. A checkbox is `true` if it
/// is checked; because an unchecked one is not sent, its field needs `#[serde(default)]`. Fields that `T` does not
/// have are ignored unless it has `#[serde(deny_unknown_fields)]`.
///
/// ```
/// use frontdesk::Form;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct NewNote {
///     body: String,
///     #[serde(default)]
///     is_pinned: bool,
/// }
///
/// fn judge(form: Form<NewNote>) -> Result<NewNote, frontdesk::FormView> {
///     form.check(|note, errors| {
///         if note.body.trim().is_empty() {
///             errors.add("body", "Write something.");
///         }
///     })
/// }
/// ```
#[derive(Debug)]
pub struct Form<T> {
    texts: Texts,
    value: Result<T, values::Problem>,
}

impl<T> Form<T> {
    /// The value, if it can be read and `rules` adds no error. Otherwise the form as the page shows it again, with
    /// what was typed and what is wrong with it. Passwords are not kept: the values of fields whose name contains
    /// `password` are dropped.
    pub fn check(self, rules: impl FnOnce(&T, &mut FieldErrors)) -> Result<T, FormView> {
        let mut errors = FieldErrors(FormView::default());
        let value = match self.value {
            Ok(value) => {
                rules(&value, &mut errors);
                Some(value)
            }
            Err(values::Problem { name, message }) if name.is_empty() => {
                errors.0.message = Some(message);
                None
            }
            Err(values::Problem { name, message }) => {
                errors.add(&name, message);
                None
            }
        };
        match value {
            Some(value) if errors.0.is_valid() => Ok(value),
            _ => {
                errors.0.values = echoed(self.texts);
                Err(errors.0)
            }
        }
    }
}

fn echoed(texts: Texts) -> BTreeMap<String, String> {
    let shown = texts.into_iter().filter(|(name, _)| !name.to_lowercase().contains("password"));
    shown.filter_map(|(name, texts)| Some((name, texts.into_iter().next()??))).collect()
}

/// The errors of a form, by field.
///
/// ```
/// use frontdesk::FieldErrors;
///
/// fn check_period(from: u32, to: u32, errors: &mut FieldErrors) {
///     if from > to {
///         errors.add("to", "Choose a day after the first one.");
///     }
/// }
/// ```
#[derive(Debug)]
pub struct FieldErrors(FormView);

impl FieldErrors {
    /// Adds an error of `field`: what is wrong and how to fix it, in one sentence. Only the first error of each
    /// field is kept.
    pub fn add(&mut self, field: &str, message: impl Into<Text>) {
        let FormView { errors, summary, .. } = &mut self.0;
        if !errors.contains_key(field) {
            let message = message.into().to_string();
            errors.insert(field.to_owned(), message.clone());
            summary.push(FieldError { field: field.to_owned(), message });
        }
    }

    /// Sets an error of the form as a whole.
    pub fn set_message(&mut self, message: impl Into<Text>) {
        self.0.message = Some(message.into().to_string());
    }
}

/// A form as a page shows it: empty, or with what was typed and what is wrong with it. Pass it to
/// [`Page::render_form`](crate::Page::render_form).
///
/// ```
/// use frontdesk::{FormView, Page, PageResult};
/// use serde_json::json;
///
/// async fn new(page: Page) -> PageResult {
///     page.render_form("new.html", &FormView::default(), &json!({}))
/// }
/// ```
#[derive(Clone, Debug, Default, Serialize)]
pub struct FormView {
    values: BTreeMap<String, String>,
    errors: BTreeMap<String, String>,
    summary: Vec<FieldError>,
    message: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct FieldError {
    field: String,
    message: String,
}

impl FormView {
    /// A form with these values, by field.
    ///
    /// ```
    /// let form = frontdesk::FormView::with_values([("title", "Shopping")]);
    /// assert!(form.is_valid());
    /// ```
    pub fn with_values<N: Into<String>, V: Into<String>>(
        values: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let values = values.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { values, ..Self::default() }
    }

    /// Whether the form has no error.
    pub fn is_valid(&self) -> bool {
        self.summary.is_empty() && self.message.is_none()
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Form<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // At once, because all extractors of a handler are created before the first one waits.
        request.extensions_mut().insert(FormIsRead);
        let form = form::Form::from_request(request, payload);
        Box::pin(async move {
            let texts = form.await?.into_texts();
            let value = values::read(&texts);
            Ok(Self { texts, value })
        })
    }
}

/// Marks a request whose body an extractor [`Form`] reads.
pub(super) struct FormIsRead;

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct SignUp {
        name: String,
        age: u8,
    }

    fn form(pairs: &[(&str, &str)]) -> Form<SignUp> {
        let texts: Texts = pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), vec![Some((*text).to_owned())]))
            .collect();
        let value = values::read(&texts);
        Form { texts, value }
    }

    #[test]
    fn a_form_is_shown_again_with_what_was_typed_and_what_is_wrong_but_without_passwords() {
        let typed = [("name", "Ada"), ("age", "old"), ("new_password", "secret")];
        let view = form(&typed).check(|_, _| unreachable!("not read")).unwrap_err();
        assert!(!view.is_valid());
        assert_eq!(view.errors["age"], "Enter a whole number.");
        assert_eq!(view.values["name"], "Ada");
        assert!(!view.values.contains_key("new_password"));
        let view = form(&[("name", ""), ("age", "7")]).check(|sign_up, errors| {
            if sign_up.name.is_empty() {
                errors.add("name", "Enter a name.");
                errors.add("name", "Only the first one is kept.");
            }
        });
        let view = view.unwrap_err();
        assert_eq!(view.summary.len(), 1);
        assert_eq!(view.errors["name"], "Enter a name.");
        assert_eq!(form(&[("name", "Ada"), ("age", "7")]).check(|_, _| ()).unwrap().age, 7);
    }
}
