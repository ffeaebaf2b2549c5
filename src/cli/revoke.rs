//! `frontdesk session revoke`: one session, those that match, or all.

use ipnet::IpNet;
use serde_json::json;
use time::OffsetDateTime;

use super::exit::ExitStatus;
use super::operator::operator;
use super::values::{AccountName, PointInTime};
use super::{account, out, prompt};
use crate::db::{self, Database};
use crate::id::SessionId;
use crate::session::await_invalidation;
use crate::session::revoke::{self, SessionFilter};
use crate::user::revoke_all::{self, Revoked};

pub(super) async fn one(
    database: &Database,
    session: SessionId,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let origin = operator();
    let was_revoked = db::transaction::<_, sqlx::Error, _>(&database.pool, move |connection| {
        Box::pin(async move { revoke::any_session(connection, session, &origin).await })
    })
    .await?;
    if !was_revoked {
        out::problem(&format!("No such session: {session}"));
        return Ok(ExitStatus::NothingFound);
    }
    await_invalidation(&database.pool, None).await;
    report(json, 1, &format!("Revoked session {session}."))
}

pub(super) async fn matching(
    database: &Database,
    account: Option<AccountName>,
    network: Option<IpNet>,
    created_before: Option<PointInTime>,
    yes: bool,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let user = match &account {
        None => None,
        Some(account) => match account::find(database, account).await? {
            None => return Ok(ExitStatus::NothingFound),
            found => found,
        },
    };
    if user.is_none() && !prompt::is_confirmed(yes, "This signs out users of the whole site.") {
        return Ok(ExitStatus::InvalidUsage);
    }
    let created_before = at(database, created_before).await?;
    let which = SessionFilter { user: user.as_ref().map(|user| user.id), network, created_before };
    let origin = operator();
    let revoked = db::long_transaction::<_, sqlx::Error, _>(&database.pool, move |connection| {
        Box::pin(async move { revoke::by_filter(connection, which, &origin).await })
    })
    .await?;
    await_invalidation(&database.pool, None).await;
    let of = user.map(|user| format!(" of {}", user.email)).unwrap_or_default();
    report(json, revoked as u64, &format!("Revoked {revoked} session(s){of}."))
}

pub(super) async fn all(
    database: &Database,
    created_before: Option<PointInTime>,
    yes: bool,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let created_before = at(database, created_before).await?;
    let question = match created_before {
        None => "This signs out every user on every device.",
        Some(_) => "This signs out users of the whole site and revokes mailed links.",
    };
    if !prompt::is_confirmed(yes, question) {
        return Ok(ExitStatus::InvalidUsage);
    }
    let origin = operator();
    if let Some(time) = created_before {
        let revoked = revoke_all::created_before(&database.pool, time, origin).await?;
        await_invalidation(&database.pool, None).await;
        return report_all(json, revoked);
    }
    let revoked = db::long_transaction::<_, sqlx::Error, _>(&database.pool, |connection| {
        Box::pin(async move { revoke::all_sessions(connection, None, &origin).await })
    })
    .await?;
    await_invalidation(&database.pool, None).await;
    report(json, revoked, &format!("Revoked {revoked} session(s)."))
}

async fn at(
    database: &Database,
    time: Option<PointInTime>,
) -> anyhow::Result<Option<OffsetDateTime>> {
    Ok(match time {
        None => None,
        Some(time) => Some(time.resolve(database).await?),
    })
}

/// Prints the number of revoked sessions, as JSON or with `text`.
pub(super) fn report(json: bool, sessions: u64, text: &str) -> anyhow::Result<ExitStatus> {
    if json {
        out::json(&json!({ "sessions": sessions }))?;
    } else {
        out::line(text);
    }
    Ok(if sessions == 0 { ExitStatus::NothingFound } else { ExitStatus::Done })
}

fn report_all(json: bool, revoked: Revoked) -> anyhow::Result<ExitStatus> {
    let Revoked { sessions, links, registrations, recovery_requests } = revoked;
    if json {
        out::json(&json!({
            "sessions": sessions,
            "links": links,
            "registrations": registrations,
            "recovery_requests": recovery_requests,
        }))?;
    } else {
        out::line(&format!(
            "Revoked {sessions} session(s), {links} mailed link(s), {registrations} pending registration(s), and {recovery_requests} password-reset request(s)."
        ));
    }
    let nothing = sessions + links + registrations + recovery_requests == 0;
    Ok(if nothing { ExitStatus::NothingFound } else { ExitStatus::Done })
}
