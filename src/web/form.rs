//! What a form sent: fields by name, each exactly once. Every input is hostile: the body has a size and
//! a deadline, and no NUL passes.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use percent_encoding::percent_decode;
use serde::Serialize;

use super::error::HttpError;
use super::relative_time;

/// No form of ours is larger.
pub const MAX_BODY: usize = 64 * 1024;
/// A body that trickles holds a handler; actix-web has no deadline of its own for it.
pub const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// The fields of a body that is `application/x-www-form-urlencoded`.
#[derive(Debug, Default)]
pub struct Form {
    fields: BTreeMap<String, Vec<Option<String>>>,
}

/// What is wrong with one field, in words for the person who filled it in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name.
    pub field: &'static str,
    /// What to do.
    pub message: String,
}

/// What a form looks like when it is shown: what was typed, and what is wrong with it.
#[derive(Debug, Default, Serialize)]
pub struct FormView {
    /// What to put into the inputs; never a password.
    pub values: BTreeMap<&'static str, String>,
    /// Messages by field.
    pub errors: BTreeMap<&'static str, String>,
    /// The same in the order of the page.
    pub summary: Vec<FieldError>,
    /// What is wrong with the form as a whole.
    pub message: Option<String>,
    /// Where to go afterwards.
    pub next: String,
}

impl FormView {
    /// A form that keeps what was typed.
    pub fn with_values<const N: usize>(values: [(&'static str, &str); N]) -> Self {
        Self {
            values: values.into_iter().map(|(name, value)| (name, value.to_owned())).collect(),
            ..Self::default()
        }
    }

    /// Adds what is wrong with a field; the first word about a field stands.
    pub fn add_error(&mut self, field: &'static str, message: impl Into<String>) {
        let message = message.into();
        if !self.errors.contains_key(field) {
            self.errors.insert(field, message.clone());
            self.summary.push(FieldError { field, message });
        }
    }

    /// Adds that it was tried too often (`why`), and how long to wait.
    pub fn throttle(&mut self, why: &str, wait: Duration) {
        self.message = Some(format!("{why} Wait {}, then try again.", relative_time::wait(wait)));
    }

    /// Whether nothing is wrong.
    pub fn is_valid(&self) -> bool {
        self.summary.is_empty() && self.message.is_none()
    }

    /// Takes a field out of `form`; what is wrong with how it was sent is noted here.
    pub fn take(&mut self, form: &mut Form, field: &'static str, label: &str) -> String {
        match form.take(field) {
            Ok(value) => value,
            Err(problem) => {
                self.add_error(field, problem.sentence(label));
                String::new()
            }
        }
    }
}

/// What can be wrong with how a field was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldProblem {
    /// Not there.
    Missing,
    /// There more than once: no guess which one was meant.
    Repeated,
    /// Not UTF-8, or with a NUL, which PostgreSQL cannot store.
    Unreadable,
}

impl FieldProblem {
    fn sentence(self, label: &str) -> String {
        match self {
            FieldProblem::Missing => format!("{label} is missing."),
            FieldProblem::Repeated => format!("{label} was sent more than once."),
            FieldProblem::Unreadable => {
                format!("{label} contains a character we can't store. Please retype it.")
            }
        }
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

    /// The value of `field`, or nothing when it is missing or odd: for what may be left out.
    pub fn take_optional(&mut self, field: &str) -> Option<String> {
        self.take(field).ok()
    }

    /// Whether `field` was sent, however.
    pub fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// The fields as a browser would send them, without those that hold a password, and without what could not be read.
    pub(super) fn encode_without_passwords(&self) -> String {
        let kept = self.fields.iter().filter(|(name, _)| !name.contains("password"));
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

/// Reads and parses the body of a request.
pub(super) fn read(
    request: &HttpRequest,
    payload: &mut Payload,
) -> LocalBoxFuture<'static, Result<Form, HttpError>> {
    let kind = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    let mut payload = payload.take();
    Box::pin(async move {
        if announced.is_some_and(|length| length > MAX_BODY as u64) {
            return Err(HttpError::PayloadTooLarge);
        }
        let read = async {
            let mut body = Vec::new();
            while let Some(chunk) = payload.next().await {
                let chunk = chunk.map_err(|_| HttpError::BadRequest)?;
                if body.len() + chunk.len() > MAX_BODY {
                    return Err(HttpError::PayloadTooLarge);
                }
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        };
        let body = tokio::time::timeout(BODY_DEADLINE, read)
            .await
            .map_err(|_| HttpError::RequestTimeout)??;
        match kind.as_deref() {
            Some("application/x-www-form-urlencoded") => Ok(Form::parse(&body)),
            // A button without fields, pressed by a script.
            None if body.is_empty() => Ok(Form::default()),
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
