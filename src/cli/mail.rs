//! `frontdesk mail`: what became of mail, and another try. Never shows what a mail says: links in it open things.

use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::arguments::Mail as Action;
use super::exit::ExitStatus;
use super::out;
use crate::db::Database;
use crate::mail::outbox::{self, OutboxEntry, RetryOutcome};
use crate::web::relative_time;

pub(super) async fn run(database: &Database, action: Action) -> anyhow::Result<ExitStatus> {
    match action {
        Action::List { state, limit, json } => list(database, state.as_deref(), limit, json).await,
        Action::Retry { id: Some(id), .. } => retry(database, &id).await,
        Action::Retry { .. } => {
            let count = outbox::retry_failed(&database.pool).await?;
            out::line(&format!("Queued {count} failed mail(s) for another attempt."));
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
    let entries = outbox::list(&database.pool, state, limit).await?;
    if json {
        let data = entries.iter().map(|entry| {
            json!({
                "id": entry.id,
                "kind": entry.kind,
                "recipient": entry.recipient,
                "state": entry.state,
                "attempts": entry.attempts,
                "created_at": relative_time::iso(entry.created_at),
                "next_attempt_at": (entry.state == "waiting").then(|| relative_time::iso(entry.next_attempt_at)),
                "finished_at": entry.finished_at.map(relative_time::iso),
                "last_error": entry.last_error,
            })
        });
        out::json(&data.collect::<Vec<_>>())?;
        return Ok(ExitStatus::Done);
    }
    let now = OffsetDateTime::now_utc();
    let rows: Vec<[String; 7]> = entries
        .iter()
        .map(|entry| {
            [
                entry.id.to_string(),
                entry.kind.clone(),
                entry.recipient.clone(),
                entry.state.clone(),
                entry.attempts.to_string(),
                relative_time::relative(entry.created_at, now),
                what_next(entry, now),
            ]
        })
        .collect();
    out::table(["ID", "KIND", "TO", "STATE", "ATTEMPTS", "CREATED", "NOTE"], &rows);
    Ok(ExitStatus::Done)
}

fn what_next(entry: &OutboxEntry, now: OffsetDateTime) -> String {
    let error = entry.last_error.as_deref().unwrap_or_default();
    match entry.state.as_str() {
        "waiting" if entry.attempts > 0 => {
            let next = relative_time::relative(entry.next_attempt_at, now);
            let said = if error.is_empty() { String::new() } else { format!("; {error}") };
            format!("next attempt {next}{said}")
        }
        _ => error.to_owned(),
    }
}

async fn retry(database: &Database, id: &str) -> anyhow::Result<ExitStatus> {
    let retried = match id.parse::<Uuid>() {
        Ok(id) => outbox::retry(&database.pool, id).await?,
        Err(_) => RetryOutcome::NotFound,
    };
    Ok(match retried {
        RetryOutcome::Done => {
            out::line(&format!("Queued mail {id}. A running server will send it."));
            ExitStatus::Done
        }
        RetryOutcome::NotNeeded => {
            out::problem(&format!("Mail {id} has already been sent or is being sent."));
            ExitStatus::NothingFound
        }
        RetryOutcome::NotFound => {
            out::problem(&format!("No such mail: {id}"));
            ExitStatus::NothingFound
        }
    })
}
