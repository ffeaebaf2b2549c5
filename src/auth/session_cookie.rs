//! Requests changes of the session cookie. `web/cookie_guard.rs` makes them when the response is sent.

use std::time::Duration;

use actix_web::HttpRequest;

use crate::crypto::secret::Secret;
use crate::session::SessionInfo;
use crate::web::cookie_guard::{CookieChange, override_cookie};

/// Should the guard encrypt the cookie again (it was sealed with a previous key), the cookie of a remembered
/// session keeps the rest of its lifetime.
pub(super) fn keep_max_age(request: &HttpRequest, session: &SessionInfo) {
    if session.remembered {
        let left = Duration::from_secs(session.absolute_seconds.max(0) as u64);
        override_cookie(request, |cookie| cookie.max_age = Some(left));
    }
}

/// Sets the cookie of a new session. `max_age: None`: the browser deletes it when it is closed.
pub(super) fn replace(request: &HttpRequest, secret: &Secret, max_age: Option<Duration>) {
    override_cookie(request, |cookie| {
        cookie.change = CookieChange::Replace(secret.reveal());
        cookie.max_age = max_age;
    });
}

/// Continues the session of this browser with a new `secret`. `None`: the session has ended, and the cookie
/// is cleared.
pub fn rotate(request: &HttpRequest, secret: Option<Secret>) {
    let change =
        secret.map_or(CookieChange::Clear, |secret| CookieChange::Replace(secret.reveal()));
    override_cookie(request, |cookie| cookie.change = change);
}

/// Clears the cookie of a session that has ended.
pub fn clear(request: &HttpRequest) {
    override_cookie(request, |cookie| cookie.change = CookieChange::Clear);
}
