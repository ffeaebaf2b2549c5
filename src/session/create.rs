//! Creates sessions: the only statement that inserts into `sessions`. In the same transaction, it checks that
//! the account was not changed since its password was verified, records the audit event, enqueues the mail
//! about the sign-in, and revokes the session that is replaced and those beyond the limit per user.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::cache::entries::Stripe;
use super::state::{FORMAT_VERSION, NewSession, SessionToInsert};
use super::timeouts::{self, Timeouts};
use super::{notice as source, revoke, sign_in_notice};
use crate::audit::{self, Event, EventKind};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::{Digest, Secret};
use crate::events::{After, Hooks};
use crate::id::{SessionId, UserId};
use crate::role::Role;

/// The class of the advisory locks that make the sign-ins of one user wait for each other; the second key is
/// a hash of the user.
const SIGN_IN_LOCK: i32 = 0x7369_676e;

/// What applies to every new session.
#[derive(Clone)]
pub(super) struct Policy {
    /// Its timeouts.
    pub(super) timeouts: Timeouts,
    /// The maximum number of live sessions of a user; `0`: no limit.
    pub(super) sessions_per_user: u32,
    /// Seals the mail about a sign-in. `None`: no mail is sent.
    pub(super) sealer: Option<Sealer>,
    /// What the site does after a sign-in.
    pub(super) hooks: Hooks,
}

/// A session that [`PgSessionStore::create`](super::PgSessionStore::create) inserted.
#[derive(Debug)]
pub struct CreatedSession {
    /// The secret for its cookie. Send it only after the transaction is committed.
    pub secret: Secret,
    /// The session that was replaced. Pass it to [`PgSessionStore::invalidate_replaced`] after the commit.
    ///
    /// [`PgSessionStore::invalidate_replaced`]: super::PgSessionStore::invalidate_replaced
    pub replaced: Option<ReplacedSession>,
    /// The number of sessions of the user that ended because of the limit per user. If it is not 0, call
    /// [`PgSessionStore::invalidate_user`](super::PgSessionStore::invalidate_user) after the commit.
    pub ended_by_limit: usize,
    /// Whether the account of the user is scheduled for deletion.
    pub is_deletion_scheduled: bool,
}

/// A session that a sign-in in the same browser replaced.
#[derive(Debug)]
pub struct ReplacedSession(pub(super) Stripe);

/// A session that was inserted.
pub(super) struct InsertedSession {
    /// The secret for its cookie.
    pub(super) secret: Secret,
    /// Whether it replaced the browser's former session.
    pub(super) has_replaced: bool,
    /// The number of sessions of the user that ended because of the limit.
    pub(super) ended_by_limit: usize,
    /// Whether the account of the user is scheduled for deletion.
    pub(super) is_deletion_scheduled: bool,
}

/// Inserts a session in the caller's transaction, and revokes the browser's former session, whose cookie has
/// the digest `former`. `None`: the account was changed since its password was verified, and nothing was
/// written.
pub(super) async fn insert(
    connection: &mut PgConnection,
    policy: &Policy,
    session: SessionToInsert,
    former: Option<&Digest>,
) -> sqlx::Result<Option<InsertedSession>> {
    let SessionToInsert { user, new_session, state } = session;
    let limit = i64::from(policy.sessions_per_user);
    let mut is_deletion_scheduled = false;
    let mut notice = None;
    if let Some(user) = user {
        if limit > 0 {
            await_other_sign_ins(connection, user).await?;
        }
        match lock_unchanged_account(connection, user, &new_session).await? {
            Some(LockedAccount { is_scheduled }) => is_deletion_scheduled = is_scheduled,
            None => return Ok(None),
        }
        if policy.sealer.is_some() {
            let (origin, is_new) = (&new_session.origin, new_session.on_new_device);
            notice = sign_in_notice::find(connection, user, origin, is_new).await?;
        }
    }
    let has_replaced = match former {
        Some(former) => {
            revoke::replaced_by_sign_in(connection, former, &new_session.origin).await?
        }
        None => false,
    };
    let (secret, id) = (Secret::generate(), SessionId::generate());
    let digest = secret.digest();
    let others = insert_row(connection, policy, &digest, id, user, &new_session, state).await?;
    let mut ended_by_limit = 0;
    if let Some(user) = user {
        audit::record(
            &mut *connection,
            Event {
                kind: EventKind::SignedIn,
                user: Some(user),
                session: Some(id),
                origin: &new_session.origin,
                details: json!({ "methods": new_session.auth_methods, "remembered": new_session.remembered }),
            },
        )
        .await?;
        if limit > 0 && others >= limit {
            let origin = &new_session.origin;
            ended_by_limit = revoke::beyond_limit(connection, user, limit, id, origin).await?;
        }
        if let (Some(notice), Some(sealer)) = (notice, &policy.sealer) {
            notice.enqueue(connection, sealer, user).await?;
        }
        let (hooks, origin) = (&policy.hooks, &new_session.origin);
        source::for_hooks(connection, hooks, After::SignIn, user, origin).await?;
    }
    Ok(Some(InsertedSession { secret, has_replaced, ended_by_limit, is_deletion_scheduled }))
}

/// Makes the sign-ins of one user wait for each other until the commit, so that each counts the sessions of
/// those before it. No other code takes this lock, and only the row of `session_cache_resets` may be locked
/// before it, while the notification queue is full. So it cannot deadlock.
async fn await_other_sign_ins(connection: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    sqlx::query_scalar!(
        "SELECT pg_advisory_xact_lock($1, hashtext($2))",
        SIGN_IN_LOCK,
        user.to_string(),
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Inserts the row and returns how many other rows the user has, counted up to the limit per user, including
/// sessions that have expired and are not yet deleted.
async fn insert_row(
    connection: &mut PgConnection,
    policy: &Policy,
    digest: &Digest,
    id: SessionId,
    user: Option<UserId>,
    new_session: &NewSession,
    state: Value,
) -> sqlx::Result<i64> {
    let (idle, absolute) = timeouts::seconds(&policy.timeouts, new_session.remembered);
    sqlx::query_scalar!(
        r#"
        INSERT INTO sessions
               (token_digest, id, user_id, state, authenticated_at, remembered,
                auth_methods, ip_address, last_seen_ip_address, user_agent, format_version,
                idle_timeout, expires_at, absolute_expires_at)
        VALUES ($1, $2, $3, $4, CASE WHEN $3::uuid IS NULL THEN NULL ELSE now() END, $5,
                $6, CAST($7::text AS inet), CAST($7::text AS inet), $8, $9,
                make_interval(secs => $10),
                now() + make_interval(secs => $10),
                now() + make_interval(secs => $11))
        RETURNING (SELECT count(*)
                     FROM (SELECT FROM sessions WHERE user_id = $3 LIMIT $12) AS others) AS "others!"
        "#,
        digest.as_bytes(),
        id as SessionId,
        user as Option<UserId>,
        state,
        new_session.remembered,
        &new_session.auth_methods,
        new_session.origin.ip_address.map(|ip| ip.to_string()),
        new_session.origin.user_agent,
        FORMAT_VERSION,
        idle,
        absolute,
        i64::from(policy.sessions_per_user),
    )
    .fetch_one(connection)
    .await
}

/// An account that was not changed since its password was verified.
struct LockedAccount {
    /// Whether its deletion is scheduled.
    is_scheduled: bool,
}

/// Locks the account, unless it was changed since its password was verified. The row of the user stays locked
/// until the commit: a later password change finds the session and revokes it; an earlier one is found here,
/// and no session is inserted (`SignInInProgress` in user/session_rules.rs). Without `verified_account`, only
/// the date of the password is compared, and only if `new_session` has one. With it, email, role and date
/// must all be equal, and no date equals only no date.
async fn lock_unchanged_account(
    connection: &mut PgConnection,
    user: UserId,
    new_session: &NewSession,
) -> sqlx::Result<Option<LockedAccount>> {
    let (email, role) = new_session.verified_account.clone().unzip();
    sqlx::query_as!(
        LockedAccount,
        r#"
        SELECT deletion_due_at IS NOT NULL AS "is_scheduled!"
          FROM users
         WHERE id = $1
           AND disabled_at IS NULL
           AND CASE WHEN $3::text IS NULL THEN $2::timestamptz IS NULL OR password_changed_at = $2
                    ELSE password_changed_at IS NOT DISTINCT FROM $2 AND email = $3 AND role = $4
               END
           FOR SHARE
        "#,
        user as UserId,
        new_session.password_changed_at,
        email,
        role as Option<Role>,
    )
    .fetch_optional(connection)
    .await
}
