//! Rows of `email_tokens`: links and codes that were mailed to people with an account. Each is good once, for a while, for
//! the address that it was made for and for no other (Devise, CVE-2026-32700): a link that confirms the address of the
//! account, or sets its password, counts only while the account has the address that it was mailed to. Only digests are
//! stored.
//!
//! Who changes a row of `email_tokens` holds the lock on its row of `users` (`lock_owner`): uses, newer links and
//! changes of password or address wait for each other, in one order, and each sees what the one before it did.

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::address::EmailAddress;
use super::code::{CODE_SECONDS, CODE_TRIES, Code};
use crate::crypto::seal::Sealer;
use crate::crypto::secret::{Digest, Secret};
use crate::id::UserId;

/// What a link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Shows that the address of the account is read by its owner.
    VerifyEmail,
    /// Sets a password for somebody who forgot theirs.
    ResetPassword,
    /// Makes another address the one of the account.
    ChangeEmail,
    /// Gives the account its former address back.
    UndoEmailChange,
}

impl Purpose {
    /// As `email_tokens.purpose` spells it.
    pub(in crate::user) fn as_str(self) -> &'static str {
        match self {
            Purpose::VerifyEmail => "verify_email",
            Purpose::ResetPassword => "reset_password",
            Purpose::ChangeEmail => "change_email",
            Purpose::UndoEmailChange => "undo_email_change",
        }
    }

    /// In seconds: from half an hour for what sets a password to a week for what gives an address back.
    fn lifetime(self) -> f64 {
        match self {
            Purpose::ResetPassword => 30.0 * 60.0,
            Purpose::VerifyEmail | Purpose::ChangeEmail => 24.0 * 3600.0,
            Purpose::UndoEmailChange => 7.0 * 24.0 * 3600.0,
        }
    }
}

/// A link that is still good, as a page shows it before anybody pressed its button.
#[derive(Debug)]
pub struct PendingLink {
    /// Whose account.
    pub user: UserId,
    /// What it does.
    pub purpose: Purpose,
    /// The address it is about.
    pub email: String,
}

/// The account of a link or a code, locked until the end of the transaction.
pub(in crate::user) struct Owner {
    pub(in crate::user) id: UserId,
    pub(in crate::user) email: String,
    pub(in crate::user) email_canonical: String,
    pub(in crate::user) display_name: String,
    pub(in crate::user) email_verified_at: Option<OffsetDateTime>,
}

/// Locks the row of `user`; `None` when it is gone or disabled. The lock admits the foreign keys of mail to this user that
/// another account's form causes: with `FOR UPDATE`, two accounts that ask for each other's email would wait for each other.
pub(in crate::user) async fn lock_owner(
    connection: &mut PgConnection,
    user: UserId,
) -> sqlx::Result<Option<Owner>> {
    sqlx::query_as!(
        Owner,
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

/// Locks the account that a link is for; `None` when there is no such link. What the link is good for is only known after
/// [`consume`].
pub(in crate::user) async fn lock_owner_of(
    connection: &mut PgConnection,
    token: &Digest,
) -> sqlx::Result<Option<Owner>> {
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

/// What [`issue`] made: for the mail, and nowhere else.
pub(in crate::user) struct Issued {
    pub(in crate::user) token: String,
    pub(in crate::user) code: String,
}

/// Creates a link for `owner` about `email` and deletes older links for the same purpose. Undo links are kept, because each
/// restores another email. For password resets only links to the same email are deleted: someone who took over the
/// account must not end the link that its owner was mailed.
pub(in crate::user) async fn issue(
    connection: &mut PgConnection,
    sealer: &Sealer,
    owner: UserId,
    purpose: Purpose,
    (email, email_canonical): (&str, &str),
) -> sqlx::Result<Issued> {
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
            email_canonical,
        )
        .execute(&mut *connection)
        .await?;
    }
    let (secret, code) = (Secret::generate(), Code::generate());
    let digest = secret.digest();
    let with_code = matches!(purpose, Purpose::VerifyEmail | Purpose::ChangeEmail);
    let code_digest = with_code.then(|| code.digest(sealer, &row_name(digest.as_bytes())));
    let about = (email, email_canonical);
    insert(connection, owner, purpose, about, &digest, code_digest).await?;
    Ok(Issued { token: secret.reveal(), code: code.reveal() })
}

/// Inserts a link for `owner`, about `email`, beside those that are there.
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
        CODE_SECONDS,
        purpose.lifetime(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What a link or a code was good for, now that it is used up.
pub(in crate::user) struct Consumed {
    pub(in crate::user) email: String,
    pub(in crate::user) email_canonical: String,
}

/// Uses a link up, for the account that the caller has locked; `None` when it is used, expired, for something else, or
/// counts only for an address that the account does not have: then it is still there.
pub(in crate::user) async fn consume(
    connection: &mut PgConnection,
    owner: &Owner,
    purpose: Purpose,
    token: &[u8],
) -> sqlx::Result<Option<Consumed>> {
    sqlx::query_as!(
        Consumed,
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

/// What came of a code.
pub(in crate::user) enum CodeTry {
    /// Right; the digest of the link that goes with it, for [`consume`].
    Right(Vec<u8>),
    /// Wrong, and counted.
    Wrong,
    /// There is none, or it is too old, or it was tried too often.
    Dead,
}

/// Compares a code with that of the account that the caller has locked. It counts before it is compared.
pub(in crate::user) async fn try_code(
    connection: &mut PgConnection,
    sealer: &Sealer,
    owner: UserId,
    purpose: Purpose,
    code: &Code,
) -> sqlx::Result<CodeTry> {
    let tried = sqlx::query!(
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
        CODE_TRIES,
    )
    .fetch_optional(connection)
    .await?;
    Ok(match tried {
        None => CodeTry::Dead,
        Some(row) => {
            let name = row_name(&row.token_digest);
            if code.is(sealer, &name, row.code_digest.as_deref()) {
                CodeTry::Right(row.token_digest)
            } else {
                CodeTry::Wrong
            }
        }
    })
}

/// The link of a token, if it is good now. Changes nothing.
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
    .fetch_optional(pool)
    .await?;
    Ok(found.and_then(|row| pending(row.user_id, &row.purpose, row.email)))
}

/// Whether `owner` has a link for `purpose` that is still good and went to the address that the account has.
pub(in crate::user) async fn is_alive(
    connection: &mut PgConnection,
    owner: &Owner,
    purpose: Purpose,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
               SELECT FROM email_tokens
                WHERE user_id = $1
                  AND purpose = $2
                  AND email_canonical = $3
                  AND expires_at > now()) AS "alive!"
        "#,
        owner.id as UserId,
        purpose.as_str(),
        owner.email_canonical,
    )
    .fetch_one(connection)
    .await
}

/// What `user` has to confirm: the own address, or another one.
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
    .fetch_all(pool)
    .await?;
    Ok(found.into_iter().filter_map(|row| pending(row.user_id, &row.purpose, row.email)).collect())
}

fn pending(user: UserId, purpose: &str, email: String) -> Option<PendingLink> {
    let all = [
        Purpose::VerifyEmail,
        Purpose::ResetPassword,
        Purpose::ChangeEmail,
        Purpose::UndoEmailChange,
    ];
    let purpose = all.into_iter().find(|one| one.as_str() == purpose)?;
    Some(PendingLink { user, purpose, email })
}

/// An address that may go back to an account within the week after a change: nobody takes it unproven meanwhile.
pub(in crate::user) async fn is_kept_for_undo(
    connection: &mut PgConnection,
    email: &EmailAddress,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
               SELECT FROM email_tokens
                WHERE purpose = 'undo_email_change'
                  AND email_canonical = $1
                  AND expires_at > now()) AS "kept!"
        "#,
        email.canonical(),
    )
    .fetch_one(connection)
    .await
}

/// The row that a code is bound to.
fn row_name(token_digest: &[u8]) -> String {
    let hex: String = token_digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("email_tokens:{hex}")
}
