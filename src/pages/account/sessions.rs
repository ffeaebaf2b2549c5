//! `GET /account/sessions`, `POST /account/sessions/{id}/revoke`, `POST /account/sessions/revoke-others`: the
//! devices where the user is signed in, and buttons that sign them out. The ids on the page are public; they
//! are not credentials.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::auth::{self, CurrentUser};
use crate::id::SessionId;
use crate::session::revoke::{self, Cause};
use crate::session::{Lock, list, user_agent};
use crate::user::session_rules::{self, AccountEvent};
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::Form;
use crate::web::page::Page;
use crate::web::relative_time::Time;

#[derive(Serialize)]
struct Data {
    sessions: Vec<Device>,
    others: usize,
    /// The maximum number of sessions per user, if it is reached.
    reached_limit: Option<u32>,
}

#[derive(Serialize)]
struct Device {
    id: String,
    title: String,
    kind: &'static str,
    ip_address: Option<String>,
    signed_in: Time,
    last_seen: Time,
    is_current: bool,
    remembered: bool,
}

/// `GET /account/sessions`.
#[tracing::instrument(name = "sessions_page", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
) -> Result<HttpResponse, HttpError> {
    let entries = list::for_user(&app.pool, user.account.id).await?;
    let mut sessions: Vec<Device> =
        entries.into_iter().map(|entry| device(entry, user.session.id)).collect();
    // This device first, then the others in their order: last seen first.
    sessions.sort_by_key(|device| !device.is_current);
    let others = sessions.iter().filter(|device| !device.is_current).count();
    let limit = app.config.sessions_per_user;
    let reached_limit =
        Some(limit).filter(|limit| (1..=sessions.len() as u64).contains(&u64::from(*limit)));
    page.show("account/sessions.html", &Data { sessions, others, reached_limit })
}

/// `POST /account/sessions/{id}/revoke`.
#[tracing::instrument(name = "revoke_session", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn revoke(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    path: web::Path<String>,
    _form: Form,
) -> Result<HttpResponse, HttpError> {
    let id: SessionId = path.parse().map_err(|_| HttpError::NotFound)?;
    if id == user.session.id {
        auth::sign_out(page.request(), &app, Some(user)).await??;
        return Ok(page.redirect_with("/", &Notice::good("You're signed out.")));
    }
    let requester = user.requester(page.request());
    let by = requester.clone();
    let ended = requester.transaction::<_, sqlx::Error, _>(
        &app.pool,
        Lock::UserAndSession,
        move |connection| {
            Box::pin(async move { revoke::own_session(connection, &by, id, Cause::Revoked).await })
        },
    );
    let ended = ended.await??.ok_or(HttpError::NotFound)?;
    app.sessions.invalidate_user(requester.user).await;
    let title = user_agent::describe(ended.user_agent.as_deref()).title;
    Ok(page.redirect_with("/account/sessions", &Notice::good(format!("Signed out of {title}."))))
}

/// `POST /account/sessions/revoke-others`.
#[tracing::instrument(name = "revoke_other_sessions", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn revoke_others(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    _form: Form,
) -> Result<HttpResponse, HttpError> {
    let requester = user.requester(page.request());
    let by = requester.clone();
    let ended = requester.transaction::<_, sqlx::Error, _>(
        &app.pool,
        Lock::UserAndSession,
        move |connection| {
            Box::pin(async move {
                let (user, keep) = (by.user, Some(by.session));
                session_rules::apply(connection, AccountEvent::OthersEnded, user, keep, &by.origin)
                    .await
            })
        },
    );
    let ended = ended.await??;
    app.sessions.invalidate_user(requester.user).await;
    let notice = match ended.ended_sessions {
        0 => "You weren't signed in anywhere else.".to_owned(),
        1 => "Signed out on 1 other device.".to_owned(),
        many => format!("Signed out on {many} other devices."),
    };
    Ok(page.redirect_with("/account/sessions", &Notice::good(notice)))
}

fn device(entry: list::LiveSession, current: SessionId) -> Device {
    let browser = user_agent::describe(entry.user_agent.as_deref());
    let is_current = entry.id == current;
    // The current session is in use now; its row may be up to a minute behind.
    let last_seen = if is_current { entry.now } else { entry.last_seen_at };
    Device {
        id: entry.id.to_string(),
        title: browser.title,
        kind: browser.kind.as_str(),
        ip_address: entry.ip_address,
        signed_in: Time::new(entry.created_at, entry.now),
        last_seen: Time::new(last_seen, entry.now),
        is_current,
        remembered: entry.remembered,
    }
}
