//! A form that was submitted before re-authentication. It is sealed into a hidden field of the
//! re-authentication page, and then replaces the form that is submitted there. The server stores nothing. It
//! can be opened only in the session that submitted it, for the same path, and for 15 minutes; otherwise the
//! response is 400. Passwords are omitted, and the handler's page asks for them again.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::LocalBoxFuture;
use uuid::Uuid;

use super::error::HttpError;
use super::form::{self, Form};
use super::return_to;
use crate::crypto::seal::Sealer;

/// The hidden field with the sealed form. No other field may have this name.
pub const FIELD: &str = "original_request";
/// In bytes. With sealing and Base64, a larger form would exceed [`super::limits::MAX_BODY`].
const MAX_LENGTH: usize = 32 * 1024;
/// The same as `auth::RECENT_FOR`.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The session of a request, and its age by the clock of the database, which all servers share.
#[derive(Clone, Copy, Debug)]
pub struct SessionBinding {
    /// The public id of the session.
    pub session: Uuid,
    /// Since the session was created.
    pub age: Duration,
}

impl SessionBinding {
    /// The binding of the session of `request`, which the authentication middleware has set.
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().copied()
    }

    /// Seals `form`, which was submitted to `target` (path and query), for the field [`FIELD`].
    pub fn seal(self, sealer: &Sealer, target: &str, form: &Form) -> Result<String, HttpError> {
        let body = form.encode_without_passwords();
        if body.len() > MAX_LENGTH {
            return Err(HttpError::PayloadTooLarge);
        }
        let at = (self.age.as_millis() as u64).to_be_bytes();
        let sealed = sealer.seal(&self.purpose(target), &[&at[..], body.as_bytes()].concat());
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what [`SessionBinding::seal`] sealed. `None` for another session or target, or after 15 minutes.
    pub fn open(self, sealer: &Sealer, target: &str, text: &str) -> Option<Form> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let plain = sealer.open(&self.purpose(target), &sealed)?;
        let (at, body) = plain.split_first_chunk::<8>()?;
        let at = Duration::from_millis(u64::from_be_bytes(*at));
        // The age is measured by a query, so that a later request may see an age that is up to a second
        // smaller.
        let is_valid = self.age <= at + LIFETIME && at <= self.age + Duration::from_secs(1);
        is_valid.then(|| Form::parse(body))
    }

    fn purpose(self, target: &str) -> String {
        format!("replay:{}:{target}", self.session)
    }
}

/// Path and query of a request.
pub fn target(request: &HttpRequest) -> String {
    return_to::own_address(request.uri())
}

/// The sealed form in `form`, or `form` itself if it has none.
fn opened(
    mut form: Form,
    sealer: Option<&web::Data<Sealer>>,
    binding: Option<SessionBinding>,
    target: &str,
) -> Result<Form, HttpError> {
    if !form.has(FIELD) {
        return Ok(form);
    }
    let text = form.take(FIELD).map_err(|_| HttpError::BadRequest)?;
    let (Some(sealer), Some(binding)) = (sealer, binding) else {
        return Err(HttpError::BadRequest);
    };
    binding.open(sealer, target, &text).ok_or(HttpError::BadRequest)
}

/// A submitted form whose sealed form is not opened: for the re-authentication page, which forwards it.
#[derive(Debug)]
pub struct RawForm(pub Form);

impl FromRequest for RawForm {
    type Error = HttpError;
    type Future = LocalBoxFuture<'static, Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let form = form::read(request, payload);
        Box::pin(async move { form.await.map(RawForm) })
    }
}

impl FromRequest for Form {
    type Error = HttpError;
    type Future = LocalBoxFuture<'static, Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let form = form::read(request, payload);
        let sealer = request.app_data::<web::Data<Sealer>>().cloned();
        let (binding, target) = (SessionBinding::of(request), target(request));
        Box::pin(async move { opened(form.await?, sealer.as_ref(), binding, &target) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretKeys;

    #[test]
    fn a_form_can_be_opened_in_its_session_for_its_path_and_for_15_minutes() {
        let keys = SecretKeys::parse("tK8vQ2mZx7Lr4Wc9Ns1Bp6Hd3Yg5Jf0aEuViOoTbXkRlPzM").unwrap();
        let sealer = Sealer::new(keys.as_slice());
        let at = |session, seconds| SessionBinding { session, age: Duration::from_secs(seconds) };
        let (mine, other) = (Uuid::now_v7(), Uuid::now_v7());
        let form = Form::parse(b"email=a%26b&note=x+y&note=z&current_password=hush");
        let text = at(mine, 100).seal(&sealer, "/a?b", &form).unwrap();
        let opens =
            |binding: SessionBinding, target: &str, text: &str| binding.open(&sealer, target, text);
        for seconds in [100, 101, 1000] {
            let mut form = opens(at(mine, seconds), "/a?b", &text).unwrap();
            assert_eq!(form.take("email").unwrap(), "a&b");
            assert!(form.take("note").is_err(), "sent twice, still twice");
            assert!(!form.has("current_password"));
        }
        assert!(opens(at(mine, 1001), "/a?b", &text).is_none(), "too late");
        assert!(opens(at(mine, 90), "/a?b", &text).is_none(), "from the future");
        assert!(opens(at(other, 100), "/a?b", &text).is_none(), "another session");
        assert!(opens(at(mine, 100), "/a", &text).is_none(), "another path");
        for place in [0, text.len() / 2, text.len() - 2] {
            let mut altered = text.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(opens(at(mine, 100), "/a?b", &altered).is_none(), "altered");
        }
        let large = Form::parse(format!("a={}", "x".repeat(MAX_LENGTH)).as_bytes());
        assert!(matches!(at(mine, 1).seal(&sealer, "/", &large), Err(HttpError::PayloadTooLarge)));
    }
}
