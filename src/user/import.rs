//! Imports accounts of another system: many rows of `users` in one transaction, each with its audit event.
//! Accounts that exist are not changed.

use std::collections::HashSet;

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::{NoContext, Timestamp, Uuid};

use super::display_name::DisplayName;
use super::password::hasher::PasswordHash;
use crate::audit::{self, EventKind, Origin};
use crate::db;
use crate::events::{Hooks, Registered, RegisteredBy};
use crate::id::UserId;
use crate::mail::address::EmailAddress;
use crate::role::Role;

/// Whether a property is set, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// It is not set.
    #[default]
    Never,
    /// It is set since an unknown time; the time of the import is stored.
    Now,
    /// It is set since this time.
    At(OffsetDateTime),
}

/// An account to import.
#[derive(Clone, Debug)]
pub struct ImportRow {
    /// The email to sign in with.
    pub email: EmailAddress,
    /// The name that pages show.
    pub display_name: DisplayName,
    /// The role.
    pub role: Role,
    /// `None`: the user has to reset the password before the first sign-in.
    pub password_hash: Option<PasswordHash>,
    /// When the password was chosen. `None`: when the account was created.
    pub password_changed_at: Option<OffsetDateTime>,
    /// Whether the other system verified `email`.
    pub verified: Since,
    /// When the other system created the account. `None`: at the import.
    pub created_at: Option<OffsetDateTime>,
    /// Whether the account is disabled.
    pub disabled: Since,
    /// When the account is to be deleted.
    pub deletion_due_at: Option<OffsetDateTime>,
}

impl Since {
    fn is_set(self) -> bool {
        self != Self::Never
    }

    fn time(self) -> Option<OffsetDateTime> {
        if let Self::At(then) = self { Some(then) } else { None }
    }
}

/// Creates accounts in one transaction; rows whose email already has an account are skipped. Returns for each
/// row whether its account was created. The hooks of the site run for each account, so with one there is more time.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn insert_many(
    pool: &PgPool,
    hooks: &Hooks,
    rows: Vec<ImportRow>,
    origin: Origin,
) -> sqlx::Result<Vec<bool>> {
    let ids: Vec<UserId> = rows.iter().map(|row| id_of(row.created_at)).collect();
    let (all, hooks) = (ids.clone(), hooks.clone());
    let created = if hooks.has_registered() {
        db::long_transaction(pool, move |connection| {
            Box::pin(async move { insert_in(connection, &hooks, &ids, &rows, &origin).await })
        })
        .await?
    } else {
        db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
            Box::pin(async move { insert_in(connection, &hooks, &ids, &rows, &origin).await })
        })
        .await?
    };
    Ok(all.iter().map(|id| created.contains(id)).collect())
}

/// Inserts `rows` and their audit events, and returns the ids of the accounts that were created.
async fn insert_in(
    connection: &mut PgConnection,
    hooks: &Hooks,
    ids: &[UserId],
    rows: &[ImportRow],
    origin: &Origin,
) -> sqlx::Result<HashSet<UserId>> {
    let created: HashSet<UserId> = insert_rows(connection, ids, rows).await?.into_iter().collect();
    let inserted = || ids.iter().zip(rows).filter(|(id, _)| created.contains(id));
    let events: Vec<_> = inserted()
        .map(|(id, row)| {
            let password = row.password_hash.as_ref().map(PasswordHash::family);
            (*id, json!({ "role": row.role.as_str(), "password": password }))
        })
        .collect();
    audit::record_for_users(&mut *connection, EventKind::Imported, &events, origin).await?;
    if hooks.has_registered() {
        let by = RegisteredBy::Import;
        let registered = |(id, row): (&UserId, &ImportRow)| {
            Registered::new(*id, row.email.as_typed(), row.display_name.as_str(), by)
        };
        let registered: Vec<_> = inserted().map(registered).collect();
        hooks.registered(connection, &registered).await?;
    }
    Ok(created)
}

/// Inserts `rows` with the ids of `ids` and returns the ids of those whose email had no account.
async fn insert_rows(
    connection: &mut PgConnection,
    ids: &[UserId],
    rows: &[ImportRow],
) -> sqlx::Result<Vec<UserId>> {
    let column = |of: fn(&ImportRow) -> &str| rows.iter().map(of).collect::<Vec<_>>();
    let emails = column(|row| row.email.as_typed());
    let canonical = column(|row| row.email.canonical());
    let names = column(|row| row.display_name.as_str());
    let roles = column(|row| row.role.as_str());
    let hashes: Vec<Option<&str>> =
        rows.iter().map(|row| row.password_hash.as_ref().map(PasswordHash::as_str)).collect();
    let times =
        |of: fn(&ImportRow) -> Option<OffsetDateTime>| rows.iter().map(of).collect::<Vec<_>>();
    let flags = |of: fn(&ImportRow) -> bool| rows.iter().map(of).collect::<Vec<_>>();
    sqlx::query_scalar!(
        r#"
        INSERT INTO users
               (id, email, email_canonical, display_name, role, password_hash, created_at,
                password_changed_at, email_verified_at, disabled_at, deletion_due_at)
        SELECT id, email, canonical, name, role, hash, COALESCE(created, now()),
               CASE WHEN hash IS NOT NULL THEN COALESCE(changed, created, now()) END,
               CASE WHEN is_verified THEN COALESCE(verified, now()) END,
               CASE WHEN is_disabled THEN COALESCE(disabled, now()) END,
               deletion_due
          FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                      $7::timestamptz[], $8::timestamptz[], $9::boolean[], $10::timestamptz[],
                      $11::boolean[], $12::timestamptz[], $13::timestamptz[])
               AS imported (id, email, canonical, name, role, hash, created, changed,
                            is_verified, verified, is_disabled, disabled, deletion_due)
            ON CONFLICT ON CONSTRAINT users_email_canonical_key DO NOTHING
        RETURNING id AS "id: UserId"
        "#,
        ids as &[UserId],
        &emails as &[&str],
        &canonical as &[&str],
        &names as &[&str],
        &roles as &[&str],
        &hashes as &[Option<&str>],
        &times(|row| row.created_at) as &[Option<OffsetDateTime>],
        &times(|row| row.password_changed_at) as &[Option<OffsetDateTime>],
        &flags(|row| row.verified.is_set()),
        &times(|row| row.verified.time()) as &[Option<OffsetDateTime>],
        &flags(|row| row.disabled.is_set()),
        &times(|row| row.disabled.time()) as &[Option<OffsetDateTime>],
        &times(|row| row.deletion_due_at) as &[Option<OffsetDateTime>],
    )
    .fetch_all(connection)
    .await
}

/// Returns for each email whether an account has it.
pub async fn emails_exist(pool: &PgPool, emails: &[&EmailAddress]) -> sqlx::Result<Vec<bool>> {
    let canonical: Vec<&str> = emails.iter().map(|email| email.canonical()).collect();
    let known: Vec<String> = sqlx::query_scalar!(
        "SELECT email_canonical FROM users WHERE email_canonical = ANY($1::text[])",
        &canonical as &[&str],
    )
    .fetch_all(db::on(pool))
    .await?;
    let known: HashSet<String> = known.into_iter().collect();
    Ok(canonical.iter().map(|email| known.contains(*email)).collect())
}

/// A version 7 UUID with the time of creation, so that imported users sort like others.
fn id_of(created_at: Option<OffsetDateTime>) -> UserId {
    let seconds = created_at.and_then(|then| u64::try_from(then.unix_timestamp()).ok());
    match (seconds, created_at) {
        (Some(seconds), Some(then)) => {
            Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, then.nanosecond())).into()
        }
        _ => UserId::generate(),
    }
}
