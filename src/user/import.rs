//! People of another system: many rows of `users` at once, each with its event in the same transaction. Somebody who
//! is there already stays as they are.

use std::collections::HashSet;

use serde_json::json;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::{NoContext, Timestamp, Uuid};

use super::display_name::DisplayName;
use super::email::address::EmailAddress;
use super::password::hasher::PasswordHash;
use crate::audit::{self, EventKind, Origin};
use crate::db;
use crate::id::UserId;
use crate::role::Role;

/// Whether something holds, and since when, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// It does not.
    #[default]
    Never,
    /// From now on, as far as anybody knows.
    Now,
    /// From then on.
    At(OffsetDateTime),
}

/// Somebody who is to have an account.
#[derive(Clone, Debug)]
pub struct ImportRow {
    /// The address to sign in with.
    pub email: EmailAddress,
    /// What pages call this person.
    pub display_name: DisplayName,
    /// What they may do.
    pub role: Role,
    /// `None`: they choose a password by way of recovery.
    pub password_hash: Option<PasswordHash>,
    /// When the password was chosen; without it, when the account was made.
    pub password_changed_at: Option<OffsetDateTime>,
    /// Whether they read mail at `email`, as the other system knows.
    pub verified: Since,
    /// When the other system made the account.
    pub created_at: Option<OffsetDateTime>,
    /// Whether sign-in is refused.
    pub disabled: Since,
    /// When the account is to be deleted.
    pub deletion_due_at: Option<OffsetDateTime>,
}

impl Since {
    fn holds(self) -> bool {
        self != Self::Never
    }

    fn known(self) -> Option<OffsetDateTime> {
        if let Self::At(then) = self { Some(then) } else { None }
    }
}

/// Makes the accounts of those who are not there yet, all of them or (on an error) none. Answers for each whether it
/// was made.
pub async fn insert_many(
    pool: &PgPool,
    newcomers: Vec<ImportRow>,
    origin: Origin,
) -> sqlx::Result<Vec<bool>> {
    let ids: Vec<UserId> = newcomers.iter().map(|one| id_of(one.created_at)).collect();
    let asked = ids.clone();
    let made = db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            let column = |of: fn(&ImportRow) -> &str| newcomers.iter().map(of).collect::<Vec<_>>();
            let emails = column(|one| one.email.as_typed());
            let canonical = column(|one| one.email.canonical());
            let names = column(|one| one.display_name.as_str());
            let roles = column(|one| one.role.as_str());
            let hashes: Vec<Option<&str>> = newcomers
                .iter()
                .map(|one| one.password_hash.as_ref().map(PasswordHash::as_str))
                .collect();
            let moments = |of: fn(&ImportRow) -> Option<OffsetDateTime>| {
                newcomers.iter().map(of).collect::<Vec<_>>()
            };
            let flags = |of: fn(&ImportRow) -> bool| newcomers.iter().map(of).collect::<Vec<_>>();
            let inserted: Vec<UserId> = sqlx::query_scalar!(
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
                       AS newcomer (id, email, canonical, name, role, hash, created, changed,
                                    is_verified, verified, is_disabled, disabled, deletion_due)
                    ON CONFLICT ON CONSTRAINT users_email_canonical_key DO NOTHING
                RETURNING id AS "id: UserId"
                "#,
                &ids as &[UserId],
                &emails as &[&str],
                &canonical as &[&str],
                &names as &[&str],
                &roles as &[&str],
                &hashes as &[Option<&str>],
                &moments(|one| one.created_at) as &[Option<OffsetDateTime>],
                &moments(|one| one.password_changed_at) as &[Option<OffsetDateTime>],
                &flags(|one| one.verified.holds()),
                &moments(|one| one.verified.known()) as &[Option<OffsetDateTime>],
                &flags(|one| one.disabled.holds()),
                &moments(|one| one.disabled.known()) as &[Option<OffsetDateTime>],
                &moments(|one| one.deletion_due_at) as &[Option<OffsetDateTime>],
            )
            .fetch_all(&mut *connection)
            .await?;
            let made: HashSet<UserId> = inserted.into_iter().collect();
            let events: Vec<_> = ids
                .iter()
                .zip(&newcomers)
                .filter(|(id, _)| made.contains(id))
                .map(|(id, one)| {
                    let password = one.password_hash.as_ref().map(PasswordHash::family);
                    (*id, json!({ "role": one.role.as_str(), "password": password }))
                })
                .collect();
            audit::record_for_users(connection, EventKind::Imported, &events, &origin).await?;
            Ok(made)
        })
    })
    .await?;
    Ok(asked.iter().map(|id| made.contains(id)).collect())
}

/// For each address whether somebody has it.
pub async fn emails_exist(pool: &PgPool, emails: &[&EmailAddress]) -> sqlx::Result<Vec<bool>> {
    let canonical: Vec<&str> = emails.iter().map(|email| email.canonical()).collect();
    let known: Vec<String> = sqlx::query_scalar!(
        "SELECT email_canonical FROM users WHERE email_canonical = ANY($1::text[])",
        &canonical as &[&str],
    )
    .fetch_all(pool)
    .await?;
    let known: HashSet<String> = known.into_iter().collect();
    Ok(canonical.iter().map(|email| known.contains(*email)).collect())
}

/// Sorts by the moment of registration, as ids of users do.
fn id_of(created_at: Option<OffsetDateTime>) -> UserId {
    let seconds = created_at.and_then(|then| u64::try_from(then.unix_timestamp()).ok());
    match (seconds, created_at) {
        (Some(seconds), Some(then)) => {
            Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, then.nanosecond())).into()
        }
        _ => UserId::generate(),
    }
}
