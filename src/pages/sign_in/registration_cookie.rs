//! The cookie of a browser with a pending registration. It contains a random secret (the ticket), without
//! which the mailed code is not accepted. The ticket must never be part of a URL or a page: an attacker who
//! registers with a victim's email could otherwise send the victim a link to this page and make them enter
//! the mailed code (ASVS 5.0 V6.6.2). The cookie is sealed, so that clients cannot forge one.

use actix_web::cookie::{Cookie, time::Duration};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::app::App;
use crate::crypto::secret::Secret;
use crate::lifetimes;
use crate::web::cookie_guard::{self, own_cookie};

/// The purpose that the sealed value is bound to.
const PURPOSE: &str = "registration";

/// `__Host-registration`, or `registration` in development without TLS.
pub fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-registration" } else { "registration" }
}

/// The ticket in the cookie of the request.
pub(super) fn read(request: &HttpRequest, app: &App) -> Option<Secret> {
    let name = cookie_name(app.config.public_url.is_https());
    let sealed = URL_SAFE_NO_PAD.decode(cookie_guard::other_cookie(request, name)?).ok()?;
    let ticket = app.sealer.open(PURPOSE, &sealed)?;
    Secret::parse(std::str::from_utf8(&ticket).ok()?)
}

/// Adds the cookie with `ticket` to `response`. Its Max-Age is the lifetime of the registration.
pub(super) fn set(response: HttpResponse, app: &App, ticket: &Secret) -> HttpResponse {
    let sealed = app.sealer.seal(PURPOSE, ticket.reveal().as_bytes());
    let mut cookie = cookie(app, URL_SAFE_NO_PAD.encode(sealed));
    cookie.set_max_age(Duration::seconds(lifetimes::REGISTRATION.as_secs() as i64));
    add(response, &cookie)
}

/// Clears the cookie in `response`, after the account was created.
pub(super) fn clear(response: HttpResponse, app: &App) -> HttpResponse {
    let mut cookie = cookie(app, String::new());
    cookie.make_removal();
    add(response, &cookie)
}

fn cookie(app: &App, value: String) -> Cookie<'static> {
    let https = app.config.public_url.is_https();
    own_cookie(cookie_name(https), value, https)
}

fn add(mut response: HttpResponse, cookie: &Cookie<'_>) -> HttpResponse {
    response.add_cookie(cookie).expect("base64 is a valid header value");
    response
}
