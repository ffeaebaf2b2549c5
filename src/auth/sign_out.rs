//! The session of this browser: how it ends, and how it continues under a new secret. How one begins is in
//! `first_factor.rs`.

use actix_web::HttpRequest;

use super::CurrentUser;
use crate::app::App;
use crate::crypto::secret::Secret;
use crate::session::{Lock, SessionEnded};
use crate::user::session_rules::{self, AccountEvent};
use crate::web::cookie_guard::{self, CookieChange};
use crate::web::error::HttpError;

/// Ends the session of this browser. When this returns, the row is gone and no server accepts it. [`SessionEnded`]: it had
/// ended before, and nothing was written.
pub async fn sign_out(
    request: &HttpRequest,
    app: &App,
    current: Option<CurrentUser>,
) -> Result<Result<(), SessionEnded>, HttpError> {
    let mut outcome = Ok(());
    if let Some(current) = current {
        let requester = current.requester(request);
        let by = requester.clone();
        let ended = requester.transaction::<_, sqlx::Error, _>(
            &app.pool,
            Lock::Session,
            move |connection| {
                Box::pin(async move {
                    let (user, session) = (by.user, Some(by.session));
                    session_rules::apply(
                        connection,
                        AccountEvent::SignedOut,
                        user,
                        session,
                        &by.origin,
                    )
                    .await
                })
            },
        );
        outcome = ended.await?.map(|_| ());
        app.sessions.invalidate_user(requester.user).await;
    } else if cookie_guard::is_ours(request) {
        // The second click: the first deleted the row, and may still wait for a server that knows it. A request without
        // our cookie does not wait.
        app.sessions.await_invalidation().await;
    }
    cookie_guard::override_cookie(request, |override_cookie| {
        override_cookie.change = CookieChange::Clear
    });
    Ok(outcome)
}

/// Continues the session of this browser under `secret`. `None`: the session has ended, and the cookie is cleared.
pub fn rotate_cookie(request: &HttpRequest, secret: Option<Secret>) {
    let change =
        secret.map_or(CookieChange::Clear, |secret| CookieChange::Replace(secret.reveal()));
    cookie_guard::override_cookie(request, |override_cookie| override_cookie.change = change);
}
