//! `event`: lists and retries the events that hooks of a site get after the commit.

use serde_json::json;
use time::OffsetDateTime;

use super::arguments::Event as Action;
use super::exit::ExitStatus;
use super::out;
use crate::db::Database;
use crate::events;
use crate::web::relative_time;

pub(super) async fn run(database: &Database, action: Action) -> anyhow::Result<ExitStatus> {
    match action {
        Action::List { state, limit, json } => list(database, state.as_deref(), limit, json).await,
        Action::Retry { id, .. } => {
            let count = events::retry(&database.pool, id).await?;
            if let (Some(id), 0) = (id, count) {
                out::problem(&format!("No event with this ID has failed: {id}"));
            } else {
                out::line(&format!("Queued {count} event(s) for another attempt."));
            }
            Ok(if count == 0 { ExitStatus::NothingFound } else { ExitStatus::Done })
        }
    }
}

async fn list(
    database: &Database,
    state: Option<&str>,
    limit: i64,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let headings = ["ID", "EVENT", "HOOK", "USER", "STATE", "ATTEMPTS", "HAPPENED", "REASON"];
    let mut list = out::List::new(json, headings);
    let now = OffsetDateTime::now_utc();
    let mut last = None;
    for size in out::pages(limit) {
        let deliveries = events::list(&database.pool, state, last, size).await?;
        for delivery in &deliveries {
            let row = || {
                [
                    delivery.id.to_string(),
                    delivery.event.clone(),
                    delivery.hook.clone(),
                    delivery.user_id.to_string(),
                    delivery.state.clone(),
                    delivery.attempts.to_string(),
                    relative_time::relative(delivery.created_at, now),
                    delivery.last_error.clone().unwrap_or_default(),
                ]
            };
            let data = || {
                json!({
                    "id": delivery.id,
                    "event": delivery.event,
                    "hook": delivery.hook,
                    "user": delivery.user_id,
                    "state": delivery.state,
                    "attempts": delivery.attempts,
                    "created_at": relative_time::iso(delivery.created_at),
                    "next_attempt_at": relative_time::iso(delivery.next_attempt_at),
                    "finished_at": delivery.finished_at.map(relative_time::iso),
                    "last_error": delivery.last_error,
                })
            };
            list.add(row, data);
        }
        last = deliveries.last().map(|delivery| delivery.id).or(last);
        if (deliveries.len() as i64) < size {
            break;
        }
    }
    list.end();
    Ok(ExitStatus::Done)
}
