//! The middleware in front of the session middleware. It filters the cookies of a request and writes the
//! session cookie of the response.
//!
//! Requests: actix-web percent-decodes names of cookies, trims Unicode whitespace, and takes the first of
//! several cookies with one name. So a sibling subdomain could set `%5F%5FHost-session`, or another cookie of
//! the same name (cookie tossing). This middleware reads the raw header, and passes on the session cookie only
//! if the header has exactly one byte-exact pair of its name and no pair that could be mistaken for it. It
//! passes on no other cookie, because actix-session would parse all of them for each request; the few handlers
//! that need one call [`other_cookie`].
//!
//! Responses: if a handler created or renewed a session, its secret is sealed into the cookie. The cookie of a
//! remembered session gets a Max-Age. A response that removes the cookie also clears the browser's cache. A
//! cookie that was sealed with a previous key is sealed again. The cookie that the session middleware sets is
//! dropped, so that a request that only wrote to its session cannot overwrite the newer cookie of a sign-in in
//! another tab.

use std::borrow::Cow;

use actix_web::body::MessageBody;
use actix_web::cookie::{Cookie, CookieJar, Key, SameSite, time::Duration};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, web};
use percent_encoding::percent_decode;
use serde::{Deserialize, Serialize};

use super::cookie_header::{CookieMatch, find};
use super::error::HttpError;
use super::request_data;
use crate::crypto::secret::Secret;

/// In the response that signs this browser out, in whatever way: the back button must not show pages of the
/// account (ASVS 5.0 V14.3.1).
static CLEAR_CACHE: (HeaderName, HeaderValue) =
    (HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cache\""));

/// The cookies of this site; over https their names have the prefix `__Host-`.
pub(super) const OWN_COOKIES: [&str; 6] =
    ["session", "browser", "device", "link", "notice", "registration"];

/// Name, attributes and keys of the session cookie. Application data of the site.
#[derive(Clone)]
pub struct SessionCookie {
    name: String,
    secure: bool,
    keys: Vec<Key>,
}

/// The Cookie headers as the client sent them. Kept with the request for [`other_cookie`].
pub(super) struct SentCookies(pub(super) Vec<HeaderValue>);

/// The Cookie headers with the session cookie, after [`super::site_cookies`] has replaced them.
pub(super) struct OwnCookie(pub(super) Vec<HeaderValue>);

/// How the response changes the session cookie. Set by a handler or when the session is loaded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CookieOverride {
    /// How long the browser keeps the cookie. `None`: until the browser is closed.
    pub max_age: Option<std::time::Duration>,
    /// Another session of this browser ended, for example because someone else signed in.
    pub ends_session: bool,
    /// The change.
    pub change: CookieChange,
}

/// A change of the session cookie.
#[derive(Clone, Default, Serialize, Deserialize)]
pub enum CookieChange {
    /// No change.
    #[default]
    Keep,
    /// Set to this value, which is not yet sealed.
    Replace(String),
    /// Removed from the browser.
    Clear,
}

impl std::fmt::Debug for CookieChange {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the value, which is a secret.
        out.write_str(match self {
            CookieChange::Keep => "Keep",
            CookieChange::Replace(_) => "Replace",
            CookieChange::Clear => "Clear",
        })
    }
}

/// A cookie with the attributes that all cookies of the site have: Path=/, HttpOnly, SameSite=Lax and, over
/// https, Secure. Without a Max-Age it lasts until the browser is closed.
pub fn own_cookie(
    name: impl Into<Cow<'static, str>>,
    value: String,
    secure: bool,
) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .secure(secure)
        .same_site(SameSite::Lax)
        .finish()
}

impl SessionCookie {
    /// `keys`: the first one seals, all of them open.
    pub fn new(secure: bool, keys: Vec<Key>) -> Self {
        let name = if secure { "__Host-session" } else { "session" };
        Self { name: name.to_owned(), secure, keys }
    }

    /// `__Host-session`, or `session` in development without TLS.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether browsers send it only over TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    fn cookie(&self, value: String, max_age: Option<std::time::Duration>) -> Cookie<'static> {
        let mut cookie = own_cookie(self.name.clone(), value, self.secure);
        if let Some(age) = max_age {
            cookie.set_max_age(Duration::seconds(age.as_secs() as i64));
        }
        cookie
    }

    fn seal(&self, value: String, max_age: Option<std::time::Duration>) -> Option<Cookie<'static>> {
        let mut jar = CookieJar::new();
        jar.private_mut(self.keys.first()?).add(self.cookie(value, max_age));
        jar.get(&self.name).cloned()
    }

    fn open(&self, sealed: &str, key: &Key) -> Option<String> {
        let value = percent_decode(sealed.as_bytes()).decode_utf8().ok()?;
        let mut jar = CookieJar::new();
        jar.add_original(Cookie::new(self.name.clone(), value.into_owned()));
        jar.private(key).get(&self.name).map(|cookie| cookie.value().to_owned())
    }

    /// The unsealed value, if it was sealed with a previous key.
    fn open_with_previous(&self, sealed: &str) -> Option<String> {
        let (current, previous) = self.keys.split_first()?;
        if previous.is_empty() || self.open(sealed, current).is_some() {
            return None;
        }
        previous.iter().find_map(|key| self.open(sealed, key))
    }

    /// The secret in the value of a session cookie, sealed with any of the keys.
    pub fn secret_of(&self, sealed: &str) -> Option<Secret> {
        let opened = self.keys.iter().find_map(|key| self.open(sealed, key))?;
        Secret::parse(&opened)
    }

    /// True if the request carries exactly the session cookie and only one key is configured; the header can
    /// then be passed through unchanged.
    fn is_only_cookie(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(COOKIE);
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        let has_one_pair = !line.as_bytes().contains(&b';') && !line.as_bytes().starts_with(b" ");
        let has_one_key = self.keys.len() == 1;
        has_one_pair && has_one_key && matches!(self.find([line]), CookieMatch::One(_))
    }

    /// Looks for the session cookie in Cookie headers. Other encodings of its value than the one that was set
    /// are suspicious.
    fn find<'a>(&self, headers: impl IntoIterator<Item = &'a HeaderValue>) -> CookieMatch<'a> {
        match find(headers, &self.name) {
            CookieMatch::One(value) if !is_base64_as_encoded(value) => CookieMatch::Suspicious,
            found => found,
        }
    }

    /// What `read` makes of the session cookie of a request, also after its headers were replaced.
    fn with_found<T>(&self, request: &HttpRequest, read: impl FnOnce(CookieMatch<'_>) -> T) -> T {
        match request.extensions().get::<OwnCookie>() {
            Some(OwnCookie(headers)) => read(self.find(headers)),
            None => read(self.find(request.headers().get_all(COOKIE))),
        }
    }

    fn removal(&self) -> Cookie<'static> {
        let mut cookie = self.cookie(String::new(), None);
        cookie.make_removal();
        cookie
    }
}

/// Updates the [`CookieOverride`] of the response to `request`.
pub fn override_cookie(request: &HttpRequest, change: impl FnOnce(&mut CookieOverride)) {
    let mut extensions = request.extensions_mut();
    if let Some(override_cookie) = extensions.get_mut::<CookieOverride>() {
        change(override_cookie);
        return;
    }
    let mut override_cookie = CookieOverride::default();
    change(&mut override_cookie);
    extensions.insert(override_cookie);
}

/// Whether the request has a session cookie, valid or not. Call it only behind this middleware.
pub fn has_cookie(request: &HttpRequest) -> bool {
    let settings = request.app_data::<web::Data<SessionCookie>>();
    settings.is_some_and(|settings| {
        settings.with_found(request, |found| matches!(found, CookieMatch::One(_)))
    })
}

/// Whether the request has a cookie of this site. Others may come from a sibling subdomain, or be added by an
/// intermediary, although the browser blocks cookies.
pub(super) fn has_own_cookie(request: &HttpRequest) -> bool {
    let Some(settings) = request.app_data::<web::Data<SessionCookie>>() else { return false };
    let prefix = settings.name().trim_end_matches("session");
    let extensions = request.extensions();
    OWN_COOKIES.iter().any(|name| {
        let name = format!("{prefix}{name}");
        let found = match extensions.get::<SentCookies>() {
            Some(SentCookies(sent)) => find(sent, &name),
            None => find(request.headers().get_all(COOKIE), &name),
        };
        !matches!(found, CookieMatch::None)
    })
}

/// The value of a cookie other than the session cookie, percent-decoded. `None` unless the client sent exactly
/// one byte-exact pair of `name`.
pub fn other_cookie(request: &HttpRequest, name: &str) -> Option<String> {
    let extensions = request.extensions();
    let found = match extensions.get::<SentCookies>() {
        Some(SentCookies(sent)) => find(sent, name),
        None => find(request.headers().get_all(COOKIE), name),
    };
    let CookieMatch::One(value) = found else { return None };
    percent_decode(value.as_bytes()).decode_utf8().ok().map(Cow::into_owned)
}

/// The secret in the session cookie of the request. Call it only behind this middleware.
pub fn secret(request: &HttpRequest) -> Option<Secret> {
    let settings = request.app_data::<web::Data<SessionCookie>>()?;
    settings.with_found(request, |found| match found {
        CookieMatch::One(sealed) => Secret::parse(&settings.open(sealed, settings.keys.first()?)?),
        CookieMatch::None | CookieMatch::Suspicious => None,
    })
}

/// The middleware.
pub async fn guard(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let Some(settings) = request.app_data::<web::Data<SessionCookie>>().cloned() else {
        let error = anyhow::anyhow!("no session cookie is set up");
        return Err(HttpError::Internal(error).into());
    };
    let opened_with_previous = settings.filter(&mut request);
    request_data::put_aside(request.request());
    let mut response = next.call(request).await?;
    settings.write(&mut response, opened_with_previous);
    Ok(response)
}

impl SessionCookie {
    /// Leaves only the session cookie in the Cookie header. A session cookie that was sealed with a previous
    /// key is sealed with the current one; returns its unsealed value.
    fn filter(&self, request: &mut ServiceRequest) -> Option<String> {
        let headers = request.headers_mut();
        if !headers.contains_key(COOKIE) || self.is_only_cookie(headers) {
            return None;
        }
        let sent: Vec<HeaderValue> = headers.remove(COOKIE).collect();
        let mut opened_with_previous = None;
        match self.find(&sent) {
            CookieMatch::One(sealed) => {
                opened_with_previous = self.open_with_previous(sealed);
                let resealed =
                    opened_with_previous.clone().and_then(|value| self.seal(value, None));
                let pair = match resealed {
                    Some(cookie) => cookie.encoded().stripped().to_string(),
                    None => format!("{}={sealed}", self.name),
                };
                if let Ok(header) = HeaderValue::try_from(pair) {
                    headers.insert(COOKIE, header);
                }
            }
            CookieMatch::Suspicious => {
                tracing::debug!("a session cookie was repeated, misspelled or oversized; ignored");
            }
            CookieMatch::None => {}
        }
        request.extensions_mut().insert(SentCookies(sent));
        opened_with_previous
    }

    /// Writes the session cookie of a response as its [`CookieOverride`] says.
    fn write<B>(&self, response: &mut ServiceResponse<B>, opened_with_previous: Option<String>) {
        let CookieOverride { max_age, ends_session, change } =
            response.request().extensions_mut().remove().unwrap_or_default();
        if ends_session || matches!(change, CookieChange::Clear) {
            let (name, value) = CLEAR_CACHE.clone();
            response.headers_mut().insert(name, value);
        }
        let other_cookies = take_other_cookies(response.headers_mut(), &self.name);
        let session_cookie = match change {
            CookieChange::Replace(value) => self.seal(value, max_age),
            CookieChange::Clear => Some(self.removal()),
            CookieChange::Keep => opened_with_previous.and_then(|value| self.seal(value, max_age)),
        };
        let session_cookie = session_cookie
            .and_then(|cookie| HeaderValue::from_str(&cookie.encoded().to_string()).ok());
        for value in session_cookie.into_iter().chain(other_cookies) {
            response.headers_mut().append(SET_COOKIE, value);
        }
    }
}

/// Removes all cookies from the response and returns those other than the session cookie. Only a
/// [`CookieOverride`] changes the session cookie, never the session middleware.
fn take_other_cookies(headers: &mut HeaderMap, name: &str) -> Vec<HeaderValue> {
    if !headers.contains_key(SET_COOKIE) {
        return Vec::new();
    }
    let is_other = |value: &HeaderValue| {
        let rest = value.as_bytes().strip_prefix(name.as_bytes());
        !rest.is_some_and(|rest| rest.starts_with(b"="))
    };
    headers.remove(SET_COOKIE).filter(is_other).collect()
}

/// Whether the value of a session cookie is encoded as the server encodes it: Base64, of which `/` and `=` are
/// percent-encoded. The server would also decode a value in which other letters are percent-encoded.
fn is_base64_as_encoded(value: &str) -> bool {
    value.split('%').enumerate().all(|(number, part)| {
        let rest = match number {
            0 => Some(part),
            _ => part.strip_prefix("2F").or_else(|| part.strip_prefix("3D")),
        };
        rest.is_some_and(|rest| {
            rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_cookie_counts_only_in_the_encoding_in_which_it_was_set() {
        let cookie = SessionCookie::new(true, vec![Key::from(&[1; 64])]);
        let sealed = (0..100)
            .filter_map(|_| cookie.seal("secret".to_owned(), None))
            .map(|cookie| cookie.encoded().stripped().to_string())
            .find(|pair| pair.contains('+') && pair.contains("%2F") && pair.contains("%3D"))
            .unwrap();
        let matches = |pair: &str| {
            matches!(cookie.find(&[HeaderValue::try_from(pair).unwrap()]), CookieMatch::One(_))
        };
        assert!(matches(&sealed));
        let (name, value) = sealed.split_once('=').unwrap();
        let first = &value[..1];
        for other in [
            value.replace('+', "%2B"),
            value.replace("%2F", "/"),
            value.replace("%3D", "="),
            value.replace("%2F", "%2f"),
            value.replacen(first, &format!("%{:02X}", first.as_bytes()[0]), 1),
            format!("{value}%"),
            format!("\"{value}\""),
            format!("%22{value}%22"),
        ] {
            assert!(!matches(&format!("{name}={other}")), "{other}");
        }
    }

    #[test]
    fn a_previous_key_opens_and_the_first_seals() {
        let old = SessionCookie::new(true, vec![Key::from(&[1; 64])]);
        let new = SessionCookie::new(true, vec![Key::from(&[2; 64]), Key::from(&[1; 64])]);
        let sealed = old.seal("secret".to_owned(), None).unwrap();
        let sealed = sealed.encoded().stripped().to_string();
        let value = sealed.split_once('=').unwrap().1;
        assert_eq!(new.open_with_previous(value), Some("secret".to_owned()));
        assert_eq!(old.open_with_previous(value), None);
        assert_eq!(new.open(value, &new.keys[0]), None);
    }
}
