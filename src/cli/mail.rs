//! `frontdesk mail`: lists and retries mail, and lists and changes suppressed recipients. Never shows the
//! content of a mail, which may contain secret links.

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::arguments::Mail as Action;
use super::exit::ExitStatus;
use super::out;
use crate::db::Database;
use crate::mail::address::EmailAddress;
use crate::mail::outbox::{self, OutboxEntry, RetriedMail, RetryOutcome};
use crate::mail::suppression::{self, SuppressedRecipient};
use crate::program;
use crate::web::relative_time;

/// Why a mail is not retried.
const OUT_OF_DATE: &str = "the link has expired, or the notice is out of date";

pub(super) async fn run(database: &Database, action: Action) -> anyhow::Result<ExitStatus> {
    match action {
        Action::List { suppressed: true, limit, json, .. } => {
            list_suppressed(database, limit, json).await
        }
        Action::List { state, limit, json, .. } => {
            list(database, state.as_deref(), limit, json).await
        }
        Action::Retry { id: Some(id), .. } => retry(database, id).await,
        Action::Retry { failed, kept, .. } => {
            let mut total = 0;
            for (state, _) in
                [("failed", failed), ("kept", kept)].iter().filter(|(_, is_meant)| *is_meant)
            {
                let RetriedMail { queued, expired } =
                    outbox::retry_all(&database.pool, state).await?;
                out::line(&format!("Queued {queued} {state} mail(s) for another attempt."));
                if expired > 0 {
                    out::line(&format!("Skipped {expired} {state} mail(s): {OUT_OF_DATE}."));
                }
                total += queued;
            }
            Ok(if total == 0 { ExitStatus::NothingFound } else { ExitStatus::Done })
        }
        Action::Suppress { email } => suppress(database, &email).await,
        Action::Unsuppress { email } => unsuppress(database, &email).await,
    }
}

async fn suppress(database: &Database, email: &EmailAddress) -> anyhow::Result<ExitStatus> {
    let is_new = suppression::suppress(&database.pool, email).await?;
    let (email, already) = (email.as_typed(), if is_new { "" } else { " already" });
    out::line(&format!(
        "{email} is{already} suppressed: no mail is sent there until `{} mail unsuppress {email}`.",
        program::name()
    ));
    Ok(if is_new { ExitStatus::Done } else { ExitStatus::NothingFound })
}

async fn unsuppress(database: &Database, email: &EmailAddress) -> anyhow::Result<ExitStatus> {
    if suppression::unsuppress(&database.pool, email).await? {
        out::line(&format!(
            "{} gets mail again. Mail that failed meanwhile is sent by `{} mail retry`.",
            email.as_typed(),
            program::name()
        ));
        return Ok(ExitStatus::Done);
    }
    out::problem(&format!("{} is not suppressed.", email.as_typed()));
    Ok(ExitStatus::NothingFound)
}

async fn list_suppressed(
    database: &Database,
    limit: i64,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let mut list = out::List::new(json, ["EMAIL", "REASON", "BOUNCES", "SINCE", "UNTIL"]);
    let now = OffsetDateTime::now_utc();
    let mut last: Option<SuppressedRecipient> = None;
    for size in out::pages(limit) {
        let after = last.as_ref().map(|one| one.email.as_str());
        let recipients = suppression::list(&database.pool, after, size).await?;
        for one in &recipients {
            let row = || {
                [
                    one.email.clone(),
                    one.reason.clone(),
                    one.bounces.to_string(),
                    relative_time::relative(one.created_at, now),
                    one.until.map_or_else(String::new, |until| relative_time::relative(until, now)),
                ]
            };
            let data = || {
                json!({
                    "email": one.email,
                    "reason": one.reason,
                    "bounces": one.bounces,
                    "created_at": relative_time::iso(one.created_at),
                    "suppressed_until": one.until.map(relative_time::iso),
                })
            };
            list.add(row, data);
        }
        if (recipients.len() as i64) < size {
            break;
        }
        last = recipients.into_iter().next_back();
    }
    list.end();
    Ok(ExitStatus::Done)
}

async fn list(
    database: &Database,
    state: Option<&str>,
    limit: i64,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let headings = ["ID", "KIND", "TO", "STATE", "ATTEMPTS", "CREATED", "NOTE"];
    let mut list = out::List::new(json, headings);
    let now = OffsetDateTime::now_utc();
    let mut last = None;
    for size in out::pages(limit) {
        let entries = outbox::list(&database.pool, state, last.as_ref(), size).await?;
        for entry in &entries {
            list.add(|| row(entry, now), || data(entry));
        }
        if (entries.len() as i64) < size {
            break;
        }
        last = entries.into_iter().next_back();
    }
    list.end();
    Ok(ExitStatus::Done)
}

fn data(entry: &OutboxEntry) -> Value {
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
}

fn row(entry: &OutboxEntry, now: OffsetDateTime) -> [String; 7] {
    [
        entry.id.to_string(),
        entry.kind.clone(),
        entry.recipient.clone(),
        entry.state.clone(),
        entry.attempts.to_string(),
        relative_time::relative(entry.created_at, now),
        note(entry, now),
    ]
}

fn note(entry: &OutboxEntry, now: OffsetDateTime) -> String {
    let error = entry.last_error.as_deref().unwrap_or_default();
    match entry.state.as_str() {
        "waiting" if entry.attempts > 0 => {
            let next = relative_time::relative(entry.next_attempt_at, now);
            let error = if error.is_empty() { String::new() } else { format!("; {error}") };
            format!("next attempt {next}{error}")
        }
        _ => error.to_owned(),
    }
}

async fn retry(database: &Database, id: Uuid) -> anyhow::Result<ExitStatus> {
    let retried = outbox::retry(&database.pool, id).await?;
    Ok(match retried {
        RetryOutcome::Done => {
            out::line(&format!("Queued mail {id}. A running server will send it."));
            ExitStatus::Done
        }
        RetryOutcome::NotNeeded => {
            out::problem(&format!("Mail {id} has already been sent or is being sent."));
            ExitStatus::NothingFound
        }
        RetryOutcome::Expired => {
            out::problem(&format!("Mail {id} is not sent again: {OUT_OF_DATE}."));
            ExitStatus::NothingFound
        }
        RetryOutcome::NotFound => {
            out::problem(&format!("No such mail: {id}"));
            ExitStatus::NothingFound
        }
    })
}
