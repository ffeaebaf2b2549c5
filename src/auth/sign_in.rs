//! How a session begins and ends. The session middleware writes the row on the way out: a new one under
//! a new secret, with nothing of what was in the session before.

use actix_identity::Identity;
use actix_session::SessionExt as _;
use actix_web::{HttpMessage as _, HttpRequest};

use super::{CurrentUser, device};
use crate::app::App;
use crate::kit::cookie_guard::{self, CookieChange};
use crate::kit::error::HttpError;
use crate::secret::Secret;
use crate::session::{Birth, SessionEnded};
use crate::user::User;
use crate::user::rules::{self, Occasion};

/// Signs `user` in, in this browser. A session that this browser had before ends.
pub fn sign_in(
    request: &HttpRequest,
    app: &App,
    user: &User,
    remembered: bool,
    method: &str,
) -> Result<(), HttpError> {
    let birth = Birth {
        remembered,
        auth_methods: vec![method.to_owned()],
        origin: super::origin(request),
        credential_of: user.password_changed_at,
        on_new_device: !device::is_known(request, app, user),
        account_of: Some((user.email.clone(), user.role.clone())),
    };
    let begin = || -> anyhow::Result<()> {
        birth.announce(&request.get_session())?;
        Identity::login(&request.extensions(), user.id().to_string())?;
        Ok(())
    };
    begin().map_err(HttpError::Internal)?;
    device::remember(request, app, user);
    cookie_guard::wish(request, |wish| {
        wish.change = CookieChange::Begun;
        wish.max_age = remembered.then_some(app.config.session.remembered_absolute);
    });
    Ok(())
}

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
        let ended =
            requester.session_transaction::<_, sqlx::Error, _>(&app.pool, move |connection| {
                Box::pin(async move {
                    let (user, session) = (by.user, Some(by.session));
                    rules::apply(connection, Occasion::SignedOut, user, session, &by.origin).await
                })
            });
        outcome = ended.await?.map(|_| ());
        app.sessions.settle_user(requester.user).await;
    } else if cookie_guard::is_ours(request) {
        // The second click: the first deleted the row, and may still wait for a server that knows it. Strangers have no
        // such cookie and make nobody wait.
        app.sessions.settle().await;
    }
    cookie_guard::wish(request, |wish| wish.change = CookieChange::Clear);
    Ok(outcome)
}

/// The session of this browser goes on under `secret`. Without one it ended meanwhile, and what comes next asks to
/// sign in.
pub fn go_on(request: &HttpRequest, secret: Option<Secret>) {
    let change =
        secret.map_or(CookieChange::Clear, |secret| CookieChange::Replace(secret.reveal()));
    cookie_guard::wish(request, |wish| wish.change = change);
}
