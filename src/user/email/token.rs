//! Rows of `email_tokens`: links and codes that were mailed to users. Each can be used once, until it
//! expires, for the email that it was issued for and no other (Devise, CVE-2026-32700): a link that verifies
//! the email of the account, or resets its password, is valid only while the account has the email that the
//! link was sent to. Only digests are stored.
//!
//! A transaction that changes a row of `email_tokens` holds the lock on its row of `users` (`lock_owner`), so
//! these transactions are serialized, and each sees the effect of the previous one.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::code::{Code, MAX_CODE_ATTEMPTS};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::{Digest, Secret};
use crate::db;
use crate::id::UserId;
use crate::lifetimes;
use crate::mail::Message;
use crate::mail::outbox::{self, Enqueued};

/// What a link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Verifies the email of the account.
    VerifyEmail,
    /// Resets a forgotten password.
    ResetPassword,
    /// Changes the email of the account.
    ChangeEmail,
    /// Restores the account's former email.
    UndoEmailChange,
}

impl Purpose {
    /// The name in `email_tokens.purpose`.
    pub(in crate::user) fn as_str(self) -> &'static str {
        match self {
            Purpose::VerifyEmail => "verify_email",
            Purpose::ResetPassword => "reset_password",
            Purpose::ChangeEmail => "change_email",
            Purpose::UndoEmailChange => "undo_email_change",
        }
    }

    fn lifetime(self) -> Duration {
        match self {
            Purpose::ResetPassword => lifetimes::RESET_LINK,
            Purpose::VerifyEmail | Purpose::ChangeEmail => lifetimes::VERIFICATION_LINK,
            Purpose::UndoEmailChange => lifetimes::UNDO_LINK,
        }
    }
}

/// A link that has neither been used nor expired.
#[derive(Debug)]
pub struct PendingLink {
    /// The account.
    pub user: UserId,
    /// What it does.
    pub purpose: Purpose,
    /// The email that it was issued for.
    pub email: String,
}

/// A user whose row is locked until the end of the transaction.
pub(in crate::user) struct LockedUser {
    pub(in crate::user) id: UserId,
    pub(in crate::user) email: String,
    pub(in crate::user) email_canonical: String,
    pub(in crate::user) display_name: String,
    pub(in crate::user) email_verified_at: Option<OffsetDateTime>,
}

/// Locks the row of `user`. `None` if the user does not exist or is disabled. `FOR NO KEY UPDATE` does not
/// block the foreign-key check of a mail to this user that another user's request inserts: with `FOR UPDATE`,
/// two users who request each other's email would deadlock.
pub(in crate::user) async fn lock_owner(
    connection: &mut PgConnection,
    user: UserId,
) -> sqlx::Result<Option<LockedUser>> {
    sqlx::query_as!(
        LockedUser,
        r#"
        SELECT id AS "id: UserId", email, email_canonical, display_name, email_verified_at
          FROM users
         WHERE id = $1
           AND disabled_at IS NULL
           FOR NO KEY UPDATE
        "#,
        user as UserId,
    )
    .fetch_optional(connection)
    .await
}

/// Locks the user of a link. `None` if there is no such link. Does not check whether the link is valid;
/// [`consume`] does.
pub(in crate::user) async fn lock_owner_of(
    connection: &mut PgConnection,
    token: &Digest,
) -> sqlx::Result<Option<LockedUser>> {
    let found = sqlx::query_scalar!(
        r#"SELECT user_id AS "user_id: UserId" FROM email_tokens WHERE token_digest = $1"#,
        token.as_bytes(),
    )
    .fetch_optional(&mut *connection)
    .await?;
    match found {
        Some(user) => lock_owner(connection, user).await,
        None => Ok(None),
    }
}

/// The secrets of a new link, for the mail only.
pub(in crate::user) struct NewLink {
    pub(in crate::user) token: String,
    pub(in crate::user) code: String,
}

/// Mails a new link for `owner` to `email`, in the message that `message` makes of it. See [`send_instead`].
pub(in crate::user) async fn send(
    connection: &mut PgConnection,
    sealer: &Sealer,
    owner: UserId,
    purpose: Purpose,
    about: (&str, &str),
    message: impl FnOnce(NewLink) -> Message,
) -> sqlx::Result<Enqueued> {
    send_instead(connection, sealer, owner, purpose, about, |link| {
        (owner, about.0.to_owned(), message(link))
    })
    .await
}

/// Creates a link for `owner` about the email `about`, and sends `mail`: the account that it concerns, its
/// recipient and its message. Older links for the same purpose are deleted; but if the recipient has got too
/// much mail, nothing changes and the older links stay valid. Undo links are kept, because each restores a
/// different email. For password resets, only links to the same email are deleted: an attacker who took over
/// the account must not be able to invalidate the owner's link.
pub(in crate::user) async fn send_instead(
    connection: &mut PgConnection,
    sealer: &Sealer,
    owner: UserId,
    purpose: Purpose,
    about: (&str, &str),
    mail: impl FnOnce(NewLink) -> (UserId, String, Message),
) -> sqlx::Result<Enqueued> {
    let (secret, code) = (Secret::generate(), Code::generate());
    let digest = secret.digest();
    let with_code = matches!(purpose, Purpose::VerifyEmail | Purpose::ChangeEmail);
    let code_digest = with_code.then(|| code.digest(sealer, &row_name(digest.as_bytes())));
    let link = NewLink { token: secret.reveal(), code: code.reveal() };
    let (user, recipient, message) = mail(link);
    let enqueued = outbox::enqueue(connection, sealer, Some(user), &recipient, &message).await?;
    if !enqueued.is_sent() {
        return Ok(enqueued);
    }
    if purpose != Purpose::UndoEmailChange {
        sqlx::query!(
            r#"
            DELETE FROM email_tokens
             WHERE user_id = $1
               AND purpose = $2
               AND (purpose <> 'reset_password' OR email_canonical = $3)
            "#,
            owner as UserId,
            purpose.as_str(),
            about.1,
        )
        .execute(&mut *connection)
        .await?;
    }
    insert(connection, owner, purpose, about, &digest, code_digest).await?;
    Ok(enqueued)
}

/// Inserts a link for `owner` about `email`. Existing links are kept.
pub(in crate::user) async fn insert(
    connection: &mut PgConnection,
    owner: UserId,
    purpose: Purpose,
    (email, email_canonical): (&str, &str),
    token: &Digest,
    code_digest: Option<[u8; 32]>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO email_tokens
               (token_digest, purpose, user_id, email, email_canonical, created_at, code_digest,
                code_expires_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, clock_timestamp(), $6,
                CASE WHEN $6::bytea IS NOT NULL THEN now() + make_interval(secs => $7) END,
                now() + make_interval(secs => $8))
        "#,
        token.as_bytes(),
        purpose.as_str(),
        owner as UserId,
        email,
        email_canonical,
        code_digest.as_ref().map(|digest| &digest[..]),
        lifetimes::CODE.as_secs_f64(),
        purpose.lifetime().as_secs_f64(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The email of a link that was used.
pub(in crate::user) struct ConsumedLink {
    pub(in crate::user) email: String,
    pub(in crate::user) email_canonical: String,
}

/// Deletes a valid link of the user whom the caller has locked. `None` if it was used, has expired or has
/// another purpose, or if it is bound to an email that the account no longer has; in the last two cases it is
/// kept.
pub(in crate::user) async fn consume(
    connection: &mut PgConnection,
    owner: &LockedUser,
    purpose: Purpose,
    token: &[u8],
) -> sqlx::Result<Option<ConsumedLink>> {
    sqlx::query_as!(
        ConsumedLink,
        r#"
        DELETE FROM email_tokens
         WHERE token_digest = $1
           AND user_id = $2
           AND purpose = $3
           AND (purpose NOT IN ('verify_email', 'reset_password') OR email_canonical = $4)
           AND expires_at > now()
        RETURNING email, email_canonical
        "#,
        token,
        owner.id as UserId,
        purpose.as_str(),
        owner.email_canonical,
    )
    .fetch_optional(connection)
    .await
}

/// The outcome of entering a code.
pub(in crate::user) enum CodeOutcome {
    /// Correct. The digest of the link in the same mail, for [`consume`].
    Correct(Vec<u8>),
    /// Wrong, and the attempt was counted.
    Wrong,
    /// There is no code, or it has expired or was attempted too often.
    Expired,
}

/// Compares `code` with that of the user whom the caller has locked. The attempt is counted before the
/// comparison.
pub(in crate::user) async fn check_code(
    connection: &mut PgConnection,
    sealer: &Sealer,
    owner: UserId,
    purpose: Purpose,
    code: &Code,
) -> sqlx::Result<CodeOutcome> {
    let attempt = sqlx::query!(
        r#"
        UPDATE email_tokens
           SET code_tries = code_tries + 1
         WHERE user_id = $1
           AND purpose = $2
           AND expires_at > now()
           AND code_expires_at > now()
           AND code_tries < $3
        RETURNING token_digest, code_digest
        "#,
        owner as UserId,
        purpose.as_str(),
        MAX_CODE_ATTEMPTS,
    )
    .fetch_optional(connection)
    .await?;
    Ok(match attempt {
        None => CodeOutcome::Expired,
        Some(row) => {
            let name = row_name(&row.token_digest);
            if code.matches(sealer, &name, row.code_digest.as_deref()) {
                CodeOutcome::Correct(row.token_digest)
            } else {
                CodeOutcome::Wrong
            }
        }
    })
}

/// Finds the valid link of a token.
pub async fn find(pool: &PgPool, token: &Secret) -> sqlx::Result<Option<PendingLink>> {
    let token = token.digest();
    let found = sqlx::query!(
        r#"
        SELECT t.user_id AS "user_id: UserId", t.purpose, t.email
          FROM email_tokens t
          JOIN users u ON u.id = t.user_id
         WHERE t.token_digest = $1
           AND t.expires_at > now()
           AND (t.purpose NOT IN ('verify_email', 'reset_password') OR t.email_canonical = u.email_canonical)
           AND u.disabled_at IS NULL
        "#,
        token.as_bytes(),
    )
    .fetch_optional(db::on(pool))
    .await?;
    Ok(found.and_then(|row| pending_link(row.user_id, &row.purpose, row.email)))
}

/// The user of the link of a token, whether it is valid or not. `None` if it was used or never issued.
pub async fn owner_of(pool: &PgPool, token: &Digest) -> sqlx::Result<Option<UserId>> {
    sqlx::query_scalar!(
        r#"SELECT user_id AS "user_id: UserId" FROM email_tokens WHERE token_digest = $1"#,
        token.as_bytes(),
    )
    .fetch_optional(db::on(pool))
    .await
}

/// Whether `owner` has a valid link for `purpose` that was sent to the email that the account has.
pub(in crate::user) async fn has_valid_link(
    connection: &mut PgConnection,
    owner: &LockedUser,
    purpose: Purpose,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
               SELECT FROM email_tokens
                WHERE user_id = $1
                  AND purpose = $2
                  AND email_canonical = $3
                  AND expires_at > now()) AS "exists!"
        "#,
        owner.id as UserId,
        purpose.as_str(),
        owner.email_canonical,
    )
    .fetch_one(connection)
    .await
}

/// The links of `user` that verify the email of the account or a new one.
pub async fn list_for_user(pool: &PgPool, user: UserId) -> sqlx::Result<Vec<PendingLink>> {
    let found = sqlx::query!(
        r#"
        SELECT user_id AS "user_id: UserId", purpose, email
          FROM email_tokens
         WHERE user_id = $1
           AND purpose IN ('verify_email', 'change_email')
           AND expires_at > now()
         ORDER BY created_at
        "#,
        user as UserId,
    )
    .fetch_all(db::on(pool))
    .await?;
    Ok(found
        .into_iter()
        .filter_map(|row| pending_link(row.user_id, &row.purpose, row.email))
        .collect())
}

fn pending_link(user: UserId, purpose: &str, email: String) -> Option<PendingLink> {
    let all = [
        Purpose::VerifyEmail,
        Purpose::ResetPassword,
        Purpose::ChangeEmail,
        Purpose::UndoEmailChange,
    ];
    let purpose = all.into_iter().find(|one| one.as_str() == purpose)?;
    Some(PendingLink { user, purpose, email })
}

/// Names the row that a code is bound to.
fn row_name(token_digest: &[u8]) -> String {
    format!("email_tokens:{}", hex::encode(token_digest))
}
