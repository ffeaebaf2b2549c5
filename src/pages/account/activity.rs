//! `GET /account/activity`: lists the user's audit events, newest first. Shows no events of other users and
//! no secrets.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::event_words;
use crate::app::App;
use crate::audit::{self, StoredEvent};
use crate::auth::CurrentUser;
use crate::id::SessionId;
use crate::session::user_agent;
use crate::web::error::HttpError;
use crate::web::page::Page;
use crate::web::relative_time::Time;

/// Events per page.
const PAGE_SIZE: usize = 30;

#[derive(Serialize)]
struct Data {
    events: Vec<EventView>,
    /// The id after which the next page starts; `None` on the last page.
    older: Option<i64>,
    is_first_page: bool,
}

#[derive(Serialize)]
struct EventView {
    description: String,
    is_suspicious: bool,
    at: Time,
    by: Option<&'static str>,
    device: Option<String>,
    ip_address: Option<String>,
    /// The event concerns the current session.
    is_this_session: bool,
}

/// The query string.
#[derive(serde::Deserialize)]
pub struct Query {
    before: Option<String>,
}

/// `GET /account/activity`.
#[tracing::instrument(name = "activity_page", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, HttpError> {
    let before = query.and_then(|query| query.into_inner().before);
    let before = before.and_then(|text| text.parse::<i64>().ok());
    // One more than the page shows, to find out whether there are older ones.
    let mut events =
        audit::list_for_user(&app.pool, user.account.id, before, PAGE_SIZE as i64 + 1).await?;
    let has_more = events.len() > PAGE_SIZE;
    events.truncate(PAGE_SIZE);
    let data = Data {
        older: events.last().filter(|_| has_more).map(|last| last.id),
        is_first_page: before.is_none(),
        events: events.into_iter().map(|event| view(event, user.session.id)).collect(),
    };
    page.show("account/activity.html", &data)
}

fn view(event: StoredEvent, current: SessionId) -> EventView {
    let (description, is_suspicious) = event_words::describe(&event.event, &event.details);
    EventView {
        description,
        is_suspicious,
        at: Time::new(event.occurred_at, event.now),
        by: match event.actor.as_str() {
            "operator" => Some("by an administrator"),
            "system" => Some("automatically"),
            "database" => Some("by an administrator, in the database"),
            _ => None,
        },
        device: event.user_agent.as_deref().map(|agent| user_agent::describe(Some(agent)).title),
        ip_address: event.ip_address,
        is_this_session: event.session_id == Some(current),
    }
}
