//! The device cookie: the accounts that have signed in, or set a new password, with this browser (OWASP,
//! "Slow Down Online Guessing Attacks with Device Cookies"). It is not a credential. It has two uses:
//!
//! * Sign-in attempts of a known device have their own counter, so that guessing from elsewhere does not lock
//!   out the owner of the account.
//! * A sign-in from a new device is reported to the owner by mail.
//!
//! The cookie is sealed, so that no one can forge an entry for an account that they never signed in to; the
//! server stores nothing. An entry is bound to the password of that sign-in, so a copied cookie is useless
//! after a password change.

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
use crate::mail::address::EmailAddress;
use crate::user::rate_limit::KnownDevice;
use crate::user::{User, users};
use crate::web::cookie_guard::{self, own_cookie};

/// The purpose that the sealed value is bound to.
const PURPOSE: &str = "device";
/// Maximum number of accounts per browser. The one with the oldest sign-in is dropped.
const MAX_ENTRIES: usize = 5;
/// Bytes of an entry: user id (16), device id (16), time of the last password change (8).
const ENTRY_LEN: usize = 40;
/// How long the cookie is valid after the last sign-in.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// `__Host-device`, or `device` in development without TLS.
pub fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-device" } else { "device" }
}

/// An account in the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    device: KnownDevice,
    /// `password_changed_at` of the account at that sign-in, in microseconds since 1970; 0 if it was NULL.
    password_set_at: i64,
}

impl Entry {
    /// A new device of `user`, whose password was set at `changed_at`.
    fn new(user: UserId, changed_at: Option<OffsetDateTime>) -> Self {
        let device = KnownDevice { user, id: Uuid::now_v7() };
        Self { device, password_set_at: password_set_at(changed_at) }
    }

    fn is_valid_for(&self, user: &User) -> bool {
        self.device.user == user.id
            && self.password_set_at == password_set_at(user.password_changed_at)
    }

    fn to_bytes(self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        bytes[..16].copy_from_slice(self.device.user.uuid().as_bytes());
        bytes[16..32].copy_from_slice(self.device.id.as_bytes());
        bytes[32..].copy_from_slice(&self.password_set_at.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; ENTRY_LEN]) -> Option<Self> {
        let (user, rest) = bytes.split_first_chunk()?;
        let (id, at) = rest.split_first_chunk()?;
        let user = UserId::from(Uuid::from_bytes(*user));
        let device = KnownDevice { user, id: Uuid::from_bytes(*id) };
        Some(Self { device, password_set_at: i64::from_be_bytes(at.try_into().ok()?) })
    }
}

fn password_set_at(changed_at: Option<OffsetDateTime>) -> i64 {
    changed_at.map_or(0, |at| (at.unix_timestamp_nanos() / 1000) as i64)
}

/// The entries in the cookie of the request, latest sign-in first. Empty if the cookie is missing, expired or
/// not sealed by this server.
fn read(request: &HttpRequest, app: &App) -> Vec<Entry> {
    let name = cookie_name(app.config.public_url.is_https());
    let sealed = cookie_guard::other_cookie(request, name);
    sealed.and_then(|sealed| open(&app.sealer, &sealed, now())).unwrap_or_default()
}

/// The identifier of this browser as a device of `account`, if its cookie has one.
pub(super) fn device_id(request: &HttpRequest, app: &App, account: Uuid) -> Option<Uuid> {
    let mut entries = read(request, app).into_iter();
    entries.find(|entry| entry.device.user.uuid() == account).map(|entry| entry.device.id)
}

/// Whether `user` has signed in with this browser since the password was last changed.
pub(super) fn is_known(request: &HttpRequest, app: &App, user: &User) -> bool {
    read(request, app).iter().any(|entry| entry.is_valid_for(user))
}

/// This browser as a known device of the account of `email`, for
/// [`crate::user::rate_limit::Attempt::known_device`]. Without a cookie there is no query; with one, the
/// query is the same for every email.
pub async fn find_for(
    request: &HttpRequest,
    app: &App,
    email: Option<&EmailAddress>,
) -> sqlx::Result<Option<KnownDevice>> {
    let entries = read(request, app);
    let (Some(email), false) = (email, entries.is_empty()) else { return Ok(None) };
    let Some(user) = users::find_by_email(&app.pool, email).await? else { return Ok(None) };
    Ok(entries.iter().find(|entry| entry.is_valid_for(&user)).map(|entry| entry.device))
}

/// The cookie to add to the response.
struct NewCookie(Cookie<'static>);

/// Makes this browser a known device of `user`, who has signed in or set a new password with it.
/// `changed_at`: when the current password was set. [`resume`](super::resume) adds the cookie to the
/// response.
pub fn mark_known(
    request: &HttpRequest,
    app: &App,
    user: UserId,
    changed_at: Option<OffsetDateTime>,
) {
    let mut entries = read(request, app);
    entries.retain(|entry| entry.device.user != user);
    entries.insert(0, Entry::new(user, changed_at));
    entries.truncate(MAX_ENTRIES);
    let https = app.config.public_url.is_https();
    let mut cookie = own_cookie(cookie_name(https), seal(&app.sealer, &entries, now()), https);
    cookie.set_max_age(time::Duration::seconds(LIFETIME.as_secs() as i64));
    request.extensions_mut().insert(NewCookie(cookie));
}

/// Adds the cookie of [`mark_known`] to the response.
pub(super) fn set_cookie<B>(response: &mut ServiceResponse<B>) {
    let cookie = response.request().extensions_mut().remove::<NewCookie>();
    if let Some(NewCookie(cookie)) = cookie
        && let Ok(value) = HeaderValue::from_str(&cookie.to_string())
    {
        response.headers_mut().append(SET_COOKIE, value);
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// The value of the cookie: the time in seconds since 1970, then the entries.
fn seal(sealer: &Sealer, entries: &[Entry], now: u64) -> String {
    let mut plain = now.to_be_bytes().to_vec();
    plain.extend(entries.iter().flat_map(|entry| entry.to_bytes()));
    URL_SAFE_NO_PAD.encode(sealer.seal(PURPOSE, &plain))
}

fn open(sealer: &Sealer, value: &str, now: u64) -> Option<Vec<Entry>> {
    let plain = sealer.open(PURPOSE, &URL_SAFE_NO_PAD.decode(value).ok()?)?;
    let (sealed_at, entries) = plain.split_first_chunk::<8>()?;
    let (entries, rest) = entries.as_chunks::<ENTRY_LEN>();
    let age = now.saturating_sub(u64::from_be_bytes(*sealed_at));
    let is_valid = rest.is_empty() && entries.len() <= MAX_ENTRIES && age < LIFETIME.as_secs();
    is_valid.then(|| entries.iter().filter_map(Entry::from_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretKeys;

    fn sealer(key: &str) -> Sealer {
        Sealer::new(SecretKeys::parse(key).unwrap().as_slice())
    }

    #[test]
    fn only_cookies_sealed_here_less_than_a_year_ago_are_accepted() {
        let own = sealer("tK8vQ2mZx7Lr4Wc9Ns1Bp6Hd3Yg5Jf0aEuViOoTbXkRlPzM");
        let other = sealer("Zp4Jq8Wm1Xc6Vb3Nn7Kt2Lr9Hs5Gf0DyAeUiOoPlQaSwEdRf");
        let entry = |at| Entry {
            device: KnownDevice { user: UserId::generate(), id: Uuid::now_v7() },
            password_set_at: at,
        };
        let entries: Vec<Entry> = (0..MAX_ENTRIES as i64).map(entry).collect();
        let value = seal(&own, &entries, 1_000);
        assert!(value.len() < 350, "{}", value.len());
        assert_eq!(open(&own, &value, 1_000), Some(entries.clone()));
        assert_eq!(open(&own, &value, 1_000 + LIFETIME.as_secs() - 1), Some(entries.clone()));
        assert_eq!(open(&own, &value, 1_000 + LIFETIME.as_secs()), None);
        assert_eq!(open(&other, &value, 1_000), None);
        assert_eq!(open(&own, "", 1_000), None);
        assert_eq!(open(&own, "not base64!", 1_000), None);
        assert_eq!(open(&own, &value[..value.len() - 2], 1_000), None);
        let elsewhere = URL_SAFE_NO_PAD.encode(own.seal("notice", &[0; 24]));
        assert_eq!(open(&own, &elsewhere, 1_000), None);
        let six: Vec<Entry> = (0..=MAX_ENTRIES as i64).map(entry).collect();
        assert_eq!(open(&own, &seal(&own, &six, 1_000), 1_000), None);
    }
}
