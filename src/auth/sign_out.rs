//! The transaction that ends the session of this browser.

use actix_web::HttpRequest;

use super::current_user::CurrentUser;
use crate::app::App;
use crate::session::{Lock, SessionEnded};
use crate::user::session_rules::{self, AccountEvent};
use crate::web::error::HttpError;

/// Deletes the session of `user` and waits until no server accepts it. [`SessionEnded`]: it had ended before.
pub(super) async fn revoke_session(
    request: &HttpRequest,
    app: &App,
    user: &CurrentUser,
) -> Result<Result<(), SessionEnded>, HttpError> {
    let requester = user.requester(request);
    let by = requester.clone();
    let ended =
        requester.transaction::<_, sqlx::Error, _>(&app.pool, Lock::Session, move |connection| {
            Box::pin(async move {
                let (event, session) = (AccountEvent::SignedOut, Some(by.session));
                session_rules::apply(connection, event, by.user, session, &by.origin).await
            })
        });
    let ended = ended.await?.map(|_| ());
    app.sessions.invalidate_user(requester.user).await;
    Ok(ended)
}
