//! `frontdesk audit`: the trail, filtered, and followed as it grows.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use super::arguments::{Audit, Who};
use super::exit::ExitStatus;
use super::{out, user};
use crate::audit::{self, Filter, StoredEvent};
use crate::config;
use crate::db::Database;
use crate::id::UserId;
use crate::session::user_agent;
use crate::web::relative_time;

/// Between looks.
const EVERY: Duration = Duration::from_millis(500);
/// How far each look reaches back: events carry the beginning of their transaction and appear at its end, so the newest
/// number is not a mark that one could go on from.
const REACH: Duration = Duration::from_secs(30);
/// Events in one look.
const MOST: i64 = 10_000;

pub(super) async fn run(database: &Database, wanted: Audit) -> anyhow::Result<ExitStatus> {
    let seconds = match &wanted.since {
        None => None,
        Some(text) => Some(
            config::duration(text)
                .with_context(|| {
                    format!("--since must be a duration such as 30m, 2h or 7d, not {text}")
                })?
                .as_secs_f64(),
        ),
    };
    let user = match &wanted.user {
        None => None,
        Some(who) => match who.parse::<UserId>() {
            // The trail outlives the account.
            Ok(id) => Some(id),
            Err(_) => match user::find(database, &Who { who: who.clone() }).await? {
                Some(found) => Some(found.id),
                None => return Ok(ExitStatus::NothingFound),
            },
        },
    };
    let mut filter = Filter { user, event: wanted.event, seconds };
    let mut events = audit::list(&database.pool, &filter, wanted.limit).await?;
    if !wanted.follow {
        let is_empty = events.is_empty();
        for event in events {
            if !out::is_heard(&line(&event, wanted.json)) {
                break;
            }
        }
        return Ok(if is_empty { ExitStatus::NothingFound } else { ExitStatus::Done });
    }
    filter.seconds = Some(REACH.as_secs_f64());
    let mut seen: HashMap<i64, Instant> = HashMap::new();
    loop {
        for event in events.iter().rev() {
            let is_new = seen.insert(event.id, Instant::now()).is_none();
            if is_new && !out::is_heard(&line(event, wanted.json)) {
                return Ok(ExitStatus::Done);
            }
        }
        tokio::time::sleep(EVERY).await;
        seen.retain(|_, at| at.elapsed() < 2 * REACH);
        events = audit::list(&database.pool, &filter, MOST).await?;
    }
}

fn line(event: &StoredEvent, json: bool) -> String {
    if json {
        return json!({
            "id": event.id,
            "at": relative_time::iso(event.occurred_at),
            "event": event.event,
            "user_id": event.user_id,
            "email": event.email,
            "session_id": event.session_id,
            "actor": event.actor,
            "ip_address": event.ip_address,
            "user_agent": event.user_agent,
            "request_id": event.request_id,
            "details": event.details,
        })
        .to_string();
    }
    let id = event.user_id.map(|id| id.to_string());
    let who = event.email.as_deref().or(id.as_deref()).unwrap_or("-");
    let device = event.user_agent.as_deref().map(|agent| user_agent::describe(Some(agent)).title);
    let empty = event.details.as_object().is_none_or(serde_json::Map::is_empty);
    let details = if empty { String::new() } else { event.details.to_string() };
    let by = if event.actor == "user" { "" } else { event.actor.as_str() };
    let mut text = format!("{}  {:<20}  {who}", relative_time::iso(event.occurred_at), event.event);
    let rest = [
        by,
        event.ip_address.as_deref().unwrap_or_default(),
        device.as_deref().unwrap_or_default(),
        &details,
    ];
    for part in rest.into_iter().filter(|part| !part.is_empty()) {
        text += "  ";
        text += part;
    }
    text
}
