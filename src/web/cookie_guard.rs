//! The guard in front of the session: lets a cookie of ours through only when exactly one byte-exact pair
//! of its name is there, and puts the final touch to the session cookie on the way out.
//!
//! actix-web percent-decodes names and trims them by Unicode, and takes the first of several: a sibling
//! subdomain could plant `%5F%5FHost-session`, or a first pair of the same name. Here the raw header
//! is read, and a request with any such pair is a stranger's.
//!
//! On the way out: a handler that began or renewed a session has its secret sealed into the cookie; a remembered
//! session's cookie gets its Max-Age; a cookie that was sealed by a previous key is sealed again; and the
//! cookie that the session middleware sets is dropped, so that a request that only wrote to its session
//! cannot overwrite the newer one of a sign-in in another tab.

use std::borrow::Cow;

use actix_web::body::MessageBody;
use actix_web::cookie::{Cookie, CookieJar, Key, SameSite, time::Duration};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, web};
use percent_encoding::percent_decode;

use crate::crypto::secret::Secret;

/// A sealed session cookie of ours is about 130 bytes; nothing longer is one.
const LONGEST_VALUE: usize = 512;

/// How the session cookie is called and sealed.
#[derive(Clone)]
pub struct SessionCookie {
    name: String,
    secure: bool,
    keys: Vec<Key>,
    others: Vec<String>,
}

/// What a handler, or the loaded session, wants of the session cookie on the way out.
#[derive(Clone, Debug, Default)]
pub struct CookieOverride {
    /// How long the browser shall keep it; `None`: until the browser is closed.
    pub max_age: Option<std::time::Duration>,
    /// What shall become of it.
    pub change: CookieChange,
}

/// What shall become of the session cookie.
#[derive(Clone, Default)]
pub enum CookieChange {
    /// Stays as it is in the browser.
    #[default]
    Keep,
    /// This value, unsealed.
    Replace(String),
    /// Taken away.
    Clear,
}

impl std::fmt::Debug for CookieChange {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the value.
        out.write_str(match self {
            CookieChange::Keep => "Keep",
            CookieChange::Replace(_) => "Replace",
            CookieChange::Clear => "Clear",
        })
    }
}

/// A cookie as all of ours are: for the whole site, no script reads it, other sites' forms do not carry it, and with
/// `secure` it goes over TLS only. Kept until the browser is closed, unless it gets a Max-Age.
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
    /// `keys`: the first seals, all open. `others`: names of further cookies of ours that may pass.
    pub fn new(secure: bool, keys: Vec<Key>, others: Vec<String>) -> Self {
        let name = if secure { "__Host-session" } else { "session" };
        Self { name: name.to_owned(), secure, keys, others }
    }

    /// `__Host-session`, or `session` in development without TLS.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether browsers send it over TLS only.
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

    /// The unsealed value when a previous key sealed it, and the current one did not.
    fn open_with_previous(&self, sealed: &str) -> Option<String> {
        let (current, previous) = self.keys.split_first()?;
        if previous.is_empty() || self.open(sealed, current).is_some() {
            return None;
        }
        previous.iter().find_map(|key| self.open(sealed, key))
    }

    /// Whether the one pair of ours, is all that was sent, and no previous key could have sealed it: then it
    /// passes as it came.
    fn is_all_of(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(COOKIE);
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        let has_one_pair = !line.as_bytes().contains(&b';') && !line.as_bytes().starts_with(b" ");
        let has_one_key = self.keys.len() == 1;
        has_one_pair && has_one_key && matches!(find(headers, &self.name), Found::One(_))
    }

    fn removal(&self) -> Cookie<'static> {
        let mut cookie = self.cookie(String::new(), None);
        cookie.make_removal();
        cookie
    }
}

/// Changes what becomes of the session cookie.
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

/// Whether the request brings a session cookie that we sealed, of a session that is there or of one that is over. Only
/// behind the guard.
pub fn has_valid_cookie(request: &HttpRequest) -> bool {
    opened(request).is_some()
}

/// The secret in the session cookie of the request. Only behind the guard.
pub fn secret(request: &HttpRequest) -> Option<Secret> {
    Secret::parse(&opened(request)?)
}

fn opened(request: &HttpRequest) -> Option<String> {
    let settings = request.app_data::<web::Data<SessionCookie>>()?;
    match find(request.headers(), &settings.name) {
        Found::One(sealed) => settings.open(sealed, settings.keys.first()?),
        Found::None | Found::Refused => None,
    }
}

/// The middleware.
pub async fn guard(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let Some(settings) = request.app_data::<web::Data<SessionCookie>>().cloned() else {
        return Err(super::error::HttpError::Internal(anyhow::anyhow!(
            "no session cookie is set up"
        ))
        .into());
    };
    let mut resealed = None;
    if request.headers().contains_key(COOKIE) && !settings.is_all_of(request.headers()) {
        let mut pairs = Vec::new();
        match find(request.headers(), &settings.name) {
            Found::One(sealed) => {
                let mut sealed = sealed.to_owned();
                if let Some(value) = settings.open_with_previous(&sealed) {
                    let anew = settings.seal(value.clone(), None);
                    if let Some(anew) = anew {
                        sealed = anew.encoded().stripped().to_string();
                        sealed =
                            sealed.split_once('=').map(|(_, v)| v.to_owned()).unwrap_or_default();
                    }
                    resealed = Some(value);
                }
                pairs.push(format!("{}={sealed}", settings.name));
            }
            Found::Refused => {
                tracing::warn!(
                    "a session cookie came twice, misspelled or oversized; treated as a stranger's"
                );
            }
            Found::None => {}
        }
        for other in &settings.others {
            if let Found::One(value) = find(request.headers(), other) {
                pairs.push(format!("{other}={value}"));
            }
        }
        request.headers_mut().remove(COOKIE);
        if let Ok(header) = HeaderValue::from_str(&pairs.join("; "))
            && !pairs.is_empty()
        {
            request.headers_mut().insert(COOKIE, header);
        }
    }
    let mut response = next.call(request).await?;
    let override_cookie =
        response.request().extensions_mut().remove::<CookieOverride>().unwrap_or_default();
    let others = take_others(response.headers_mut(), &settings.name);
    let last = match override_cookie.change {
        CookieChange::Replace(value) => settings.seal(value, override_cookie.max_age),
        CookieChange::Clear => Some(settings.removal()),
        CookieChange::Keep => {
            resealed.and_then(|value| settings.seal(value, override_cookie.max_age))
        }
    };
    if let Some(cookie) = last
        && let Ok(value) = HeaderValue::from_str(&cookie.encoded().to_string())
    {
        response.headers_mut().append(SET_COOKIE, value);
    }
    for other in others {
        response.headers_mut().append(SET_COOKIE, other);
    }
    Ok(response)
}

/// Takes the cookies out of the response and answers those that are not the session's: what becomes of that one is a
/// [`CookieOverride`] alone, never what the session middleware set.
fn take_others(headers: &mut HeaderMap, name: &str) -> Vec<HeaderValue> {
    if !headers.contains_key(SET_COOKIE) {
        return Vec::new();
    }
    let is_other = |value: &HeaderValue| {
        let rest = value.as_bytes().strip_prefix(name.as_bytes());
        !rest.is_some_and(|rest| rest.starts_with(b"="))
    };
    headers.remove(SET_COOKIE).filter(is_other).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Found<'a> {
    None,
    One(&'a str),
    Refused,
}

/// Looks for the one byte-exact pair of `name` in the raw Cookie headers.
fn find<'a>(headers: &'a HeaderMap, name: &str) -> Found<'a> {
    let mut found = Found::None;
    for pair in
        headers.get_all(COOKIE).flat_map(|header| header.as_bytes().split(|byte| *byte == b';'))
    {
        // One space follows the semicolon (RFC 6265, 4.2.1); nothing else is trimmed.
        let pair = pair.strip_prefix(b" ").unwrap_or(pair);
        let (raw, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        if raw == name.as_bytes() {
            let value = std::str::from_utf8(value).ok();
            match (&found, value) {
                (Found::None, Some(value))
                    if value.len() <= LONGEST_VALUE
                        && value.bytes().all(|byte| byte.is_ascii_graphic()) =>
                {
                    found = Found::One(value);
                }
                _ => return Found::Refused,
            }
        } else if passes_for(raw, name) {
            return Found::Refused;
        }
    }
    found
}

/// Whether somebody lax could read `raw` as `name`.
fn passes_for(raw: &[u8], name: &str) -> bool {
    let is_plain = raw.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'%');
    if is_plain {
        return raw.eq_ignore_ascii_case(name.as_bytes());
    }
    let mut text = String::from_utf8_lossy(raw).into_owned();
    for _ in 0..2 {
        text = percent_decode(text.as_bytes()).decode_utf8_lossy().into_owned();
    }
    text.trim_matches(|letter: char| letter.is_whitespace() || letter.is_control())
        .eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            map.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        map
    }

    #[test]
    fn one_byte_exact_pair_passes() {
        let map = headers(&[b"a=b; __Host-session=abc%2Fd; c=d"]);
        assert_eq!(find(&map, "__Host-session"), Found::One("abc%2Fd"));
    }

    #[test]
    fn whatever_could_pass_for_ours_makes_a_stranger() {
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
            assert_eq!(find(&headers(lines), "__Host-session"), Found::Refused, "{lines:?}");
        }
        assert_eq!(find(&headers(&[b"a=b; session2=c"]), "session"), Found::None);
    }

    #[test]
    fn a_previous_key_opens_and_the_first_seals() {
        let old = SessionCookie::new(true, vec![Key::from(&[1; 64])], vec![]);
        let new = SessionCookie::new(true, vec![Key::from(&[2; 64]), Key::from(&[1; 64])], vec![]);
        let sealed = old.seal("secret".to_owned(), None).unwrap();
        let sealed = sealed.encoded().stripped().to_string();
        let value = sealed.split_once('=').unwrap().1;
        assert_eq!(new.open_with_previous(value), Some("secret".to_owned()));
        assert_eq!(old.open_with_previous(value), None);
        assert_eq!(new.open(value, &new.keys[0]), None);
    }
}
