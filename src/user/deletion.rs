//! The end of an account: asked for, seven days in which signing in leads to the way back, then gone. Each step is one
//! transaction, so that a crash leaves all of it or nothing.

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::session_rules::{self, AccountEvent};
use crate::audit::{self, Event, EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::db;
use crate::id::{SessionId, UserId};
use crate::mail::{Message, outbox};
use crate::session::{Lock, Requester, SessionEnded, notice};

/// Between asking and the end. As long as the undo link of a changed address lives, so that somebody whose account was
/// taken over can still save it.
pub const GRACE_DAYS: i32 = 7;

/// Sets the date from which the account may be deleted and answers it, ends all sessions and tells the owner by mail. Asked
/// twice, the first date stands, and the sessions that began since end. The date is taken once the row is locked, so that
/// it tells whether a change of email came before or after (`cancel_since`).
pub async fn request(
    pool: &PgPool,
    sealer: &Sealer,
    requester: &Requester,
) -> sqlx::Result<Result<OffsetDateTime, SessionEnded>> {
    let (sealer, Requester { user, session, origin, .. }) = (sealer.clone(), requester.clone());
    let request = requester.transaction(pool, Lock::UserAndSession, move |connection| {
        Box::pin(async move {
            let scheduled = sqlx::query!(
                r#"
                UPDATE users
                   SET deletion_due_at = clock_timestamp() + make_interval(days => $2)
                 WHERE id = $1
                   AND deletion_due_at IS NULL
                RETURNING email, display_name, deletion_due_at AS "due_at!"
                "#,
                user as UserId,
                GRACE_DAYS,
            )
            .fetch_optional(&mut *connection)
            .await?;
            let due_at = match &scheduled {
                Some(scheduled) => scheduled.due_at,
                None => {
                    let due_at = sqlx::query_scalar!(
                        r#"SELECT deletion_due_at AS "due_at!" FROM users WHERE id = $1"#,
                        user as UserId,
                    );
                    due_at.fetch_one(&mut *connection).await?
                }
            };
            let (occasion, current) = (AccountEvent::DeletionRequested, Some(session));
            let applied = session_rules::apply(connection, occasion, user, current, &origin).await?;
            let Some(scheduled) = scheduled else { return Ok(due_at) };
            let message = Message::DeletionScheduled {
                display_name: scheduled.display_name,
                due_at,
                source: notice::source(&origin, OffsetDateTime::now_utc()),
            };
            outbox::enqueue(connection, &sealer, Some(user), &scheduled.email, &message).await?;
            audit::record(
                connection,
                Event {
                    kind: EventKind::DeletionRequested,
                    user: Some(user),
                    session: current,
                    origin: &origin,
                    details: json!({ "days": GRACE_DAYS, "ended_sessions": applied.ended_sessions }),
                },
            )
            .await?;
            Ok(due_at)
        })
    });
    request.await
}

/// The account stays after all; `false` when nobody had asked for its end.
pub async fn cancel(
    pool: &PgPool,
    sealer: &Sealer,
    requester: &Requester,
) -> sqlx::Result<Result<bool, SessionEnded>> {
    let (sealer, Requester { user, session, origin, .. }) = (sealer.clone(), requester.clone());
    let cancel = requester.transaction(pool, Lock::UserAndSession, move |connection| {
        Box::pin(async move {
            let kept = keep(connection, user, Some(session), None, &origin).await?;
            let Some(Kept { email, display_name }) = kept else { return Ok(false) };
            let source = notice::source(&origin, OffsetDateTime::now_utc());
            let message = Message::DeletionCanceled { display_name, source };
            outbox::enqueue(connection, &sealer, Some(user), &email, &message).await?;
            Ok(true)
        })
    });
    cancel.await
}

/// Cancels a deletion that was requested at `moment` or later, in the caller's transaction; `false` if none was. The caller
/// tells the owner.
pub(super) async fn cancel_since(
    connection: &mut PgConnection,
    user: UserId,
    moment: OffsetDateTime,
    origin: &Origin,
) -> sqlx::Result<bool> {
    Ok(keep(connection, user, None, Some(moment), origin).await?.is_some())
}

/// An account whose deletion was canceled.
struct Kept {
    email: String,
    display_name: String,
}

async fn keep(
    connection: &mut PgConnection,
    user: UserId,
    session: Option<SessionId>,
    since: Option<OffsetDateTime>,
    origin: &Origin,
) -> sqlx::Result<Option<Kept>> {
    let kept = sqlx::query_as!(
        Kept,
        r#"
        UPDATE users
           SET deletion_due_at = NULL
         WHERE id = $1
           AND deletion_due_at IS NOT NULL
           AND ($2::timestamptz IS NULL OR deletion_due_at >= $2 + make_interval(days => $3))
        RETURNING email, display_name
        "#,
        user as UserId,
        since,
        GRACE_DAYS,
    )
    .fetch_optional(&mut *connection)
    .await?;
    if kept.is_some() {
        let (kind, details) = (EventKind::DeletionCanceled, json!({}));
        let event = Event { kind, user: Some(user), session, origin, details };
        audit::record(connection, event).await?;
    }
    Ok(kept)
}

/// Deletes an account at once: for operators. `false` when there is none. The caller settles.
pub async fn delete_now(
    pool: &PgPool,
    sealer: &Sealer,
    user: UserId,
    origin: Origin,
) -> sqlx::Result<bool> {
    let sealer = sealer.clone();
    // A long trail takes longer than a page may.
    db::long_transaction(pool, move |connection| {
        Box::pin(async move {
            let found = sqlx::query_as!(
                ScheduledDeletion,
                "SELECT id, email, email_canonical, display_name FROM users WHERE id = $1 FOR UPDATE",
                user as UserId,
            )
            .fetch_optional(&mut *connection)
            .await?;
            match found {
                None => Ok(false),
                Some(leaving) => erase(connection, &sealer, leaving, &origin).await.map(|()| true),
            }
        })
    })
    .await
}

/// Deletes the account whose days of grace have been over for longest; answers whose it was, for the caller to
/// settle, or that there is none. One that somebody is keeping just now is passed over.
pub async fn delete_next_due(pool: &PgPool, sealer: &Sealer) -> sqlx::Result<Option<UserId>> {
    let sealer = sealer.clone();
    // A long trail takes longer than a page may.
    db::long_transaction(pool, move |connection| {
        Box::pin(async move {
            let found = sqlx::query_as!(
                ScheduledDeletion,
                r#"
                SELECT id AS "id: UserId", email, email_canonical, display_name
                  FROM users
                 WHERE deletion_due_at <= now()
                 ORDER BY deletion_due_at
                 LIMIT 1
                   FOR UPDATE SKIP LOCKED
                "#,
            )
            .fetch_optional(&mut *connection)
            .await?;
            let Some(leaving) = found else { return Ok(None) };
            let user = leaving.id;
            erase(connection, &sealer, leaving, &Origin::system()).await?;
            Ok(Some(user))
        })
    })
    .await
}

/// Somebody whose row is locked and about to go.
struct ScheduledDeletion {
    id: UserId,
    email: String,
    email_canonical: String,
    display_name: String,
}

/// Rows, mails, what waits for the address; the trail keeps what happened, without browser and address. The last mail
/// is the only thing that still names the address, until it is purged from the outbox.
async fn erase(
    connection: &mut PgConnection,
    sealer: &Sealer,
    leaving: ScheduledDeletion,
    origin: &Origin,
) -> sqlx::Result<()> {
    let user = leaving.id;
    session_rules::apply(connection, AccountEvent::Deleted, user, None, origin).await?;
    outbox::forget(connection, user, &leaving.email).await?;
    for statement in [
        sqlx::query!(
            "DELETE FROM registrations WHERE email_canonical = $1",
            leaving.email_canonical
        ),
        sqlx::query!(
            "DELETE FROM recovery_requests WHERE email_canonical = $1",
            leaving.email_canonical
        ),
        sqlx::query!("DELETE FROM users WHERE id = $1", leaving.id as UserId),
    ] {
        statement.execute(&mut *connection).await?;
    }
    audit::record(
        &mut *connection,
        Event {
            kind: EventKind::AccountDeleted,
            user: Some(user),
            session: None,
            origin,
            details: json!({}),
        },
    )
    .await?;
    audit::anonymize(connection, user).await?;
    let message = Message::AccountDeleted { display_name: leaving.display_name };
    outbox::enqueue(connection, sealer, None, &leaving.email, &message).await
}
