//! `GET /account/sessions`, `POST /account/sessions/{id}/revoke`, `POST /account/sessions/revoke-others`: the
//! devices where the user is signed in, and buttons that sign them out. The ids on the page are public; they
//! are not credentials.

use std::collections::HashMap;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use time::OffsetDateTime;

use crate::app::{App, redirect_home};
use crate::auth::{self, CurrentUser};
use crate::events::After;
use crate::id::SessionId;
use crate::language::Text;
use crate::paths::page_path;
use crate::session::revoke::{self, Cause};
use crate::session::{Lock, list, notice, user_agent};
use crate::user::session_rules::{self, AccountEvent};
use crate::web::client;
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::Form;
use crate::web::number;
use crate::web::page::Page;
use crate::web::relative_time::Time;

/// Sessions per page.
const PAGE_SIZE: usize = 25;
const PATH: &str = "/account/sessions";

#[derive(Serialize)]
struct Data {
    sessions: Vec<Device>,
    /// The number of other sessions, on all pages.
    others: usize,
    /// The same with commas.
    others_text: String,
    /// The maximum number of sessions per user, if it is reached.
    reached_limit: Option<u32>,
    /// The query string of this page; empty on the first page.
    query: String,
    /// The query string of the next page; `None` on the last page.
    older: Option<String>,
}

#[derive(Serialize)]
struct Device {
    id: String,
    title: String,
    /// What distinguishes the session from the others on the page, for screen readers.
    name: String,
    kind: &'static str,
    ip_address: Option<String>,
    /// The IP address of the last activity, if it is not that of the sign-in.
    other_ip_address: Option<String>,
    /// The last recorded activity of the current session, if it came from another IP address than this request.
    used_elsewhere: Option<UsedElsewhere>,
    signed_in: Time,
    /// Another session on the page has the same title and IP address: only the exact time tells them apart.
    is_ambiguous: bool,
    last_seen: Time,
    is_current: bool,
    remembered: bool,
}

#[derive(Serialize)]
struct UsedElsewhere {
    ip_address: String,
    at: Time,
}

/// The query string.
#[derive(serde::Deserialize)]
pub struct Query {
    before: Option<String>,
}

/// `GET /account/sessions`.
#[tracing::instrument(name = "sessions_page", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, HttpError> {
    let (id, current) = (user.account.id, user.session.id);
    let after = position(query);
    // One more than the page shows, to find out whether there are older ones.
    let size = PAGE_SIZE as i64 + 1;
    let mut entries = list::page_for_user(&app.pool, id, current, after, size).await?;
    let has_more = entries.len() > PAGE_SIZE;
    entries.truncate(PAGE_SIZE);
    let count = usize::try_from(list::count_for_user(&app.pool, id).await?).unwrap_or_default();
    let others = count.saturating_sub(1);
    let limit = app.config.sessions_per_user;
    let last = entries.last().filter(|_| has_more);
    let older = last.map(|last| query_string(Some((last.created_at, last.id))));
    let current_ip = client::ip_address(page.request()).map(|ip| ip.to_string());
    let mut sessions: Vec<Device> =
        entries.into_iter().map(|entry| device(entry, current, current_ip.as_ref())).collect();
    distinguish(&mut sessions);
    let data = Data {
        sessions,
        others,
        others_text: number::grouped(others),
        reached_limit: Some(limit).filter(|limit| (1..=count as u64).contains(&u64::from(*limit))),
        query: query_string(after),
        older,
    };
    page.show("account/sessions.html", &data)
}

/// The position in the query string. `None`, the first page, if there is none or if it cannot be read. A time
/// before 1970 is that of no session, and PostgreSQL refuses times before 4713 BC.
fn position(query: Option<web::Query<Query>>) -> Option<list::Position> {
    let text = query?.into_inner().before?;
    let (microseconds, id) = text.split_once('.')?;
    let nanoseconds = i128::from(microseconds.parse::<i64>().ok()?) * 1_000;
    let created_at = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .ok()
        .filter(|at| *at >= OffsetDateTime::UNIX_EPOCH)?;
    Some((created_at, id.parse().ok()?))
}

/// The query string of the page after `position`.
fn query_string(position: Option<list::Position>) -> String {
    position.map_or_else(String::new, |(created_at, id)| {
        format!("?before={}.{id}", created_at.unix_timestamp_nanos() / 1_000)
    })
}

/// `POST /account/sessions/{id}/revoke`.
#[tracing::instrument(name = "revoke_session", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn revoke(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    path: web::Path<String>,
    query: Option<web::Query<Query>>,
    _form: Form,
) -> Result<HttpResponse, HttpError> {
    let id: SessionId = path.parse().map_err(|_| HttpError::NotFound)?;
    if id == user.session.id {
        auth::sign_out(page.request(), &app, Some(user)).await??;
        return Ok(redirect_home(&page, &app, &Notice::good(Text::key("signed-out"))));
    }
    let requester = user.requester(page.request());
    let (by, hooks) = (requester.clone(), app.hooks.clone());
    let ended = requester.transaction::<_, sqlx::Error, _>(
        &app.pool,
        Lock::UserAndSession,
        move |connection| {
            Box::pin(async move {
                let ended = revoke::own_session(connection, &by, id, Cause::Revoked).await?;
                if ended.is_some() {
                    let (user, origin) = (by.user, &by.origin);
                    notice::for_hooks(connection, &hooks, After::SignOut, user, origin).await?;
                }
                Ok(ended)
            })
        },
    );
    let ended = ended.await??.ok_or(HttpError::NotFound)?;
    app.sessions.invalidate_user(requester.user).await;
    let title = user_agent::describe(ended.user_agent.as_deref()).title;
    // Back to the page with the button.
    let shown = format!("{}{}", page_path(PATH), query_string(position(query)));
    Ok(page.redirect_with(
        &shown,
        &Notice::good(Text::key("sessions-signed-out").with("device", title)),
    ))
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
    let (by, hooks) = (requester.clone(), app.hooks.clone());
    let ended = requester.transaction::<_, sqlx::Error, _>(
        &app.pool,
        Lock::UserAndSession,
        move |connection| {
            Box::pin(async move {
                let (user, keep) = (by.user, Some(by.session));
                let (event, origin) = (AccountEvent::OthersEnded, &by.origin);
                let applied = session_rules::apply(connection, event, user, keep, origin).await?;
                if applied.ended_sessions > 0 {
                    notice::for_hooks(connection, &hooks, After::SignOut, user, origin).await?;
                }
                Ok(applied)
            })
        },
    );
    let ended = ended.await??;
    app.sessions.invalidate_user(requester.user).await;
    let notice = match ended.ended_sessions {
        0 => Text::key("sessions-no-others"),
        ended => Text::key("sessions-others-signed-out")
            .with("n", ended)
            .with("number", number::grouped(ended)),
    };
    Ok(page.redirect_with(&page_path(PATH), &Notice::good(notice)))
}

/// The session `current` is in use now, from `current_ip`. Its row may be up to a minute behind: it shows
/// where the cookie was used before this request, for example by a thief.
fn device(entry: list::LiveSession, current: SessionId, current_ip: Option<&String>) -> Device {
    let browser = user_agent::describe(entry.user_agent.as_deref());
    let is_current = entry.id == current;
    let used_elsewhere =
        entry.last_seen_ip_address.clone().filter(|ip| is_current && current_ip != Some(ip)).map(
            |ip_address| UsedElsewhere { ip_address, at: Time::new(entry.last_seen_at, entry.now) },
        );
    let (last_seen, last_ip) = if is_current {
        (entry.now, current_ip.cloned())
    } else {
        (entry.last_seen_at, entry.last_seen_ip_address)
    };
    let signed_in = Time::new(entry.created_at, entry.now);
    let name = match &entry.ip_address {
        _ if is_current => Text::key("sessions-name-this"),
        Some(ip) => Text::key("sessions-name-from").with("date", &signed_in.exact).with("ip", ip),
        None => Text::key("sessions-name").with("date", &signed_in.exact),
    };
    let title = browser.title.to_string();
    let name = name.with("device", browser.title).to_string();
    Device {
        id: entry.id.to_string(),
        title,
        name,
        kind: browser.kind.as_str(),
        other_ip_address: last_ip.filter(|ip| entry.ip_address.as_ref() != Some(ip)),
        used_elsewhere,
        ip_address: entry.ip_address,
        signed_in,
        is_ambiguous: false,
        last_seen: Time::new(last_seen, entry.now),
        is_current,
        remembered: entry.remembered,
    }
}

/// Marks sessions with the same browser and IP address, and numbers those that also began within one minute.
fn distinguish(sessions: &mut [Device]) {
    let mut similar: HashMap<(String, Option<String>), usize> = HashMap::new();
    for session in &*sessions {
        *similar.entry((session.title.clone(), session.ip_address.clone())).or_default() += 1;
    }
    for session in &mut *sessions {
        session.is_ambiguous = similar[&(session.title.clone(), session.ip_address.clone())] > 1;
    }
    let mut counts: HashMap<String, usize> = HashMap::new();
    for session in sessions {
        let count = counts.entry(session.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            let name = Text::key("sessions-name-numbered").with("name", &session.name);
            session.name = name.with("n", *count).to_string();
        }
    }
}
