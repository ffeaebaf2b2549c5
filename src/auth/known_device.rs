//! The cookie of a known device: which accounts have signed in with this browser, or got a new password there. It opens
//! nothing and is no session; it decides by which counter a try is counted, so that somebody who hammers at an account
//! from elsewhere does not keep its owner out (OWASP, "Slow Down Online Guessing Attacks with Device Cookies"), and
//! whether a sign-in is told to the owner by mail. Sealed, so that nobody makes one for an account they never signed in
//! to; nothing is stored for it. A new password ends it: a copy is worth nothing then.

use std::time::{Duration, SystemTime};

use ::time::OffsetDateTime;
use actix_web::cookie::{Cookie, time};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{HeaderValue, SET_COOKIE};
use actix_web::{HttpMessage as _, HttpRequest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::app::App;
use crate::crypto::seal::Sealer;
use crate::id::UserId;
use crate::user::email::address::EmailAddress;
use crate::user::rate_limit::KnownDevice;
use crate::user::{User, users};
use crate::web::cookie_guard::own_cookie;

/// What it is sealed for.
const PURPOSE: &str = "device";
/// Accounts of one browser; the one that signed in longest ago makes room.
const MOST: usize = 5;
/// Bytes of an entry: whose, which, under which password.
const ENTRY: usize = 40;
/// How long it is believed, from the last sign-in on.
const LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// `__Host-device`, or `device` in development without TLS.
pub fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-device" } else { "device" }
}

/// What the cookie says of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    device: KnownDevice,
    /// When the password was chosen under which it was made, in microseconds since 1970; it counts under no other.
    password_of: i64,
}

impl Entry {
    /// A new one, of an account whose password was chosen at `changed_at`.
    fn new(user: UserId, changed_at: Option<OffsetDateTime>) -> Self {
        let device = KnownDevice { user, id: Uuid::now_v7() };
        Self { device, password_of: password_of(changed_at) }
    }

    fn is_of(&self, user: &User) -> bool {
        self.device.user == user.id && self.password_of == password_of(user.password_changed_at)
    }

    fn to_bytes(self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..16].copy_from_slice(self.device.user.uuid().as_bytes());
        bytes[16..32].copy_from_slice(self.device.id.as_bytes());
        bytes[32..].copy_from_slice(&self.password_of.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; ENTRY]) -> Option<Self> {
        let (user, rest) = bytes.split_first_chunk()?;
        let (id, at) = rest.split_first_chunk()?;
        let user = UserId::from(Uuid::from_bytes(*user));
        let device = KnownDevice { user, id: Uuid::from_bytes(*id) };
        Some(Self { device, password_of: i64::from_be_bytes(at.try_into().ok()?) })
    }
}

fn password_of(changed_at: Option<OffsetDateTime>) -> i64 {
    changed_at.map_or(0, |at| (at.unix_timestamp_nanos() / 1000) as i64)
}

/// What this browser holds, the account that signed in last first. What is not ours, or too old, is of nobody.
fn held(request: &HttpRequest, app: &App) -> Vec<Entry> {
    let name = cookie_name(app.config.public_url.is_https());
    let cookie = request.cookie(name);
    cookie.and_then(|cookie| open(&app.sealer, cookie.value(), now())).unwrap_or_default()
}

/// Whether `user` has signed in with this browser, under the password of now.
pub(super) fn is_known(request: &HttpRequest, app: &App, user: &User) -> bool {
    held(request, app).iter().any(|entry| entry.is_of(user))
}

/// This browser as a known device of the account of `email`, for [`crate::user::rate_limit::Attempt::known_device`]. If the
/// browser has signed in to no account, the database is not queried; otherwise it is queried for every email alike.
pub async fn known_for(
    request: &HttpRequest,
    app: &App,
    email: Option<&EmailAddress>,
) -> sqlx::Result<Option<KnownDevice>> {
    let held = held(request, app);
    let (Some(email), false) = (email, held.is_empty()) else { return Ok(None) };
    let Some(user) = users::find_by_email(&app.pool, email).await? else { return Ok(None) };
    Ok(held.iter().find(|entry| entry.is_of(&user)).map(|entry| entry.device))
}

/// What the browser shall keep.
struct Remembered(Cookie<'static>);

/// `user` signed in with this browser, or set a new password in it: from now on it is one of theirs, under the password
/// that was chosen at `changed_at` and no other. `set` tells it to the browser.
pub fn remember(
    request: &HttpRequest,
    app: &App,
    user: UserId,
    changed_at: Option<OffsetDateTime>,
) {
    let mut entries = held(request, app);
    entries.retain(|entry| entry.device.user != user);
    entries.insert(0, Entry::new(user, changed_at));
    entries.truncate(MOST);
    let https = app.config.public_url.is_https();
    let mut cookie = own_cookie(cookie_name(https), seal(&app.sealer, &entries, now()), https);
    cookie.set_max_age(time::Duration::seconds(LIFE.as_secs() as i64));
    request.extensions_mut().insert(Remembered(cookie));
}

/// Puts the cookie into the response.
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

/// When it was made, then the entries.
fn seal(sealer: &Sealer, entries: &[Entry], now: u64) -> String {
    let mut plain = now.to_be_bytes().to_vec();
    plain.extend(entries.iter().flat_map(|entry| entry.to_bytes()));
    URL_SAFE_NO_PAD.encode(sealer.seal(PURPOSE, &plain))
}

fn open(sealer: &Sealer, value: &str, now: u64) -> Option<Vec<Entry>> {
    let plain = sealer.open(PURPOSE, &URL_SAFE_NO_PAD.decode(value).ok()?)?;
    let (made, entries) = plain.split_first_chunk::<8>()?;
    let (entries, rest) = entries.as_chunks::<ENTRY>();
    let age = now.saturating_sub(u64::from_be_bytes(*made));
    let is_ours = rest.is_empty() && entries.len() <= MOST && age < LIFE.as_secs();
    is_ours.then(|| entries.iter().filter_map(Entry::from_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretKeys;

    fn sealer(key: &str) -> Sealer {
        Sealer::new(SecretKeys::parse(key).unwrap().as_slice())
    }

    #[test]
    fn only_what_we_sealed_less_than_a_year_ago_names_anybody() {
        let ours = sealer("tK8vQ2mZx7Lr4Wc9Ns1Bp6Hd3Yg5Jf0aEuViOoTbXkRlPzM");
        let theirs = sealer("Zp4Jq8Wm1Xc6Vb3Nn7Kt2Lr9Hs5Gf0DyAeUiOoPlQaSwEdRf");
        let entry = |at| Entry {
            device: KnownDevice { user: UserId::generate(), id: Uuid::now_v7() },
            password_of: at,
        };
        let entries: Vec<Entry> = (0..MOST as i64).map(entry).collect();
        let value = seal(&ours, &entries, 1_000);
        assert!(value.len() < 350, "{}", value.len());
        assert_eq!(open(&ours, &value, 1_000), Some(entries.clone()));
        assert_eq!(open(&ours, &value, 1_000 + LIFE.as_secs() - 1), Some(entries.clone()));
        assert_eq!(open(&ours, &value, 1_000 + LIFE.as_secs()), None);
        assert_eq!(open(&theirs, &value, 1_000), None);
        assert_eq!(open(&ours, "", 1_000), None);
        assert_eq!(open(&ours, "not base64!", 1_000), None);
        assert_eq!(open(&ours, &value[..value.len() - 2], 1_000), None);
        let elsewhere = URL_SAFE_NO_PAD.encode(ours.seal("notice", &[0; 24]));
        assert_eq!(open(&ours, &elsewhere, 1_000), None);
        let six: Vec<Entry> = (0..=MOST as i64).map(entry).collect();
        assert_eq!(open(&ours, &seal(&ours, &six, 1_000), 1_000), None);
    }
}
