//! `frontdesk queue`: lists and retries work of background jobs that failed.

use serde_json::json;
use time::OffsetDateTime;

use super::arguments::Queue as Action;
use super::exit::ExitStatus;
use super::out;
use crate::db::Database;
use crate::user::queue;
use crate::web::relative_time;

pub(super) async fn run(database: &Database, action: Action) -> anyhow::Result<ExitStatus> {
    match action {
        Action::List { limit, json } => list(database, limit, json).await,
        Action::Retry { id, .. } => {
            let count = queue::retry(&database.pool, id).await?;
            if let (Some(id), 0) = (id, count) {
                out::problem(&format!("Nothing with this ID has failed: {id}"));
            } else {
                out::line(&format!("Queued {count} row(s) for another attempt."));
            }
            Ok(if count == 0 { ExitStatus::NothingFound } else { ExitStatus::Done })
        }
    }
}

async fn list(database: &Database, limit: i64, json: bool) -> anyhow::Result<ExitStatus> {
    let headings = ["ID", "QUEUE", "ATTEMPTS", "FIRST FAILED", "NEXT ATTEMPT", "REASON"];
    let mut list = out::List::new(json, headings);
    let now = OffsetDateTime::now_utc();
    for failed in queue::list_failed(&database.pool, limit).await? {
        let row = || {
            [
                failed.row_id.to_string(),
                failed.queue.clone(),
                failed.attempts.to_string(),
                relative_time::relative(failed.created_at, now),
                failed
                    .next_attempt_at
                    .map_or_else(|| "set aside".to_owned(), |at| relative_time::relative(at, now)),
                failed.last_error.clone(),
            ]
        };
        let data = || {
            json!({
                "id": failed.row_id,
                "queue": failed.queue,
                "attempts": failed.attempts,
                "failed_at": relative_time::iso(failed.created_at),
                "next_attempt_at": failed.next_attempt_at.map(relative_time::iso),
                "set_aside": failed.next_attempt_at.is_none(),
                "last_error": failed.last_error,
                "drop": failed.how_to_drop(),
            })
        };
        list.add(row, data);
    }
    list.end();
    Ok(ExitStatus::Done)
}
