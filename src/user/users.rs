//! Rows of `users`: find, insert, update. Sessions and links that a change invalidates are revoked in the
//! same transaction.

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::display_name::DisplayName;
use super::email::token::{self, NewLink, Purpose};
use super::password::hasher::PasswordHash;
use super::session_rules::{self, AccountEvent};
use crate::audit::{self, Event, EventKind, Origin};
use crate::crypto::seal::Sealer;
use crate::db;
use crate::events::{Hooks, Registered, RegisteredBy};
use crate::id::UserId;
use crate::mail::address::EmailAddress;
use crate::mail::outbox::{self, Enqueued};
use crate::mail::{Message, Source};
use crate::role::Role;
use crate::session::{Lock, Requester, SessionEnded, notice};

/// Selects rows of `users` as [`User`], so that their columns are listed once.
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
    /// As typed.
    pub email: String,
    /// The name that pages show.
    pub display_name: String,
    /// The role of the user.
    pub role: Role,
    /// The password hash as a PHC string or in the format of another system. Must not be shown or logged.
    pub password_hash: Option<String>,
    /// When the password was last chosen.
    pub password_changed_at: Option<OffsetDateTime>,
    /// When the account was created, here or in the system it was imported from.
    pub created_at: OffsetDateTime,
    /// When the account was disabled. While set, sign-in is refused.
    pub disabled_at: Option<OffsetDateTime>,
    /// When `email` was verified.
    pub email_verified_at: Option<OffsetDateTime>,
    /// When the account is due to be deleted.
    pub deletion_due_at: Option<OffsetDateTime>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The outcome of inserting an account.
#[derive(Debug)]
pub enum InsertOutcome {
    /// The account, as it was inserted.
    Done(User),
    /// Another account has this email.
    EmailTaken,
}

/// How the first password of an account is set.
#[derive(Clone)]
pub enum FirstPassword {
    /// The operator entered it.
    Chosen(PasswordHash),
    /// The user chooses it with a link, which is mailed.
    ByLink(Sealer),
}

/// An account that [`insert`] created.
pub struct Created {
    /// The account.
    pub user: User,
    /// What became of the mail with the link. `None` if the operator entered the password.
    pub link: Option<Enqueued>,
}

/// Creates an account whose email is not verified: for operators. `None` if another account has the email. The
/// account is also created if the email has got too much mail; then there is no link.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn insert(
    pool: &PgPool,
    hooks: &Hooks,
    email: EmailAddress,
    display_name: DisplayName,
    role: Role,
    password: FirstPassword,
    origin: Origin,
) -> sqlx::Result<Option<Created>> {
    let hooks = hooks.clone();
    db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            let hash = match &password {
                FirstPassword::Chosen(hash) => Some(hash.as_str()),
                FirstPassword::ByLink(_) => None,
            };
            let new = NewUser {
                email: email.as_typed(),
                email_canonical: email.canonical(),
                display_name: display_name.as_str(),
                role,
                password_hash: hash,
                is_verified: false,
                by: RegisteredBy::Admin,
            };
            let user = match insert_in(connection, &hooks, new, &origin).await? {
                InsertOutcome::Done(user) => user,
                InsertOutcome::EmailTaken => return Ok(None),
            };
            let FirstPassword::ByLink(sealer) = &password else {
                return Ok(Some(Created { user, link: None }));
            };
            let (id, purpose) = (user.id, Purpose::ResetPassword);
            let about = (email.as_typed(), email.canonical());
            let message = |link: NewLink| Message::AccountCreated { token: link.token };
            let link = token::send(connection, sealer, id, purpose, about, message).await?;
            Ok(Some(Created { user, link: Some(link) }))
        })
    })
    .await
}

/// An account to insert.
pub(super) struct NewUser<'a> {
    pub(super) email: &'a str,
    pub(super) email_canonical: &'a str,
    pub(super) display_name: &'a str,
    pub(super) role: Role,
    /// `None`: the user chooses a password with a mailed link.
    pub(super) password_hash: Option<&'a str>,
    /// Whether the email is verified.
    pub(super) is_verified: bool,
    /// For the hooks of the site.
    pub(super) by: RegisteredBy,
}

/// Creates an account in the caller's transaction, which stays usable if the email is taken.
pub(super) async fn insert_in(
    connection: &mut PgConnection,
    hooks: &Hooks,
    new: NewUser<'_>,
    origin: &Origin,
) -> sqlx::Result<InsertOutcome> {
    let id = UserId::generate();
    let inserted = sqlx::query_as!(
        User,
        r#"
        INSERT INTO users
               (id, email, email_canonical, display_name, role, password_hash, password_changed_at,
                email_verified_at)
        VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $6::text IS NOT NULL THEN now() END,
                CASE WHEN $7 THEN now() END)
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
    record(connection, EventKind::Registered, id, origin, details).await?;
    let event = Registered::new(id, new.email, new.display_name, new.by);
    hooks.registered(connection, &[event]).await?;
    Ok(InsertOutcome::Done(user))
}

/// Finds the account of an email.
pub async fn find_by_email(pool: &PgPool, email: &EmailAddress) -> sqlx::Result<Option<User>> {
    select_users!("WHERE email_canonical = $1", email.canonical())
        .fetch_optional(db::on(pool))
        .await
}

/// Finds the account of an id.
pub async fn find(pool: &PgPool, id: UserId) -> sqlx::Result<Option<User>> {
    select_users!("WHERE id = $1", id as UserId,).fetch_optional(db::on(pool)).await
}

/// Lists accounts, newest first: those whose email or name contains `search`, or whose id starts with it, or
/// all. `before` is the last account of the previous page. Reads every account, so pages must not use it.
pub async fn list(
    pool: &PgPool,
    search: Option<&str>,
    before: Option<UserId>,
    limit: i64,
) -> sqlx::Result<Vec<User>> {
    let search = search.map(str::to_owned);
    db::long_transaction(pool, move |connection| {
        Box::pin(async move {
            let lower = search.as_deref().map(str::to_lowercase);
            select_users!(
                "WHERE ($1::text IS NULL
                        OR strpos(email_canonical, $2) > 0
                        OR strpos(lower(email), $2) > 0
                        OR strpos(lower(display_name), $2) > 0
                        OR strpos(display_name, $1) > 0
                        OR starts_with(id::text, $2))
                   AND ($3::uuid IS NULL OR id < $3)
                 ORDER BY id DESC
                 LIMIT $4",
                search,
                lower,
                before as Option<UserId>,
                limit,
            )
            .fetch_all(connection)
            .await
        })
    })
    .await
}

/// Lists accounts in the order of their ids, starting after `after`.
pub async fn list_after(pool: &PgPool, after: UserId, limit: i64) -> sqlx::Result<Vec<User>> {
    select_users!("WHERE id > $1 ORDER BY id LIMIT $2", after as UserId, limit)
        .fetch_all(db::on(pool))
        .await
}

/// Changes the display name of the user who requests it.
#[tracing::instrument(level = "debug", skip_all, fields(user = %requester.user))]
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

/// The owner of an account that an operator changed.
struct Notified {
    email: String,
    display_name: String,
    is_verified: bool,
}

impl Notified {
    /// Notifies the owner of a change by an operator, in the transaction of the change. An unverified email gets no
    /// notice, because it may belong to another person.
    async fn send(
        self,
        connection: &mut PgConnection,
        sealer: &Sealer,
        user: UserId,
        origin: &Origin,
        message: impl FnOnce(String, Source) -> Message,
    ) -> sqlx::Result<()> {
        if !self.is_verified {
            return Ok(());
        }
        let source = notice::source_now(connection, origin).await?;
        let message = message(self.display_name, source);
        outbox::enqueue(connection, sealer, Some(user), &self.email, &message).await?;
        Ok(())
    }
}

/// Disables or enables an account, and notifies the owner. Disabling revokes all its sessions. `false` if nothing
/// changed.
#[tracing::instrument(level = "debug", skip_all, fields(user = %id))]
pub async fn set_disabled(
    pool: &PgPool,
    sealer: &Sealer,
    id: UserId,
    disabled: bool,
    origin: Origin,
) -> sqlx::Result<bool> {
    let sealer = sealer.clone();
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let changed = sqlx::query_as!(
                Notified,
                r#"
                UPDATE users
                   SET disabled_at = CASE WHEN $2 THEN now() END
                 WHERE id = $1
                   AND (disabled_at IS NULL) = $2
                RETURNING email, display_name, email_verified_at IS NOT NULL AS "is_verified!"
                "#,
                id as UserId,
                disabled,
            )
            .fetch_optional(&mut *connection)
            .await?;
            let Some(owner) = changed else { return Ok(false) };
            if disabled {
                session_rules::apply(connection, AccountEvent::Disabled, id, None, &origin).await?;
            }
            let kind =
                if disabled { EventKind::AccountDisabled } else { EventKind::AccountEnabled };
            record(connection, kind, id, &origin, json!({})).await?;
            let message = |display_name, source| match disabled {
                true => Message::AccountDisabled { display_name, source },
                false => Message::AccountEnabled { display_name, source },
            };
            owner.send(connection, &sealer, id, &origin, message).await?;
            Ok(true)
        })
    })
    .await
}

/// Changes the role of an account, revokes all its sessions, so that every session has the role with which it was
/// created, and notifies the owner. `false` if nothing changed.
#[tracing::instrument(level = "debug", skip_all, fields(user = %id))]
pub async fn set_role(
    pool: &PgPool,
    sealer: &Sealer,
    id: UserId,
    role: Role,
    origin: Origin,
) -> sqlx::Result<bool> {
    let sealer = sealer.clone();
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let changed = sqlx::query_as!(
                Notified,
                r#"
                UPDATE users
                   SET role = $2
                 WHERE id = $1
                   AND role <> $2
                RETURNING email, display_name, email_verified_at IS NOT NULL AS "is_verified!"
                "#,
                id as UserId,
                role as Role,
            )
            .fetch_optional(&mut *connection)
            .await?;
            let Some(owner) = changed else { return Ok(false) };
            session_rules::apply(connection, AccountEvent::RoleChanged, id, None, &origin).await?;
            let details = json!({ "role": role.as_str() });
            record(connection, EventKind::RoleChanged, id, &origin, details).await?;
            let message =
                |display_name, source| Message::RoleChanged { display_name, role, source };
            owner.send(connection, &sealer, id, &origin, message).await?;
            Ok(true)
        })
    })
    .await
}

async fn record(
    connection: &mut PgConnection,
    kind: EventKind,
    user: UserId,
    origin: &Origin,
    details: serde_json::Value,
) -> sqlx::Result<()> {
    audit::record(connection, Event { kind, user: Some(user), session: None, origin, details })
        .await
}
