//! A form that was sent before its sender had said who they are again: it travels, sealed, through the page that asks
//! for that, and is then taken in place of what is sent. Nothing is stored. It opens in the session that sent it, for
//! the path it was sent to, and for a quarter of an hour; anything else is refused, never half taken. A password that was
//! part of it does not travel: the page asks for it anew.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::LocalBoxFuture;
use uuid::Uuid;

use super::error::HttpError;
use super::form::{self, Form};
use crate::crypto::seal::Sealer;

/// The field that carries it. No form of ours has a field of its own with this name.
pub const FIELD: &str = "original_request";
/// As a form that is larger, it would not fit into the next one with what sealing adds.
const MAX: usize = 32 * 1024;
/// As long as a proof counts.
const GOOD_FOR: Duration = Duration::from_secs(15 * 60);

/// In which session a request comes, and how old that session is by the database's clock: a clock that all servers
/// share.
#[derive(Clone, Copy, Debug)]
pub struct SessionBinding {
    /// Its public id.
    pub session: Uuid,
    /// Since it began.
    pub age: Duration,
}

impl SessionBinding {
    /// What [`crate::web`] was told of the session of this request.
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().copied()
    }

    /// `form`, which was sent to `target` (path and query), for the field [`FIELD`].
    pub fn seal(self, sealer: &Sealer, target: &str, form: &Form) -> Result<String, HttpError> {
        let body = form.encode_without_passwords();
        if body.len() > MAX {
            return Err(HttpError::PayloadTooLarge);
        }
        let at = (self.age.as_millis() as u64).to_be_bytes();
        let sealed = sealer.seal(&self.purpose(target), &[&at[..], body.as_bytes()].concat());
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// What [`SessionBinding::seal`] sealed here for `target` a while ago.
    pub fn open(self, sealer: &Sealer, target: &str, text: &str) -> Option<Form> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let plain = sealer.open(&self.purpose(target), &sealed)?;
        let (at, body) = plain.split_first_chunk::<8>()?;
        let at = Duration::from_millis(u64::from_be_bytes(*at));
        // A second for the way to the database, which the age is counted from.
        let is_good = self.age <= at + GOOD_FOR && at <= self.age + Duration::from_secs(1);
        is_good.then(|| Form::parse(body))
    }

    fn purpose(self, target: &str) -> String {
        format!("replay:{}:{target}", self.session)
    }
}

/// Path and query of a request.
pub fn target(request: &HttpRequest) -> String {
    request.uri().path_and_query().map(ToString::to_string).unwrap_or_default()
}

/// `form`, or the original that it carries.
pub(super) fn opened(
    mut form: Form,
    sealer: Option<&web::Data<Sealer>>,
    holder: Option<SessionBinding>,
    target: &str,
) -> Result<Form, HttpError> {
    if !form.has(FIELD) {
        return Ok(form);
    }
    let text = form.take(FIELD).map_err(|_| HttpError::BadRequest)?;
    let (Some(sealer), Some(holder)) = (sealer, holder) else { return Err(HttpError::BadRequest) };
    holder.open(sealer, target, &text).ok_or(HttpError::BadRequest)
}

/// A form as it was sent, with a sealed original in it left sealed: for the page that passes it on.
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
        let (holder, target) = (SessionBinding::of(request), target(request));
        Box::pin(async move { opened(form.await?, sealer.as_ref(), holder, &target) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretKeys;

    #[test]
    fn an_original_opens_in_its_session_for_its_path_and_for_a_quarter_of_an_hour() {
        let keys = SecretKeys::parse("tK8vQ2mZx7Lr4Wc9Ns1Bp6Hd3Yg5Jf0aEuViOoTbXkRlPzM").unwrap();
        let sealer = Sealer::new(keys.as_slice());
        let at = |session, seconds| SessionBinding { session, age: Duration::from_secs(seconds) };
        let (mine, other) = (Uuid::now_v7(), Uuid::now_v7());
        let form = Form::parse(b"email=a%26b&note=x+y&note=z&current_password=hush");
        let text = at(mine, 100).seal(&sealer, "/a?b", &form).unwrap();
        let opens =
            |holder: SessionBinding, target: &str, text: &str| holder.open(&sealer, target, text);
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
        let large = Form::parse(format!("a={}", "x".repeat(MAX)).as_bytes());
        assert!(matches!(at(mine, 1).seal(&sealer, "/", &large), Err(HttpError::PayloadTooLarge)));
    }
}
