//! `frontdesk session`: lists, revokes, counts and purges sessions. Works with or without a running server.

use serde_json::json;

use super::arguments::{AccountArgument, Session as Action};
use super::exit::ExitStatus;
use super::{out, prompt, user};
use crate::audit::Origin;
use crate::db::{self, Database};
use crate::id::SessionId;
use crate::session::revoke::{self, Cause};
use crate::session::{await_invalidation, list, purge, stats, user_agent};
use crate::web::relative_time;

pub(super) async fn run(database: &Database, action: Action) -> anyhow::Result<ExitStatus> {
    match action {
        Action::List { user, limit, json } => list(database, user, limit, json).await,
        Action::Revoke { id: Some(id), .. } => revoke_one(database, &id).await,
        Action::Revoke { user: Some(account), .. } => revoke_user(database, account).await,
        Action::Revoke { yes, .. } => revoke_all(database, yes).await,
        Action::Stats { json } => stats(database, json).await,
        Action::Purge { json } => purge(database, json).await,
    }
}

async fn list(
    database: &Database,
    account: Option<String>,
    limit: i64,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let user = match account {
        None => None,
        Some(account) => match user::find(database, &AccountArgument { account }).await? {
            None => return Ok(ExitStatus::NothingFound),
            found => found.map(|user| user.id),
        },
    };
    let entries = list::live(&database.pool, user, limit).await?;
    if json {
        let data = entries.iter().map(|entry| {
            json!({
                "id": entry.id,
                "user_id": entry.user_id,
                "email": entry.email,
                "device": user_agent::describe(entry.user_agent.as_deref()).title,
                "ip_address": entry.ip_address,
                "user_agent": entry.user_agent,
                "remembered": entry.remembered,
                "created_at": relative_time::iso(entry.created_at),
                "last_seen_at": relative_time::iso(entry.last_seen_at),
                "expires_at": relative_time::iso(entry.expires_at),
            })
        });
        out::json(&data.collect::<Vec<_>>())?;
        return Ok(ExitStatus::Done);
    }
    let rows: Vec<[String; 6]> = entries
        .iter()
        .map(|entry| {
            [
                entry.id.to_string(),
                entry.email.clone().unwrap_or_else(|| "(not signed in)".to_owned()),
                user_agent::describe(entry.user_agent.as_deref()).title,
                entry.ip_address.clone().unwrap_or_default(),
                relative_time::relative(entry.created_at, entry.now),
                relative_time::relative(entry.last_seen_at, entry.now),
            ]
        })
        .collect();
    out::table(["ID", "EMAIL", "DEVICE", "IP", "SIGNED IN", "LAST SEEN"], &rows);
    Ok(ExitStatus::Done)
}

async fn revoke_one(database: &Database, id: &str) -> anyhow::Result<ExitStatus> {
    let was_revoked = match id.parse::<SessionId>() {
        Ok(session) => {
            db::transaction::<_, sqlx::Error, _>(&database.pool, move |connection| {
                Box::pin(async move {
                    revoke::any_session(connection, session, &Origin::operator()).await
                })
            })
            .await?
        }
        Err(_) => false,
    };
    if was_revoked {
        await_invalidation(&database.pool, None).await;
        out::line(&format!("Revoked session {id}."));
        Ok(ExitStatus::Done)
    } else {
        out::problem(&format!("No such session: {id}"));
        Ok(ExitStatus::NothingFound)
    }
}

async fn revoke_user(database: &Database, account: String) -> anyhow::Result<ExitStatus> {
    let Some(user) = user::find(database, &AccountArgument { account }).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    let id = user.id;
    let revoked = db::transaction::<_, sqlx::Error, _>(&database.pool, move |connection| {
        Box::pin(async move {
            revoke::all_of_user(connection, id, Cause::Revoked, &Origin::operator()).await
        })
    })
    .await?;
    await_invalidation(&database.pool, None).await;
    out::line(&format!("Revoked {revoked} session(s) of {}.", user.email));
    Ok(if revoked == 0 { ExitStatus::NothingFound } else { ExitStatus::Done })
}

async fn revoke_all(database: &Database, yes: bool) -> anyhow::Result<ExitStatus> {
    if !yes && !prompt::confirm("This signs out every user on every device.") {
        out::problem("Aborted. Use --yes to skip the confirmation.");
        return Ok(ExitStatus::InvalidUsage);
    }
    let revoked = db::long_transaction::<_, sqlx::Error, _>(&database.pool, |connection| {
        Box::pin(async move { revoke::all_sessions(connection, &Origin::operator()).await })
    })
    .await?;
    await_invalidation(&database.pool, None).await;
    out::line(&format!("Revoked {revoked} session(s)."));
    Ok(if revoked == 0 { ExitStatus::NothingFound } else { ExitStatus::Done })
}

async fn stats(database: &Database, json: bool) -> anyhow::Result<ExitStatus> {
    let stats = stats::collect(&database.pool).await?;
    if json {
        out::json(&stats)?;
        return Ok(ExitStatus::Done);
    }
    let mebibytes = |bytes: i64| format!("{:.1} MiB", bytes as f64 / 1_048_576.0);
    let hot = stats.hot_share.map_or_else(
        || "none yet".to_owned(),
        |share| format!("{:.1} % were HOT (no index changed)", share * 100.0),
    );
    for (label, value) in [
        (
            "Signed in",
            format!("{}, {} of them with “remember me”", stats.signed_in, stats.remembered),
        ),
        ("Anonymous", stats.anonymous.to_string()),
        ("Expired", format!("{}, the oldest {:.0} s ago", stats.expired, stats.purge_lag_seconds)),
        (
            "Size",
            format!(
                "table {}, indexes {}, {} dead rows",
                mebibytes(stats.table_bytes),
                mebibytes(stats.index_bytes),
                stats.dead_rows
            ),
        ),
        ("Updates", hot),
    ] {
        out::line(&format!("{label:<10}{value}"));
    }
    out::histogram("Last seen", &rows(&stats.last_seen));
    out::histogram("Signed in since", &rows(&stats.age));
    out::histogram("Device", &rows(&stats.devices));
    Ok(ExitStatus::Done)
}

fn rows(buckets: &[stats::Bucket]) -> Vec<(&str, i64)> {
    buckets.iter().map(|bucket| (bucket.label.as_str(), bucket.count)).collect()
}

async fn purge(database: &Database, json: bool) -> anyhow::Result<ExitStatus> {
    let expired = purge::count_expired(&database.pool).await?;
    let progress = out::Progress::new(expired.unsigned_abs());
    let purged =
        purge::run_once(&database.pool, purge::Pace::Full, |rows| progress.show(rows)).await?;
    progress.end();
    if json {
        out::json(&json!({
            "deleted": purged.rows,
            "seconds": purged.took.as_secs_f64(),
            "another_purger_at_work": purged.is_running_elsewhere,
        }))?;
    } else if purged.is_running_elsewhere {
        out::line("Another purge is already running.");
    } else {
        let seconds = purged.took.as_secs_f64();
        out::line(&format!("Deleted {} expired session(s) in {seconds:.1} s.", purged.rows));
    }
    Ok(ExitStatus::Done)
}
