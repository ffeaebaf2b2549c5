//! A random value that identifies a browser without a session. The public pages with a form set it as a
//! cookie, and their form repeats it (`web/form_token.rs`). It has two uses:
//!
//! * The answer that was kept for the second arrival of a form (`auth/second_arrival.rs`) is given only to the
//!   browser with the same value: the answer may sign in.
//! * If the form of a sign-in arrives without any cookie of this site, the browser does not accept cookies, and
//!   the sign-in would create a session that the browser never uses.
//!
//! The cookie lasts until the browser is closed, and its value is not stored on the server.

use actix_web::cookie::Cookie;
use actix_web::{HttpRequest, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::cookie_guard::{self, SessionCookie, own_cookie};

/// The public pages with a form.
const PAGES: [&str; 8] = [
    "/login",
    "/register",
    "/verify-email",
    "/verify-email/link",
    "/forgot-password",
    "/reset-password",
    "/invitation",
    "/undo-email-change",
];

/// `__Host-browser`, or `browser` in development without TLS.
pub fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-browser" } else { "browser" }
}

/// The value in the cookie of the request.
pub fn read(request: &HttpRequest) -> Option<Uuid> {
    let name = cookie_name(is_secure(request));
    let bytes = URL_SAFE_NO_PAD.decode(cookie_guard::other_cookie(request, name)?).ok()?;
    Uuid::from_slice(&bytes).ok()
}

/// For a page whose form needs a cookie: the value of this browser, and the cookie if the browser does not
/// have it yet. `None` on other pages.
pub(super) fn offer(request: &HttpRequest) -> Option<(Uuid, Option<Cookie<'static>>)> {
    if !PAGES.contains(&request.path()) {
        return None;
    }
    if let Some(value) = read(request) {
        return Some((value, None));
    }
    let (value, secure) = (Uuid::new_v4(), is_secure(request));
    let text = URL_SAFE_NO_PAD.encode(value.as_bytes());
    Some((value, Some(own_cookie(cookie_name(secure), text, secure))))
}

fn is_secure(request: &HttpRequest) -> bool {
    request.app_data::<web::Data<SessionCookie>>().is_some_and(|cookie| cookie.is_secure())
}
