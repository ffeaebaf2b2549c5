//! Exports all data that is held about a user as readable JSON, for that user. Must not contain a credential
//! or anything it could be derived from: no hash, no digest, no sealed mail.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use crate::audit::{self, Event, EventKind};
use crate::db;
use crate::id::{SessionId, UserId};
use crate::session::{Lock, Requester, SessionEnded};

/// Shorter than the request deadline of a form (`web/outer.rs`).
const DEADLINE: Duration = Duration::from_secs(25);

/// Records the export and collects the requester's data in one snapshot, in which the session exists. The
/// locking check is a separate transaction, because a long export must not block the account.
#[tracing::instrument(level = "debug", skip_all, fields(user = %requester.user))]
pub async fn export(
    pool: &PgPool,
    requester: &Requester,
) -> sqlx::Result<Result<Value, SessionEnded>> {
    let by = requester.clone();
    let recorded =
        requester.transaction::<_, sqlx::Error, _>(pool, Lock::Session, move |connection| {
            Box::pin(async move {
                let event = Event {
                    kind: EventKind::DataExported,
                    user: Some(by.user),
                    session: Some(by.session),
                    origin: &by.origin,
                    details: json!({}),
                };
                audit::record(connection, event).await
            })
        });
    if let Err(ended) = recorded.await? {
        return Ok(Err(ended));
    }
    gather(pool, requester.clone()).await
}

async fn gather(pool: &PgPool, requester: Requester) -> sqlx::Result<Result<Value, SessionEnded>> {
    db::transaction_within(pool, DEADLINE, move |connection| {
        Box::pin(async move {
            sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                .execute(&mut *connection)
                .await?;
            sqlx::query!("SET LOCAL TimeZone = 'UTC'").execute(&mut *connection).await?;
            // Reading a long audit log takes longer than the statement timeout of pages.
            sqlx::query!("SET LOCAL statement_timeout = '20s'").execute(&mut *connection).await?;
            // The first query takes the snapshot: if the session is live in it, all data is from before the
            // session's end.
            if !requester.is_live(&mut *connection).await? {
                return Ok(Err(SessionEnded));
            }
            let (user, current) = (requester.user, requester.session);
            let Some(found) = account(connection, user).await? else {
                return Ok(Err(SessionEnded));
            };
            let email = found.account["email"].as_str().unwrap_or_default();
            Ok(Ok(json!({
                "about": "Everything this site holds about you. Times are UTC. Credentials (the hashes of your password, \
                          of your sessions and of mailed links) are left out.",
                "exported_at": iso(found.now),
                "account": found.account,
                "sessions": sessions(connection, user, current).await?,
                "events": events(connection, user).await?,
                "mails": mails(connection, user, email).await?,
                "mailed_links": links(connection, user).await?,
                "waiting": waiting(connection, &found.email_canonical).await?,
            })))
        })
    })
    .await
}

struct Account {
    email_canonical: String,
    now: OffsetDateTime,
    account: Value,
}

async fn account(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Option<Account>> {
    sqlx::query_as!(
        Account,
        r#"
        SELECT email_canonical,
               now() AS "now!",
               jsonb_build_object(
                   'id', id,
                   'email', email,
                   'email_verified_at', email_verified_at,
                   'display_name', display_name,
                   'role', role,
                   'created_at', created_at,
                   'has_password', password_hash IS NOT NULL,
                   'password_changed_at', password_changed_at,
                   'disabled_at', disabled_at,
                   'deletion_due_at', deletion_due_at) AS "account!"
          FROM users
         WHERE id = $1
        "#,
        user as UserId,
    )
    .fetch_optional(connection)
    .await
}

async fn sessions(
    connection: &mut PgConnection,
    user: UserId,
    current: SessionId,
) -> sqlx::Result<Vec<Value>> {
    sqlx::query_scalar!(
        r#"
        SELECT jsonb_build_object(
                   'id', id,
                   'is_this_one', id = $2,
                   'signed_in_at', created_at,
                   'proved_at', authenticated_at,
                   'methods', auth_methods,
                   'last_seen_at', last_seen_at,
                   'expires_at', expires_at,
                   'ends_at_last', absolute_expires_at,
                   'remembered', remembered,
                   'ip_address', host(ip_address),
                   'browser', user_agent,
                   'state', state) AS "session!"
          FROM sessions
         WHERE user_id = $1
         ORDER BY created_at
        "#,
        user as UserId,
        current as SessionId,
    )
    .fetch_all(connection)
    .await
}

async fn events(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<Value>> {
    sqlx::query_scalar!(
        r#"
        SELECT jsonb_build_object(
                   'at', occurred_at,
                   'event', event,
                   'by', actor,
                   'session', session_id,
                   'ip_address', host(ip_address),
                   'browser', user_agent,
                   'request', request_id,
                   'details', details) AS "event!"
          FROM audit_events
         WHERE user_id = $1
         ORDER BY occurred_at, id
        "#,
        user as UserId,
    )
    .fetch_all(connection)
    .await
}

async fn mails(
    connection: &mut PgConnection,
    user: UserId,
    email: &str,
) -> sqlx::Result<Vec<Value>> {
    sqlx::query_scalar!(
        r#"
        SELECT jsonb_build_object(
                   'kind', kind,
                   'to', recipient,
                   'state', state,
                   'written_at', created_at,
                   'finished_at', finished_at) AS "mail!"
          FROM mail_outbox
         WHERE user_id = $1
            OR lower(recipient) = lower($2)
         ORDER BY created_at, id
        "#,
        user as UserId,
        email,
    )
    .fetch_all(connection)
    .await
}

async fn links(connection: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<Value>> {
    sqlx::query_scalar!(
        r#"
        SELECT jsonb_build_object(
                   'purpose', purpose,
                   'email', email,
                   'mailed_at', created_at,
                   'expires_at', expires_at) AS "link!"
          FROM email_tokens
         WHERE user_id = $1
         ORDER BY created_at
        "#,
        user as UserId,
    )
    .fetch_all(connection)
    .await
}

/// Pending registrations and password-reset requests for the email. Another person may have created them, so
/// only their kind and time are included.
async fn waiting(connection: &mut PgConnection, email_canonical: &str) -> sqlx::Result<Vec<Value>> {
    sqlx::query_scalar!(
        r#"
        SELECT jsonb_build_object('kind', kind, 'at', at) AS "waiting!"
          FROM (SELECT 'registration with this address' AS kind, created_at AS at
                  FROM registrations
                 WHERE email_canonical = $1
                 UNION ALL
                SELECT 'request for a new password', created_at
                  FROM recovery_requests
                 WHERE email_canonical = $1) AS both_kinds
         ORDER BY at
        "#,
        email_canonical,
    )
    .fetch_all(connection)
    .await
}

fn iso(at: OffsetDateTime) -> String {
    at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}
