//! Account deletion: it is scheduled, can be canceled for seven days (a sign-in redirects to the page for
//! that), and is then executed (`erasure.rs`). Each step is one transaction.

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::session_rules::{self, AccountEvent};
use crate::audit::{self, Event, EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::id::{SessionId, UserId};
use crate::lifetimes;
use crate::mail::{Message, outbox};
use crate::session::{Lock, Requester, SessionEnded, notice};

/// Days between the request and the deletion.
pub const GRACE_DAYS: i32 = lifetimes::days(lifetimes::DELETION_GRACE);

/// Schedules the deletion of the account and returns its date, revokes all sessions and notifies the owner by
/// mail. If it is already scheduled, the date is kept, and sessions that were created since then are revoked.
/// The date is computed after the row is locked, so that `cancel_since` can compare it with the time of an
/// email change.
#[tracing::instrument(level = "debug", skip_all, fields(user = %requester.user))]
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
            let (event, current) = (AccountEvent::DeletionRequested, Some(session));
            let applied = session_rules::apply(connection, event, user, current, &origin).await?;
            let Some(scheduled) = scheduled else { return Ok(due_at) };
            let source = notice::source_now(connection, &origin).await?;
            let display_name = scheduled.display_name;
            let message = Message::DeletionScheduled { display_name, due_at, source };
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

/// Cancels the deletion and notifies the owner by mail. `false` if none was scheduled.
#[tracing::instrument(level = "debug", skip_all, fields(user = %requester.user))]
pub async fn cancel(
    pool: &PgPool,
    sealer: &Sealer,
    requester: &Requester,
) -> sqlx::Result<Result<bool, SessionEnded>> {
    let (sealer, Requester { user, session, origin, .. }) = (sealer.clone(), requester.clone());
    let cancel = requester.transaction(pool, Lock::UserAndSession, move |connection| {
        Box::pin(async move { cancel_in(connection, &sealer, user, Some(session), &origin).await })
    });
    cancel.await
}

/// Like [`cancel`], in the caller's transaction, which has locked the account. `session`: the one that the owner uses,
/// if any.
pub(super) async fn cancel_in(
    connection: &mut PgConnection,
    sealer: &Sealer,
    user: UserId,
    session: Option<SessionId>,
    origin: &Origin,
) -> sqlx::Result<bool> {
    let canceled = unschedule(connection, user, session, None, origin).await?;
    let Some(CanceledDeletion { email, display_name }) = canceled else { return Ok(false) };
    let source = notice::source_now(connection, origin).await?;
    let message = Message::DeletionCanceled { display_name, source };
    outbox::enqueue(connection, sealer, Some(user), &email, &message).await?;
    Ok(true)
}

/// Cancels a deletion that was requested at `since` or later, in the caller's transaction. `false` if there
/// was none. The caller notifies the owner.
pub(super) async fn cancel_since(
    connection: &mut PgConnection,
    user: UserId,
    since: OffsetDateTime,
    origin: &Origin,
) -> sqlx::Result<bool> {
    Ok(unschedule(connection, user, None, Some(since), origin).await?.is_some())
}

/// An account whose deletion was canceled.
struct CanceledDeletion {
    email: String,
    display_name: String,
}

async fn unschedule(
    connection: &mut PgConnection,
    user: UserId,
    session: Option<SessionId>,
    since: Option<OffsetDateTime>,
    origin: &Origin,
) -> sqlx::Result<Option<CanceledDeletion>> {
    let canceled = sqlx::query_as!(
        CanceledDeletion,
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
    if canceled.is_some() {
        let (kind, details) = (EventKind::DeletionCanceled, json!({}));
        let event = Event { kind, user: Some(user), session, origin, details };
        audit::record(connection, event).await?;
    }
    Ok(canceled)
}
