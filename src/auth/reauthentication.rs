//! Re-authentication of a signed-in user: the extractor [`RecentlyAuthenticated`], the page that asks for the
//! password, and the audit events.
//!
//! After the password is entered, the browser is redirected to the original page. A submitted form is sealed,
//! passed through the password page as a hidden field, and then submitted again (`web/resumed_form.rs`).

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::{Error, FromRequest, HttpRequest, HttpResponse, web};
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde_json::json;

use super::current_user::CurrentUser;
use super::session_cookie;
use crate::app::App;
use crate::audit::{self, Event, EventKind, RefusalReason};
use crate::crypto::seal::Sealer;
use crate::language::Text;
use crate::session::{Lock, Requester, SessionInfo};
use crate::user::password;
use crate::user::session_rules::{self, AccountEvent};
use crate::web::error::HttpError;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;
use crate::web::resumed_form::{self, SessionBinding};

/// How long an authentication is recent (ASVS 5.0 V7.5.1).
pub const RECENT_FOR: Duration = Duration::from_secs(15 * 60);

/// A user who authenticated in this session within the last [`RECENT_FOR`]. Other signed-in users are asked
/// for their password first. In the arguments of a handler, it must come before [`Form`]: both read the body,
/// which can be read only once.
#[derive(Clone, Debug)]
pub struct RecentlyAuthenticated(pub CurrentUser);

impl RecentlyAuthenticated {
    /// Whether the last authentication in `session` is recent, by the database's clock.
    pub fn is_recent(session: &SessionInfo) -> bool {
        session.authentication_age().is_some_and(|age| age < RECENT_FOR)
    }
}

/// The outcome of a re-authentication.
#[derive(Debug)]
pub enum Reauthentication {
    /// The password is correct.
    Accepted {
        /// The stored hash that it was compared with.
        verified_hash: String,
    },
    /// The password is wrong.
    WrongPassword,
    /// Too many attempts: nothing was compared.
    RateLimited {
        /// Time to wait before the next attempt.
        retry_after: Duration,
    },
}

#[derive(Serialize)]
struct ConfirmPage<'a> {
    form: FormView,
    email: &'a str,
    original_request: &'a str,
}

/// The page that asks for the password. `original`: a sealed form to complete afterwards, or empty.
pub fn show_confirmation(
    page: &Page,
    user: &CurrentUser,
    status: StatusCode,
    form: FormView,
    original: &str,
) -> Result<HttpResponse, HttpError> {
    let data = ConfirmPage { form, email: &user.account.email, original_request: original };
    page.show_with(status, "account/confirm.html", &data)
}

/// The same page after too many attempts (429). `original` is kept.
pub fn show_confirmation_rate_limited(
    page: &Page,
    user: &CurrentUser,
    mut form: FormView,
    original: &str,
    retry_after: Duration,
) -> Result<HttpResponse, HttpError> {
    form.set_rate_limited(Text::key("too-many-attempts"), retry_after);
    let data = ConfirmPage { form, email: &user.account.email, original_request: original };
    page.show_rate_limited("account/confirm.html", &data, retry_after)
}

impl FromRequest for RecentlyAuthenticated {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let user = match CurrentUser::from_request(request, payload).into_inner() {
            Ok(user) => user,
            Err(error) => return Box::pin(async move { Err(error.into()) }),
        };
        if Self::is_recent(&user.session) {
            return Box::pin(async move { Ok(RecentlyAuthenticated(user)) });
        }
        let target = resumed_form::target(request);
        if request.method().is_safe() {
            return Box::pin(
                async move { Err(HttpError::ReauthenticateFirst { next: target }.into()) },
            );
        }
        let form = Form::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let page = Page::extract(&request).await?;
            let sealer = request.app_data::<web::Data<Sealer>>();
            let (Some(sealer), Some(binding)) = (sealer, SessionBinding::of(&request)) else {
                return Err(HttpError::Internal(anyhow::anyhow!("sealing is not set up")).into());
            };
            let original = binding.seal(sealer, &target, &form.await?)?;
            let view = FormView { next: target, ..FormView::default() };
            // 403, so that scripts do not mistake the response for success: the form has not been processed.
            let status = StatusCode::FORBIDDEN;
            let response = show_confirmation(&page, &user, status, view, &original)?;
            Err(InternalError::from_response("reauthenticate first", response).into())
        })
    }
}

/// Records a wrong password in the audit log, unless the session has ended.
pub(super) async fn record_refusal(app: &App, requester: Requester) -> Result<(), HttpError> {
    let by = requester.clone();
    let record =
        requester.transaction::<_, sqlx::Error, _>(&app.pool, Lock::Session, move |connection| {
            Box::pin(async move {
                let event = Event {
                    kind: EventKind::ReauthenticationRefused,
                    user: Some(by.user),
                    session: Some(by.session),
                    origin: &by.origin,
                    details: json!({ "why": RefusalReason::WrongPassword.as_str() }),
                };
                audit::record(connection, event).await
            })
        });
    record.await??;
    Ok(())
}

/// Rotates the secret of `user`'s session and sets `authenticated_at` to now. When this returns, no server
/// accepts the old cookie. `false` if the stored hash is no longer `verified_hash`: the password was changed
/// since it was compared, and nothing was written.
pub async fn renew_session(
    request: &HttpRequest,
    app: &App,
    user: &CurrentUser,
    verified_hash: String,
) -> Result<bool, HttpError> {
    let requester = user.requester(request);
    let Requester { user, session, origin, .. } = requester.clone();
    let renewed = requester.transaction::<_, sqlx::Error, _>(
        &app.pool,
        Lock::UserAndSession,
        move |connection| {
            Box::pin(async move {
                if !password::verify::is_current(connection, user, &verified_hash).await? {
                    return Ok(None);
                }
                let (event, current) = (AccountEvent::Reauthenticated, Some(session));
                let renewed =
                    session_rules::apply(connection, event, user, current, &origin).await?;
                let event = Event {
                    kind: EventKind::Reauthenticated,
                    user: Some(user),
                    session: current,
                    origin: &origin,
                    details: json!({ "methods": ["pwd"] }),
                };
                audit::record(connection, event).await?;
                Ok(Some(renewed))
            })
        },
    );
    let Some(renewed) = renewed.await?? else { return Ok(false) };
    app.sessions.invalidate_user(requester.user).await;
    session_cookie::rotate(request, renewed.secret);
    Ok(true)
}
