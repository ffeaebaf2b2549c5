//! The cookie of a known device: which accounts have signed in with this browser. It opens nothing and is no session; it
//! decides by which counter a try is counted, so that somebody who hammers at an account from elsewhere does not keep
//! its owner out (OWASP, "Slow Down Online Guessing Attacks with Device Cookies"), and whether a sign-in is told to the
//! owner by mail. Sealed, so that nobody makes one for an account they never signed in to; nothing is stored for it.

use std::time::{Duration, SystemTime};

use actix_web::cookie::{Cookie, SameSite, time};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{HeaderValue, SET_COOKIE};
use actix_web::{HttpMessage as _, HttpRequest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::app::App;
use crate::id::UserId;
use crate::seal::Sealer;
use crate::user::email_address::EmailAddress;
use crate::user::record;

/// What it is sealed for.
const PURPOSE: &str = "device";
/// Accounts of one browser; the one that signed in longest ago makes room.
const MOST: usize = 5;
/// How long it is believed, from the last sign-in on.
const LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// `__Host-device`, or `device` in development without TLS.
pub fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-device" } else { "device" }
}

/// The accounts that have signed in with this browser, the last one first. What is not ours, or too old, is nobody's.
pub fn known(request: &HttpRequest, app: &App) -> Vec<UserId> {
    let name = cookie_name(app.config.public_url.is_https());
    let cookie = request.cookie(name);
    cookie.and_then(|cookie| open(&app.sealer, cookie.value(), now())).unwrap_or_default()
}

/// The account of `email`, when this browser has signed in to it before: for [`crate::user::throttle::Who`]. Asks nothing
/// of the database for a browser that has signed in to none, and of others the same for every address.
pub async fn known_for(
    request: &HttpRequest,
    app: &App,
    email: Option<&EmailAddress>,
) -> sqlx::Result<Option<UserId>> {
    let known = known(request, app);
    let (Some(email), false) = (email, known.is_empty()) else { return Ok(None) };
    let user = record::find_by_email(&app.pool, email).await?;
    Ok(user.map(|user| user.id()).filter(|user| known.contains(user)))
}

/// What a sign-in wants the browser to keep.
struct Remembered(Cookie<'static>);

/// `user` signs in with this browser: from now on it is one of theirs. [`set`] tells it to the browser.
pub(super) fn remember(request: &HttpRequest, app: &App, user: UserId) {
    let mut users = known(request, app);
    users.retain(|known| *known != user);
    users.insert(0, user);
    users.truncate(MOST);
    let https = app.config.public_url.is_https();
    let cookie = Cookie::build(cookie_name(https), seal(&app.sealer, &users, now()))
        .path("/")
        .http_only(true)
        .secure(https)
        .same_site(SameSite::Lax)
        .max_age(time::Duration::seconds(LIFE.as_secs() as i64))
        .finish();
    request.extensions_mut().insert(Remembered(cookie));
}

/// Puts the cookie into the response to a sign-in. Where the session cannot be written, that response never leaves.
pub(super) fn set<B>(response: &mut ServiceResponse<B>) {
    let remembered = response.request().extensions_mut().remove::<Remembered>();
    if let Some(Remembered(cookie)) = remembered
        && let Ok(value) = HeaderValue::from_str(&cookie.to_string())
    {
        response.headers_mut().append(SET_COOKIE, value);
    }
}

/// Seconds since 1970, for the age of a cookie.
fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// When it was made, then the ids.
fn seal(sealer: &Sealer, users: &[UserId], now: u64) -> String {
    let mut plain = now.to_be_bytes().to_vec();
    plain.extend(users.iter().flat_map(|user| user.uuid().into_bytes()));
    URL_SAFE_NO_PAD.encode(sealer.seal(PURPOSE, &plain))
}

fn open(sealer: &Sealer, value: &str, now: u64) -> Option<Vec<UserId>> {
    let plain = sealer.open(PURPOSE, &URL_SAFE_NO_PAD.decode(value).ok()?)?;
    let (made, ids) = plain.split_first_chunk::<8>()?;
    let (ids, rest) = ids.as_chunks::<16>();
    let age = now.saturating_sub(u64::from_be_bytes(*made));
    let is_ours = rest.is_empty() && ids.len() <= MOST && age < LIFE.as_secs();
    is_ours.then(|| ids.iter().map(|id| UserId::from(Uuid::from_bytes(*id))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretKeys;

    fn sealer(key: &str) -> Sealer {
        Sealer::new(&SecretKeys::parse(key).unwrap())
    }

    #[test]
    fn only_what_we_sealed_less_than_a_year_ago_names_anybody() {
        let ours = sealer("tK8vQ2mZx7Lr4Wc9Ns1Bp6Hd3Yg5Jf0aEuViOoTbXkRlPzM");
        let theirs = sealer("Zp4Jq8Wm1Xc6Vb3Nn7Kt2Lr9Hs5Gf0DyAeUiOoPlQaSwEdRf");
        let users: Vec<UserId> = (0..MOST).map(|_| UserId::generate()).collect();
        let value = seal(&ours, &users, 1_000);
        assert!(value.len() < 200, "{}", value.len());
        assert_eq!(open(&ours, &value, 1_000), Some(users.clone()));
        assert_eq!(open(&ours, &value, 1_000 + LIFE.as_secs() - 1), Some(users.clone()));
        assert_eq!(open(&ours, &value, 1_000 + LIFE.as_secs()), None);
        assert_eq!(open(&theirs, &value, 1_000), None);
        assert_eq!(open(&ours, "", 1_000), None);
        assert_eq!(open(&ours, "not base64!", 1_000), None);
        assert_eq!(open(&ours, &value[..value.len() - 2], 1_000), None);
        let elsewhere = URL_SAFE_NO_PAD.encode(ours.seal("notice", &[0; 24]));
        assert_eq!(open(&ours, &elsewhere, 1_000), None);
        let six: Vec<UserId> = (0..=MOST).map(|_| UserId::generate()).collect();
        assert_eq!(open(&ours, &seal(&ours, &six, 1_000), 1_000), None);
    }
}
