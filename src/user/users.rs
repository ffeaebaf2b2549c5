//! Rows of `users`: find, insert, change. What a change ends is ended in the same transaction.

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::display_name::DisplayName;
use super::email::address::EmailAddress;
use super::password::hasher::PasswordHash;
use super::session_rules::{self, AccountEvent};
use crate::audit::{self, Event, EventKind, Origin};
use crate::db;
use crate::id::UserId;
use crate::role::Role;
use crate::session::{Lock, Requester, SessionEnded};

/// Selects rows of `users` as [`User`]: the one list of their columns.
macro_rules! select_users {
    ($condition:tt, $($arguments:tt)*) => {
        sqlx::query_as!(
            User,
            r#"SELECT id AS "id: UserId", email, display_name, role AS "role: Role", password_hash,
                      password_changed_at, created_at, disabled_at, email_verified_at, deletion_due_at
                 FROM users "# + $condition,
            $($arguments)*
        )
    };
}

/// A row of `users`.
#[derive(Clone)]
pub struct User {
    /// The id of the account.
    pub id: UserId,
    /// The address as typed.
    pub email: String,
    /// What pages call this person.
    pub display_name: String,
    /// What the user may do.
    pub role: Role,
    /// PHC string; never shown, never logged.
    pub password_hash: Option<String>,
    /// When the password was last chosen.
    pub password_changed_at: Option<OffsetDateTime>,
    /// When the account was made.
    pub created_at: OffsetDateTime,
    /// Set: sign-in is refused.
    pub disabled_at: Option<OffsetDateTime>,
    /// When somebody proved to read mail at `email`.
    pub email_verified_at: Option<OffsetDateTime>,
    /// The account is deleted from then on.
    pub deletion_due_at: Option<OffsetDateTime>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What came of [`insert`].
#[derive(Debug)]
pub enum InsertOutcome {
    /// The account, as it was inserted.
    Done(User),
    /// Another account has this address.
    EmailTaken,
}

/// Makes an account.
pub async fn insert(
    pool: &PgPool,
    email: EmailAddress,
    display_name: DisplayName,
    role: Role,
    hash: PasswordHash,
    origin: Origin,
) -> sqlx::Result<InsertOutcome> {
    db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            let new = New {
                email: email.as_typed(),
                email_canonical: email.canonical(),
                display_name: display_name.as_str(),
                role,
                password_hash: hash.as_str(),
                is_verified: false,
            };
            insert_in(connection, new, &origin).await
        })
    })
    .await
}

/// What a new account is made of.
pub(super) struct New<'a> {
    pub(super) email: &'a str,
    pub(super) email_canonical: &'a str,
    pub(super) display_name: &'a str,
    pub(super) role: Role,
    pub(super) password_hash: &'a str,
    /// Somebody proved to read mail at the address.
    pub(super) is_verified: bool,
}

/// Makes an account in the caller's transaction, which goes on when the address is taken.
pub(super) async fn insert_in(
    connection: &mut PgConnection,
    new: New<'_>,
    origin: &Origin,
) -> sqlx::Result<InsertOutcome> {
    let id = UserId::generate();
    let inserted = sqlx::query_as!(
        User,
        r#"
        INSERT INTO users
               (id, email, email_canonical, display_name, role, password_hash, password_changed_at,
                email_verified_at)
        VALUES ($1, $2, $3, $4, $5, $6, now(), CASE WHEN $7 THEN now() END)
            ON CONFLICT (email_canonical) DO NOTHING
        RETURNING id AS "id: UserId", email, display_name, role AS "role: Role", password_hash,
                  password_changed_at, created_at, disabled_at, email_verified_at, deletion_due_at
        "#,
        id as UserId,
        new.email,
        new.email_canonical,
        new.display_name,
        new.role as Role,
        new.password_hash,
        new.is_verified,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(user) = inserted else { return Ok(InsertOutcome::EmailTaken) };
    let details = json!({ "role": new.role.as_str() });
    changed_event(connection, EventKind::Registered, id, origin, details).await?;
    Ok(InsertOutcome::Done(user))
}

/// The account of an address.
pub async fn find_by_email(pool: &PgPool, email: &EmailAddress) -> sqlx::Result<Option<User>> {
    select_users!("WHERE email_canonical = $1", email.canonical()).fetch_optional(pool).await
}

/// The account of an id.
pub async fn find(pool: &PgPool, id: UserId) -> sqlx::Result<Option<User>> {
    select_users!("WHERE id = $1", id as UserId,).fetch_optional(pool).await
}

/// Accounts, newest first.
pub async fn list(pool: &PgPool, limit: i64) -> sqlx::Result<Vec<User>> {
    select_users!("ORDER BY id DESC LIMIT $1", limit).fetch_all(pool).await
}

/// Accounts in the order of their ids, those that come after `after`.
pub async fn list_after(pool: &PgPool, after: UserId, limit: i64) -> sqlx::Result<Vec<User>> {
    select_users!("WHERE id > $1 ORDER BY id LIMIT $2", after as UserId, limit)
        .fetch_all(pool)
        .await
}

/// Changes the display name of the user who requests it.
pub async fn set_display_name(
    pool: &PgPool,
    requester: &Requester,
    display_name: DisplayName,
) -> sqlx::Result<Result<(), SessionEnded>> {
    let user = requester.user;
    let change = requester.transaction(pool, Lock::UserAndSession, move |connection| {
        Box::pin(async move {
            sqlx::query!(
                "UPDATE users SET display_name = $2 WHERE id = $1",
                user as UserId,
                display_name.as_str(),
            )
            .execute(connection)
            .await?;
            Ok(())
        })
    });
    change.await
}

/// Disables or enables an account; disabling ends all its sessions. `false` when it was so already.
pub async fn set_disabled(
    pool: &PgPool,
    id: UserId,
    disabled: bool,
    origin: Origin,
) -> sqlx::Result<bool> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let changed = sqlx::query!(
                r#"
                UPDATE users
                   SET disabled_at = CASE WHEN $2 THEN now() END
                 WHERE id = $1
                   AND (disabled_at IS NULL) = $2
                "#,
                id as UserId,
                disabled,
            )
            .execute(&mut *connection)
            .await?;
            if changed.rows_affected() == 0 {
                return Ok(false);
            }
            if disabled {
                session_rules::apply(connection, AccountEvent::Disabled, id, None, &origin).await?;
            }
            let kind =
                if disabled { EventKind::AccountDisabled } else { EventKind::AccountEnabled };
            changed_event(connection, kind, id, &origin, json!({})).await?;
            Ok(true)
        })
    })
    .await
}

/// Changes what somebody may do, and ends all their sessions, so that rights are only ever used in sessions that began
/// with them; `false` when it was so already.
pub async fn set_role(pool: &PgPool, id: UserId, role: Role, origin: Origin) -> sqlx::Result<bool> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let changed = sqlx::query!(
                "UPDATE users SET role = $2 WHERE id = $1 AND role <> $2",
                id as UserId,
                role as Role,
            )
            .execute(&mut *connection)
            .await?;
            if changed.rows_affected() == 0 {
                return Ok(false);
            }
            session_rules::apply(connection, AccountEvent::RoleChanged, id, None, &origin).await?;
            let details = json!({ "role": role.as_str() });
            changed_event(connection, EventKind::RoleChanged, id, &origin, details).await?;
            Ok(true)
        })
    })
    .await
}

async fn changed_event(
    connection: &mut PgConnection,
    kind: EventKind,
    user: UserId,
    origin: &Origin,
    details: serde_json::Value,
) -> sqlx::Result<()> {
    audit::record(connection, Event { kind, user: Some(user), session: None, origin, details })
        .await
}
