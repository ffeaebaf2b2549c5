//! Everything that is held about one person, as one JSON to read: for the person, never with anything that opens
//! something (no hash, no digest, no sealed mail).

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::audit::{self, Event, EventKind};
use crate::db;
use crate::id::{SessionId, UserId};
use crate::session::{Lock, Requester, SessionEnded};

/// A little less than the longest page.
const DEADLINE: Duration = Duration::from_secs(25);

/// Records the export and gathers the data of the user who requests it, as of one moment at which the session existed. The
/// check with its locks is a transaction of its own: a long export must not block the account.
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
            // A long trail takes longer than a page may.
            sqlx::query!("SET LOCAL statement_timeout = '20s'").execute(&mut *connection).await?;
            // The first query takes the snapshot, so all data is from before the end of the session.
            if !requester.is_live(&mut *connection).await? {
                return Ok(Err(SessionEnded));
            }
            let (user, current) = (requester.user, requester.session);
            let found = sqlx::query!(
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
            .fetch_optional(&mut *connection)
            .await?;
            let Some(found) = found else { return Ok(Err(SessionEnded)) };
            let sessions: Vec<Value> = sqlx::query_scalar!(
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
            .fetch_all(&mut *connection)
            .await?;
            let events: Vec<Value> = sqlx::query_scalar!(
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
            .fetch_all(&mut *connection)
            .await?;
            let mails: Vec<Value> = sqlx::query_scalar!(
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
                found.account["email"].as_str().unwrap_or_default(),
            )
            .fetch_all(&mut *connection)
            .await?;
            let links: Vec<Value> = sqlx::query_scalar!(
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
            .fetch_all(&mut *connection)
            .await?;
            // Whoever asked may have been somebody else: only that it was asked, and when.
            let waiting: Vec<Value> = sqlx::query_scalar!(
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
                found.email_canonical,
            )
            .fetch_all(&mut *connection)
            .await?;
            Ok(Ok(json!({
                "about": "Everything this site holds about you. Times are UTC. What would open something (the digest \
                          of your password, of your sessions and of links) is left out.",
                "exported_at": iso(found.now),
                "account": found.account,
                "sessions": sessions,
                "events": events,
                "mails": mails,
                "mailed_links": links,
                "waiting": waiting,
            })))
        })
    })
    .await
}

fn iso(at: time::OffsetDateTime) -> String {
    at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}
