//! Requests changes of the session cookie. `web/cookie_guard.rs` applies them to the response.

use std::time::Duration;

use actix_web::HttpRequest;

use crate::crypto::secret::Secret;
use crate::session::SessionInfo;
use crate::web::cookie_guard::{CookieChange, override_cookie};

/// Sets the Max-Age of a remembered session's cookie to its remaining lifetime, in case the guard seals the
/// cookie again with the current key.
pub(super) fn keep_max_age(request: &HttpRequest, session: &SessionInfo) {
    if session.remembered {
        let left = Duration::from_secs(session.absolute_seconds.max(0) as u64);
        override_cookie(request, |cookie| cookie.max_age = Some(left));
    }
}

/// Sets the cookie of a new session. `max_age: None`: a cookie that lasts until the browser is closed.
/// `ends_session`: the new session replaces one that this browser had.
pub(super) fn replace(
    request: &HttpRequest,
    secret: &Secret,
    max_age: Option<Duration>,
    ends_session: bool,
) {
    override_cookie(request, |cookie| {
        cookie.change = CookieChange::Replace(secret.reveal());
        cookie.max_age = max_age;
        cookie.ends_session = ends_session;
    });
}

/// Replaces the secret in the session cookie. `None`: the session has ended, and the cookie is cleared.
pub fn rotate(request: &HttpRequest, secret: Option<Secret>) {
    let change =
        secret.map_or(CookieChange::Clear, |secret| CookieChange::Replace(secret.reveal()));
    override_cookie(request, |cookie| cookie.change = change);
}

/// Clears the cookie of a session that has ended.
pub fn clear(request: &HttpRequest) {
    override_cookie(request, |cookie| cookie.change = CookieChange::Clear);
}
