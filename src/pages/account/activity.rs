//! `GET /account/activity`: what happened to your account, in plain words, newest first. Shows only events of whoever
//! asks, and nothing that opens anything.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::event_words;
use crate::app::App;
use crate::audit::{self, StoredEvent};
use crate::auth::CurrentUser;
use crate::session::user_agent;
use crate::web::error::HttpError;
use crate::web::page::Page;
use crate::web::relative_time::Time;

/// Events on a page.
const PAGE: usize = 30;

#[derive(Serialize)]
struct Data {
    events: Vec<Line>,
    /// For the link to older ones.
    older: Option<i64>,
    is_first_page: bool,
}

#[derive(Serialize)]
struct Line {
    words: String,
    /// Worth a second look.
    is_suspicious: bool,
    at: Time,
    by: Option<&'static str>,
    device: Option<String>,
    address: Option<String>,
    is_here: bool,
}

/// What the address bar brings along.
#[derive(serde::Deserialize)]
pub struct Query {
    before: Option<String>,
}

/// `GET /account/activity`.
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, HttpError> {
    let before = query.and_then(|query| query.into_inner().before);
    let before = before.and_then(|text| text.parse::<i64>().ok());
    let mut events =
        audit::list_for_user(&app.pool, user.account.id, before, PAGE as i64 + 1).await?;
    let has_more = events.len() > PAGE;
    events.truncate(PAGE);
    let older = events.last().filter(|_| has_more).map(|last| last.id);
    let here = user.session.id;
    let data = Data {
        older,
        is_first_page: before.is_none(),
        events: events
            .into_iter()
            .map(|entry| Line { is_here: entry.session_id == Some(here), ..line(entry) })
            .collect(),
    };
    page.show("account/activity.html", &data)
}

fn line(entry: StoredEvent) -> Line {
    let (words, is_suspicious) = event_words::describe(&entry.event, &entry.details);
    Line {
        words,
        is_suspicious,
        at: Time::new(entry.occurred_at, entry.now),
        by: match entry.actor.as_str() {
            "operator" => Some("by an administrator"),
            "system" => Some("automatically"),
            _ => None,
        },
        device: entry.user_agent.as_deref().map(|agent| user_agent::describe(Some(agent)).title),
        address: entry.ip_address,
        is_here: false,
    }
}
