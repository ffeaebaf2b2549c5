//! Authentication: the current user, sign-in, sign-out and re-authentication.
//!
//! # The five operations
//!
//! 1. **Resume.** [`resume`] is a middleware. It finds the user of the request's session and makes it
//!    available to handlers.
//! 2. **Require.** A handler that takes [`CurrentUser`] runs only for signed-in users; everyone else is
//!    redirected to /login. [`RecentlyAuthenticated`] also requires a password entered in this session within
//!    the last 15 minutes; otherwise the user is asked for it first. [`OptionalUser`] requires nothing.
//! 3. **Sign in.** [`sign_in`] takes a verified [`FirstFactor`], creates the session and sets its cookie.
//!    Pages get the factor from [`crate::user::authenticate`], which compares the password.
//! 4. **Sign out.** [`sign_out`] deletes the session and clears its cookie.
//! 5. **Re-authenticate.** [`reauthenticate`] compares the password of a signed-in user. [`renew_session`]
//!    then rotates the session secret and updates `authenticated_at`.
//!
//! # Data passed through actix-session
//!
//! The session of a request reaches [`resume`] as a map of JSON texts. Only `session/state.rs` contains its
//! keys:
//!
//! * `frontdesk.current`: the [`SessionInfo`]. `CachedSession::to_map` writes it when the store
//!   (`session/store.rs`) loads a session. [`SessionInfo::of`] reads it, called by [`resume`]; so does
//!   `difference`, called by `update` of the store.
//! * `actix_identity.user_id`: `CachedSession::to_map` writes it if the session has a user. actix-identity
//!   reads it for `current_user.rs`, which compares it with the account in the [`SessionInfo`].
//! * Any other key belongs to the application: `update` of the store writes those that the request changed to
//!   `sessions.state`.
//!
//! A sign-in does not pass through the map: `first_factor.rs` calls
//! [`PgSessionStore::create`](crate::session::PgSessionStore::create) in its own transaction. An application
//! that uses the store without this module leaves the properties of the new session in the map, under
//! `frontdesk.new_session`; `save` of the store reads them.
//!
//! The session cookie is not set by actix-session either. `web/cookie_guard.rs` wraps the session middleware.
//! For a request, it forwards the cookie only if exactly one cookie has the exact name. In a response, it
//! drops the `Set-Cookie` of actix-session and applies the
//! [`CookieOverride`](crate::web::cookie_guard::CookieOverride) of the request. Only `session_cookie.rs`
//! writes that: for [`resume`], [`sign_in`], [`sign_out`], [`renew_session`], and the pages that call
//! [`rotate_cookie`] or [`clear_cookie`].

mod current_user;
mod first_factor;
pub mod known_device;
mod origin;
mod reauthentication;
pub mod second_arrival;
mod session_cookie;

use actix_session::SessionExt as _;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest};
use tracing::Level;

use crate::app::App;
use crate::events::After;
use crate::mail::address::EmailAddress;
use crate::session::{Lock, Requester, SessionEnded, SessionInfo, notice};
use crate::user::password;
use crate::user::password::policy::Password;
use crate::user::rate_limit::{Action, Attempt, Refusal};
use crate::user::session_rules::{self, AccountEvent};
use crate::web::error::HttpError;
use crate::web::{cookie_guard, request_data};

pub use current_user::{CurrentUser, OptionalUser};
pub use first_factor::{FirstFactor, SignInOutcome, SignedIn};
pub use origin::origin;
pub use reauthentication::{
    RECENT_FOR, Reauthentication, RecentlyAuthenticated, renew_session, show_confirmation,
    show_confirmation_rate_limited,
};
pub use session_cookie::{clear as clear_cookie, rotate as rotate_cookie};

/// The middleware directly inside the session middleware. Finds the user of the session, for the extractors,
/// the header of the page and the Max-Age of the cookie. If the session ends while the body of a form is
/// being read, the response is [`HttpError::SignInAgain`].
pub async fn resume(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let session = request.get_session();
    let info = SessionInfo::of(&session);
    let user = info.clone().and_then(|info| current_user::identify(&request, info));
    request_data::leave_session(request.request());
    request.extensions_mut().insert(session);
    if let Some(info) = info {
        session_cookie::keep_max_age(request.request(), &info);
    }
    // Not at a higher level: any client can send such a cookie with every request.
    if user.is_none()
        && tracing::enabled!(Level::DEBUG)
        && cookie_guard::has_cookie(request.request())
    {
        tracing::debug!("the session cookie belongs to no live session; ignored");
    }
    let is_form = !request.method().is_safe();
    let form_user = user.clone().filter(|_| is_form);
    if let Some(user) = user {
        current_user::provide(&request, user);
    }
    let response = next.call(request).await?;
    let mut response = match form_user {
        Some(user) => current_user::recheck(response, &user).await,
        None => response.map_into_left_body(),
    };
    known_device::set_cookie(&mut response);
    request_data::return_to_session(response.request());
    Ok(response)
}

/// Signs in the user of `factor` in this browser. With `remembered`, the cookie has a Max-Age and is kept
/// when the browser is closed. When this returns, no server accepts the session that the browser had before or a
/// session that ended because of the limit of sessions per user.
pub async fn sign_in(
    request: &HttpRequest,
    app: &App,
    factor: FirstFactor,
    remembered: bool,
) -> Result<SignInOutcome, HttpError> {
    let (user, password_changed_at) = (factor.user.id, factor.user.password_changed_at);
    let created = first_factor::create_session(request, app, factor, remembered).await?;
    let Some(created) = created else { return Ok(SignInOutcome::AccountChanged) };
    let ends_session = created.replaced.is_some();
    if let Some(replaced) = created.replaced {
        app.sessions.invalidate_replaced(replaced).await;
    }
    if created.ended_by_limit > 0 {
        app.sessions.invalidate_user(user).await;
    }
    known_device::mark_known(request, app, user, password_changed_at);
    let max_age = remembered.then_some(app.config.session.remembered_absolute);
    session_cookie::replace(request, &created.secret, max_age, ends_session);
    Ok(SignInOutcome::SignedIn(SignedIn {
        ended_by_limit: created.ended_by_limit,
        is_deletion_scheduled: created.is_deletion_scheduled,
    }))
}

/// Revokes the session of this browser. When this returns, the row is deleted and no server accepts the
/// session. [`SessionEnded`]: the session had already ended, and nothing was written.
pub async fn sign_out(
    request: &HttpRequest,
    app: &App,
    current: Option<CurrentUser>,
) -> Result<Result<(), SessionEnded>, HttpError> {
    let outcome = match current {
        Some(user) => {
            let requester = user.requester(request);
            let ended = delete_session(app, requester.clone()).await?;
            app.sessions.invalidate_user(requester.user).await;
            ended
        }
        None => {
            // Possibly a double click: the first request deleted the row and may still be waiting for a
            // server that has the session cached. A request without a valid cookie does not wait.
            if let Some(secret) = cookie_guard::secret(request) {
                app.sessions.await_end(&secret.digest()).await;
            }
            Ok(())
        }
    };
    session_cookie::clear(request);
    Ok(outcome)
}

/// Revokes the session of `requester`.
async fn delete_session(
    app: &App,
    requester: Requester,
) -> Result<Result<(), SessionEnded>, HttpError> {
    let (by, hooks) = (requester.clone(), app.hooks.clone());
    let ended =
        requester.transaction::<_, sqlx::Error, _>(&app.pool, Lock::Session, move |connection| {
            Box::pin(async move {
                let (event, session) = (AccountEvent::SignedOut, Some(by.session));
                let applied =
                    session_rules::apply(connection, event, by.user, session, &by.origin).await?;
                let (user, origin) = (by.user, &by.origin);
                notice::for_hooks(connection, &hooks, After::SignOut, user, origin).await?;
                Ok(applied)
            })
        });
    Ok(ended.await?.map(|_| ()))
}

/// Compares `password` with that of `user`, who is signed in. All pages use this function: it counts the
/// attempt before the comparison and records each refusal in the audit log, so that a stolen session cannot
/// be used to guess the password.
pub async fn reauthenticate(
    request: &HttpRequest,
    app: &App,
    user: &CurrentUser,
    password: &Password,
) -> Result<Reauthentication, HttpError> {
    let email = EmailAddress::stored(&user.account.email);
    let requester = user.requester(request);
    let attempt = Attempt::of(Action::Confirm)
        .email(Some(&email))
        .ip(requester.origin.ip_address)
        .requester(&requester);
    let permit = match attempt.check(&app.pool, &app.sealer).await {
        Ok(permit) => permit,
        Err(Refusal::TooMany { retry_after }) => {
            return Ok(Reauthentication::RateLimited { retry_after });
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let (pool, hasher, id) = (&app.pool, &app.hasher, user.account.id);
    let verified = password::verify::confirm(pool, hasher, &permit, id, password).await?;
    let Some(verified_hash) = verified else {
        reauthentication::record_refusal(app, requester.clone()).await?;
        permit.record_failure_in_session(&app.sealer, id, &requester.origin).await?;
        return Ok(Reauthentication::WrongPassword);
    };
    permit.refund().await?;
    Ok(Reauthentication::Accepted { verified_hash })
}
