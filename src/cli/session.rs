//! `frontdesk session`: lists, revokes, counts and purges sessions. Works with or without a running server.

use serde_json::{Value, json};

use super::arguments::Session as Action;
use super::exit::ExitStatus;
use super::operator::operator;
use super::values::AccountName;
use super::{account, out, prompt};
use crate::app::cookie_keys;
use crate::config::Config;
use crate::crypto::secret::Secret;
use crate::db::{self, Database};
use crate::session::list::{self, LiveSession};
use crate::session::revoke::{self, Cause};
use crate::session::{await_invalidation, purge, stats, user_agent};
use crate::web::cookie_guard::SessionCookie;
use crate::web::relative_time;

pub(super) async fn run(
    config: &Config,
    database: &Database,
    action: Action,
) -> anyhow::Result<ExitStatus> {
    match action {
        Action::List { user, limit, json } => list(database, user, limit, json).await,
        Action::Revoke { id: Some(id), json, .. } => super::revoke::one(database, id, json).await,
        Action::Revoke { all: true, created_before, yes, json, .. } => {
            super::revoke::all(database, created_before, yes, json).await
        }
        Action::Revoke {
            user: Some(account), network: None, created_before: None, json, ..
        } => revoke_user(database, &account, json).await,
        Action::Revoke { user, network, created_before, yes, json, .. } => {
            super::revoke::matching(database, user, network, created_before, yes, json).await
        }
        Action::Whose { json } => whose(config, database, json).await,
        Action::Stats { json } => stats(database, json).await,
        Action::Purge { json } => purge(database, json).await,
    }
}

const HEADINGS: [&str; 6] = ["ID", "EMAIL", "DEVICE", "IP", "SIGNED IN", "LAST SEEN"];

async fn list(
    database: &Database,
    account: Option<AccountName>,
    limit: i64,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let user = match account {
        None => None,
        Some(account) => match account::find(database, &account).await? {
            None => return Ok(ExitStatus::NothingFound),
            found => found.map(|user| user.id),
        },
    };
    let mut list = out::List::new(json, HEADINGS);
    let mut last = None;
    for size in out::pages(limit) {
        let entries = list::live(&database.pool, user, last.as_ref(), size).await?;
        for entry in &entries {
            list.add(|| row(entry), || data(entry));
        }
        if (entries.len() as i64) < size {
            break;
        }
        last = entries.into_iter().next_back();
    }
    list.end();
    Ok(ExitStatus::Done)
}

fn data(entry: &LiveSession) -> Value {
    json!({
        "id": entry.id,
        "user_id": entry.user_id,
        "email": entry.email,
        "device": user_agent::describe(entry.user_agent.as_deref()).title,
        "ip_address": entry.ip_address,
        "last_seen_ip_address": entry.last_seen_ip_address,
        "user_agent": entry.user_agent,
        "remembered": entry.remembered,
        "created_at": relative_time::iso(entry.created_at),
        "last_seen_at": relative_time::iso(entry.last_seen_at),
        "expires_at": relative_time::iso(entry.expires_at),
    })
}

fn row(entry: &LiveSession) -> [String; 6] {
    [
        entry.id.to_string(),
        entry.email.clone().unwrap_or_else(|| "(not signed in)".to_owned()),
        user_agent::title(entry.user_agent.as_deref()),
        entry.ip_address.clone().unwrap_or_default(),
        relative_time::relative(entry.created_at, entry.now),
        relative_time::relative(entry.last_seen_at, entry.now),
    ]
}

/// Reads a cookie from standard input. Nothing that was read is printed, because it may be a credential.
async fn whose(config: &Config, database: &Database, json: bool) -> anyhow::Result<ExitStatus> {
    let typed = prompt::secret_line("Value of the session cookie: ")?;
    let secret = match &typed {
        None => None,
        Some(typed) => secret_of(config, typed)?,
    };
    let Some(secret) = secret else {
        out::problem(
            "This is not the value of a session cookie that was sealed with one of FRONTDESK_SECRET_KEYS.",
        );
        return Ok(ExitStatus::NothingFound);
    };
    let Some(session) = list::find(&database.pool, &secret.digest()).await? else {
        out::problem(
            "The cookie is genuine, but its session has ended, or the cookie was replaced by a newer one.",
        );
        return Ok(ExitStatus::NothingFound);
    };
    if json {
        out::json(&data(&session))?;
    } else {
        let mut table = out::Table::new(HEADINGS);
        table.row(row(&session));
        table.end();
    }
    Ok(ExitStatus::Done)
}

/// The secret in a cookie that was copied from a browser or a log: the value, `name=value`, or a `Cookie` or
/// `Set-Cookie` header, with or without quotes. None of the separators occurs in the value of a cookie.
fn secret_of(config: &Config, typed: &str) -> anyhow::Result<Option<Secret>> {
    let keys = cookie_keys(&config.secret_keys()?);
    // The name is part of what is sealed, and this command may run without the public URL of the server.
    let cookies = [true, false].map(|secure| SessionCookie::new(secure, keys.clone()));
    let is_separator =
        |letter: char| !letter.is_ascii_graphic() || matches!(letter, ';' | ',' | ':' | '"' | '\'');
    Ok(typed.split(is_separator).filter(|part| !part.is_empty()).find_map(|part| {
        cookies.iter().find_map(|cookie| {
            let named = part.split_once('=');
            let named = named.filter(|(name, _)| name.eq_ignore_ascii_case(cookie.name()));
            cookie.secret_of(named.map_or(part, |(_, value)| value))
        })
    }))
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
            format!("{}, {} of them with “keep me signed in”", stats.signed_in, stats.remembered),
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

/// Revokes all sessions of an account.
async fn revoke_user(
    database: &Database,
    account: &AccountName,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = account::find(database, account).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    let (id, origin) = (user.id, operator());
    let revoked = db::transaction::<_, sqlx::Error, _>(&database.pool, move |connection| {
        Box::pin(async move { revoke::all_of_user(connection, id, Cause::Revoked, &origin).await })
    })
    .await?;
    await_invalidation(&database.pool, None).await;
    super::revoke::report(
        json,
        revoked as u64,
        &format!("Revoked {revoked} session(s) of {}.", user.email),
    )
}
