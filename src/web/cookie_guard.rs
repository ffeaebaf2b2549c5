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
//! Responses: if a handler created or renewed a session, its secret is sealed into the cookie. The cookie of
//! a remembered session gets a Max-Age. A cookie that was sealed with a previous key is sealed again. The
//! cookie that the session middleware sets is dropped, so that a request that only wrote to its session
//! cannot overwrite the newer cookie of a sign-in in another tab.

use std::borrow::Cow;

use actix_web::body::MessageBody;
use actix_web::cookie::{Cookie, CookieJar, Key, SameSite, time::Duration};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, web};
use memchr::memchr;
use percent_encoding::percent_decode;

use super::error::HttpError;
use crate::crypto::secret::Secret;

/// In bytes. A sealed session cookie has about 130.
const MAX_VALUE_LENGTH: usize = 512;

/// Name, attributes and keys of the session cookie. Application data of the site.
#[derive(Clone)]
pub struct SessionCookie {
    name: String,
    secure: bool,
    keys: Vec<Key>,
}

/// The Cookie headers as the client sent them. Kept with the request for [`other_cookie`].
struct SentCookies(Vec<HeaderValue>);

/// How the response changes the session cookie. Set by a handler or when the session is loaded.
#[derive(Clone, Debug, Default)]
pub struct CookieOverride {
    /// How long the browser keeps the cookie. `None`: until the browser is closed.
    pub max_age: Option<std::time::Duration>,
    /// The change.
    pub change: CookieChange,
}

/// A change of the session cookie.
#[derive(Clone, Default)]
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
        has_one_pair && has_one_key && matches!(find([line], &self.name), CookieMatch::One(_))
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
        matches!(find(request.headers().get_all(COOKIE), &settings.name), CookieMatch::One(_))
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
    Secret::parse(&opened(request)?)
}

fn opened(request: &HttpRequest) -> Option<String> {
    let settings = request.app_data::<web::Data<SessionCookie>>()?;
    match find(request.headers().get_all(COOKIE), &settings.name) {
        CookieMatch::One(sealed) => settings.open(sealed, settings.keys.first()?),
        CookieMatch::None | CookieMatch::Suspicious => None,
    }
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
        match find(&sent, &self.name) {
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
        let CookieOverride { max_age, change } =
            response.request().extensions_mut().remove().unwrap_or_default();
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

/// A search for a cookie in the raw Cookie headers.
#[derive(Debug, PartialEq, Eq)]
enum CookieMatch<'a> {
    None,
    One(&'a str),
    /// A repeated, misspelled or malformed cookie.
    Suspicious,
}

/// Looks for the only byte-exact pair of `name` in Cookie headers.
fn find<'a>(headers: impl IntoIterator<Item = &'a HeaderValue>, name: &str) -> CookieMatch<'a> {
    let mut found = CookieMatch::None;
    for pair in headers.into_iter().flat_map(|line| pairs(line.as_bytes())) {
        // One space follows the semicolon (RFC 6265, 4.2.1); nothing else is trimmed.
        let pair = pair.strip_prefix(b" ").unwrap_or(pair);
        let (raw, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        if raw == name.as_bytes() {
            let value = std::str::from_utf8(value).ok();
            match (&found, value) {
                (CookieMatch::None, Some(value))
                    if value.len() <= MAX_VALUE_LENGTH
                        && value.bytes().all(|byte| byte.is_ascii_graphic()) =>
                {
                    found = CookieMatch::One(value);
                }
                _ => return CookieMatch::Suspicious,
            }
        } else if could_be_read_as(raw, name) {
            return CookieMatch::Suspicious;
        }
    }
    found
}

/// The parts of a Cookie header between semicolons.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = memchr(b';', line);
        rest = end.map(|end| &line[end + 1..]);
        Some(&line[..end.unwrap_or(line.len())])
    })
}

/// Whether a lenient parser could read `raw` as `name`.
fn could_be_read_as(raw: &[u8], name: &str) -> bool {
    let is_plain = raw.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'%');
    if is_plain {
        return raw.eq_ignore_ascii_case(name.as_bytes());
    }
    let mut text = String::from_utf8_lossy(raw).into_owned();
    for _ in 0..2 {
        text = percent_decode(text.as_bytes()).decode_utf8_lossy().into_owned();
    }
    text.trim_matches(|character: char| character.is_whitespace() || character.is_control())
        .eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&[u8]]) -> Vec<HeaderValue> {
        lines.iter().map(|line| HeaderValue::from_bytes(line).unwrap()).collect()
    }

    #[test]
    fn one_byte_exact_pair_passes() {
        let map = headers(&[b"a=b; __Host-session=abc%2Fd; c=d"]);
        assert_eq!(find(&map, "__Host-session"), CookieMatch::One("abc%2Fd"));
    }

    #[test]
    fn repeated_misspelled_and_malformed_cookies_are_suspicious() {
        let long = format!("__Host-session={}", "a".repeat(600));
        for lines in [
            &[&b"__Host-session=a; __Host-session=a"[..]][..],
            &[b"__Host-session=a", b"__Host-session=b"],
            &[b"%5F%5FHost-session=a"],
            &[b"__Host-session=a; %5F%5FHost-session=b"],
            &[b"%255F%255FHost-session=a"],
            &[b"\xe2\x80\x80__Host-session=a"],
            &[b"__Host-session\xc2\xa0=a"],
            &[b"  __Host-session=a"],
            &[b"__host-session=a"],
            &[b"__Host-session=a b"],
            &[b"__Host-session=\xff"],
            &[b"__Host-session=\"a\" "],
            &[long.as_bytes()],
        ] {
            assert_eq!(
                find(&headers(lines), "__Host-session"),
                CookieMatch::Suspicious,
                "{lines:?}"
            );
        }
        assert_eq!(find(&headers(&[b"a=b; session2=c"]), "session"), CookieMatch::None);
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
