//! Form data: fields by name, each exactly once. The body has a maximum size and a deadline, and NUL is
//! rejected.

use std::collections::BTreeMap;
use std::future::ready;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::Bytes;
use actix_web::{HttpMessage as _, HttpRequest, web};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use percent_encoding::percent_decode;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::error::HttpError;
use super::form_token::{self, Client, FormToken};
use super::limits::BodyLimits;
use super::page_templates::Viewer;
use super::{cookie_guard, relative_time};
use crate::crypto::seal::Sealer;
use crate::language::Text;

/// The fields of a body that is `application/x-www-form-urlencoded`.
#[derive(Debug, Default)]
pub struct Form {
    fields: BTreeMap<String, Vec<Option<String>>>,
    /// The form was rendered with a cookie, and arrived without any cookie of this site.
    lacks_cookies: bool,
}

/// An error of one field, as it is shown to the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name.
    pub field: &'static str,
    /// What is wrong and how to fix it.
    pub message: String,
}

/// The data of a form on a page: its values and errors.
#[derive(Debug, Default, Serialize)]
pub struct FormView {
    /// The values of the inputs; never a password.
    pub values: BTreeMap<&'static str, String>,
    /// Messages by field.
    pub errors: BTreeMap<&'static str, String>,
    /// The same messages, in the order in which they were added.
    pub summary: Vec<FieldError>,
    /// An error of the form as a whole.
    pub message: Option<String>,
    /// The page to redirect to afterwards.
    pub next: String,
}

impl FormView {
    /// A form with these values.
    pub fn with_values<const N: usize>(values: [(&'static str, &str); N]) -> Self {
        Self {
            values: values.into_iter().map(|(name, value)| (name, value.to_owned())).collect(),
            ..Self::default()
        }
    }

    /// Adds an error of a field. Only the first error of each field is kept.
    pub fn add_error(&mut self, field: &'static str, message: impl Into<Text>) {
        let message = message.into().to_string();
        if !self.errors.contains_key(field) {
            self.errors.insert(field, message.clone());
            self.summary.push(FieldError { field, message });
        }
    }

    /// Sets an error of the form as a whole.
    pub fn set_message(&mut self, message: impl Into<Text>) {
        self.message = Some(message.into().to_string());
    }

    /// Sets the message of the form to `reason` (too many attempts), which says how long to wait (`$time`).
    pub fn set_rate_limited(&mut self, reason: Text, wait: Duration) {
        self.set_message(reason.with("time", relative_time::wait(wait)));
    }

    /// Whether the form has no error.
    pub fn is_valid(&self) -> bool {
        self.summary.is_empty() && self.message.is_none()
    }

    /// Removes a field from `form` and returns its value. If it has no usable value, adds an error and
    /// returns "".
    pub fn take(&mut self, form: &mut Form, field: &'static str, label: Text) -> String {
        match form.take(field) {
            Ok(value) => value,
            Err(problem) => {
                self.add_error(field, problem.sentence(label));
                String::new()
            }
        }
    }
}

/// Why a field has no usable value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldProblem {
    /// It was not sent.
    Missing,
    /// It was sent more than once.
    Repeated,
    /// It is not UTF-8 or contains NUL, which PostgreSQL cannot store.
    Unreadable,
}

impl FieldProblem {
    fn sentence(self, label: Text) -> Text {
        let sentence = match self {
            FieldProblem::Missing => Text::key("field-missing"),
            FieldProblem::Repeated => Text::key("field-repeated"),
            FieldProblem::Unreadable => Text::key("field-unreadable"),
        };
        sentence.with("field", label)
    }
}

impl Form {
    /// The value of `field`, exactly as sent.
    pub fn take(&mut self, field: &str) -> Result<String, FieldProblem> {
        match self.fields.remove(field).as_deref_mut() {
            None | Some([]) => Err(FieldProblem::Missing),
            Some([value]) => value.take().ok_or(FieldProblem::Unreadable),
            Some(_) => Err(FieldProblem::Repeated),
        }
    }

    /// The value of an optional `field`; `None` if it is missing or unusable.
    pub fn take_optional(&mut self, field: &str) -> Option<String> {
        self.take(field).ok()
    }

    /// All fields with their values, `None` for those that are unreadable.
    pub fn into_texts(self) -> BTreeMap<String, Vec<Option<String>>> {
        self.fields
    }

    /// Whether `field` was sent, even with an unusable value.
    pub fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// Whether the browser does not accept cookies: the page with the form set one, and the form arrived
    /// without any of this site. Always `false` for a form without a valid token.
    pub fn lacks_cookies(&self) -> bool {
        self.lacks_cookies
    }

    /// Encodes the fields as a browser would, without passwords and unreadable values.
    pub(super) fn encode_without_passwords(&self) -> String {
        let kept = self.fields.iter().filter(|(name, _)| !name.to_lowercase().contains("password"));
        let pairs = kept.flat_map(|(name, values)| {
            values.iter().flatten().map(move |value| (name.as_str(), value.as_str()))
        });
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    pub(super) fn parse(body: &[u8]) -> Self {
        let mut form = Form::default();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            if let Some(name) = decode(name) {
                form.fields.entry(name).or_default().push(decode(value));
            }
        }
        form
    }
}

fn decode(text: &[u8]) -> Option<String> {
    let spaced: Vec<u8> =
        text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded = percent_decode(&spaced).decode_utf8().ok()?;
    (!decoded.contains('\0')).then(|| decoded.into_owned())
}

/// A form, and what identifies it.
#[derive(Debug)]
pub struct ReceivedForm {
    /// The fields, without the token.
    pub form: Form,
    /// The token, if the form has a valid one.
    pub token: Option<FormToken>,
    /// The SHA-256 of the body.
    pub digest: [u8; 32],
    /// The body, for the handler of a site that reads it itself.
    pub body: Bytes,
}

/// Reads the form of a request: the fields that [`receive`] has read already, or else the body.
pub(super) fn read(
    request: &HttpRequest,
    payload: &mut Payload,
) -> LocalBoxFuture<'static, Result<Form, HttpError>> {
    if let Some(ReadAlready(outcome)) = request.extensions_mut().remove() {
        return Box::pin(ready(outcome));
    }
    let received = receive(request, payload);
    Box::pin(async move { received.await.map(|received| received.form) })
}

/// The outcome of [`receive`], for the extractor of the handler.
struct ReadAlready(Result<Form, HttpError>);

/// Keeps a form that a middleware has received, for the extractor of the handler.
pub fn keep_for_handler(request: &HttpRequest, outcome: Result<Form, HttpError>) {
    request.extensions_mut().insert(ReadAlready(outcome));
}

/// Reads the form from the body of a request and opens its token. [`HttpError::OtherAccount`] if the form was
/// rendered for another account than the signed-in one.
pub fn receive(
    request: &HttpRequest,
    payload: &mut Payload,
) -> LocalBoxFuture<'static, Result<ReceivedForm, HttpError>> {
    let (body, request) = (read_body(request, payload), request.clone());
    Box::pin(async move {
        let body = body.await?;
        let mut form = Form::parse(&body);
        let token = take_token(&request, &mut form);
        if let Some(token) = &token {
            form_token::mark_received(&request);
            check_account(&request, token.client)?;
            form.lacks_cookies = matches!(token.client, Client::Browser(_))
                && !cookie_guard::has_own_cookie(&request);
        }
        let digest = Sha256::digest(&body).into();
        Ok(ReceivedForm { form, token, digest, body: body.into() })
    })
}

fn take_token(request: &HttpRequest, form: &mut Form) -> Option<FormToken> {
    let text = form.take_optional(form_token::FIELD)?;
    FormToken::open(request.app_data::<web::Data<Sealer>>()?, &text)
}

/// Refuses a form that was rendered for another account than the signed-in one. Without a session, the handler
/// decides: it asks for a sign-in, or acts for the owner of a mailed link.
fn check_account(request: &HttpRequest, client: Client) -> Result<(), HttpError> {
    let Client::Session { account, .. } = client else { return Ok(()) };
    let signed_in = request.extensions().get::<Viewer>().map(|viewer| viewer.account);
    let is_other = signed_in.is_some_and(|signed_in| signed_in != account);
    if is_other && request.path() != form_token::SIGN_OUT {
        return Err(HttpError::OtherAccount);
    }
    Ok(())
}

/// Reads the body of a request.
fn read_body(
    request: &HttpRequest,
    payload: &mut Payload,
) -> LocalBoxFuture<'static, Result<Vec<u8>, HttpError>> {
    let media_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let content_length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    let BodyLimits { length: max_length, deadline } = BodyLimits::of(request);
    let mut payload = payload.take();
    Box::pin(async move {
        if content_length.is_some_and(|length| length > max_length as u64) {
            return Err(HttpError::PayloadTooLarge);
        }
        let read = async {
            let mut body = Vec::new();
            while let Some(chunk) = payload.next().await {
                let chunk = chunk.map_err(|error| match error {
                    PayloadError::Overflow => HttpError::PayloadTooLarge,
                    _ => HttpError::BadRequest,
                })?;
                if body.len() + chunk.len() > max_length {
                    return Err(HttpError::PayloadTooLarge);
                }
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        };
        let body =
            tokio::time::timeout(deadline, read).await.map_err(|_| HttpError::RequestTimeout)??;
        match media_type.as_deref() {
            Some("application/x-www-form-urlencoded") => Ok(body),
            // A form without fields that a script submitted.
            None if body.is_empty() => Ok(body),
            _ => Err(HttpError::UnsupportedMediaType),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_taken_as_it_was_sent() {
        let mut form = Form::parse(b"email=ada%40example.com&password=a+b%2Bc%20&empty=&bare");
        assert_eq!(form.take("email"), Ok("ada@example.com".to_owned()));
        assert_eq!(form.take("password"), Ok("a b+c ".to_owned()));
        assert_eq!(form.take("empty"), Ok(String::new()));
        assert_eq!(form.take("bare"), Ok(String::new()));
        assert_eq!(form.take("gone"), Err(FieldProblem::Missing));
    }

    #[test]
    fn a_repeated_field_is_refused() {
        let mut form = Form::parse(b"email=a%40b.c&email=d%40e.f");
        assert_eq!(form.take("email"), Err(FieldProblem::Repeated));
    }

    #[test]
    fn nul_and_broken_utf8_are_refused() {
        let mut form = Form::parse(b"a=x%00y&b=%ff%fe");
        assert_eq!(form.take("a"), Err(FieldProblem::Unreadable));
        assert_eq!(form.take("b"), Err(FieldProblem::Unreadable));
    }
}
