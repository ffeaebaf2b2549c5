//! The cookie of a browser that registered and has not yet shown that the address is its owner's: the ticket by which the
//! code of the mail counts there. It must never be part of an address or of a page: whoever registered with another
//! person's address could send them the link to our own page, and have them type the code of their own mail into it
//! (ASVS 5.0 V6.6.2). Sealed, so that nobody makes one.

use actix_web::cookie::{Cookie, time::Duration};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::app::App;
use crate::crypto::secret::Secret;
use crate::user::sign_up::registration;
use crate::web::cookie_guard::own_cookie;

/// What it is sealed for.
const PURPOSE: &str = "registration";

/// `__Host-registration`, or `registration` in development without TLS.
pub fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-registration" } else { "registration" }
}

/// The ticket that this browser holds.
pub(super) fn read(request: &HttpRequest, app: &App) -> Option<Secret> {
    let cookie = request.cookie(cookie_name(app.config.public_url.is_https()))?;
    let sealed = URL_SAFE_NO_PAD.decode(cookie.value()).ok()?;
    let ticket = app.sealer.open(PURPOSE, &sealed)?;
    Secret::parse(std::str::from_utf8(&ticket).ok()?)
}

/// `response`, after which the browser holds `ticket` for as long as a registration waits.
pub(super) fn set(response: HttpResponse, app: &App, ticket: &Secret) -> HttpResponse {
    let sealed = app.sealer.seal(PURPOSE, ticket.reveal().as_bytes());
    let mut cookie = cookie(app, URL_SAFE_NO_PAD.encode(sealed));
    cookie.set_max_age(Duration::seconds(registration::LIFETIME as i64));
    with(response, &cookie)
}

/// `response`, after which the browser holds none: the account is there.
pub(super) fn clear(response: HttpResponse, app: &App) -> HttpResponse {
    let mut cookie = cookie(app, String::new());
    cookie.make_removal();
    with(response, &cookie)
}

fn cookie(app: &App, value: String) -> Cookie<'static> {
    let https = app.config.public_url.is_https();
    own_cookie(cookie_name(https), value, https)
}

fn with(mut response: HttpResponse, cookie: &Cookie<'_>) -> HttpResponse {
    response.add_cookie(cookie).expect("base64 is the value of a header");
    response
}
