//! `frontdesk audit`: lists the audit log, and follows it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::arguments::Audit;
use super::exit::ExitStatus;
use super::values::AccountName;
use super::{account, out};
use crate::audit::{self, Filter, StoredEvent};
use crate::db::Database;
use crate::session::user_agent;
use crate::web::relative_time;

/// How often `--follow` polls.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How far back each poll reads. An event has the start time of its transaction but becomes visible at the
/// commit, so events do not appear in the order of their ids or times.
const POLL_WINDOW: Duration = Duration::from_secs(30);
/// The maximum number of events in one poll.
const POLL_LIMIT: i64 = 10_000;

pub(super) async fn run(database: &Database, arguments: Audit) -> anyhow::Result<ExitStatus> {
    let user = match arguments.user {
        None => None,
        // Used without a lookup, because the audit events of a deleted account are kept.
        Some(AccountName::Id(id)) => Some(id),
        Some(account) => match account::find(database, &account).await? {
            Some(found) => Some(found.id),
            None => return Ok(ExitStatus::NothingFound),
        },
    };
    let seconds = arguments.since.map(|since| since.as_secs_f64());
    let filter = Filter { user, event: arguments.event, seconds };
    if arguments.follow {
        let limit = arguments.limit.min(POLL_LIMIT);
        let events = audit::list(&database.pool, &filter, None, limit).await?;
        return follow(database, filter, events, arguments.json).await;
    }
    let mut last = None;
    for size in out::pages(arguments.limit) {
        let events = audit::list(&database.pool, &filter, last, size).await?;
        for event in &events {
            if !out::try_line(&line(event, arguments.json)) {
                return Ok(ExitStatus::Done);
            }
        }
        last = events.last().map(|event| (event.occurred_at, event.id)).or(last);
        if (events.len() as i64) < size {
            break;
        }
    }
    Ok(if last.is_none() { ExitStatus::NothingFound } else { ExitStatus::Done })
}

/// Prints `events` and then each new one, oldest first, until the reader closes the pipe.
async fn follow(
    database: &Database,
    mut filter: Filter,
    mut events: Vec<StoredEvent>,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    filter.seconds = Some(POLL_WINDOW.as_secs_f64());
    let mut seen: HashMap<i64, Instant> = HashMap::new();
    loop {
        for event in events.iter().rev() {
            let is_new = seen.insert(event.id, Instant::now()).is_none();
            if is_new && !out::try_line(&line(event, json)) {
                return Ok(ExitStatus::Done);
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        seen.retain(|_, at| at.elapsed() < 2 * POLL_WINDOW);
        events = audit::list(&database.pool, &filter, None, POLL_LIMIT).await?;
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
    let account = event.email.as_deref().or(id.as_deref()).unwrap_or("-");
    let device = event.user_agent.as_deref().map(|agent| user_agent::title(Some(agent)));
    let empty = event.details.as_object().is_none_or(serde_json::Map::is_empty);
    let details = if empty { String::new() } else { event.details.to_string() };
    let actor = if event.actor == "user" { "" } else { event.actor.as_str() };
    let mut text =
        format!("{}  {:<20}  {account}", relative_time::iso(event.occurred_at), event.event);
    let rest = [
        actor,
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
