//! The address of somebody who has an account: shown to be theirs by a link or a code that was mailed to it. A link for
//! another address makes that one the account's. Whoever calls has made sure that it is the owner of the account who asks:
//! the link alone, read by a stranger, confirms nothing.

use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::code::Code;
use super::email_change;
use super::email_token::{self, CodeTry, Owner, Purpose};
use super::rules::Ended;
use crate::audit::Origin;
use crate::db;
use crate::id::{SessionId, UserId};
use crate::mail::{Message, outbox};
use crate::seal::Sealer;
use crate::secret::Secret;

/// What came of [`send`].
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// A link and a code are on their way to the address of the account.
    Sent,
    /// It is shown already.
    AlreadyVerified,
}

/// Sends a link and a code to the address that the account has; an older one is dead.
pub async fn send(pool: &PgPool, sealer: Sealer, user: UserId) -> sqlx::Result<Sent> {
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let owner = email_token::lock_owner(connection, user).await?;
            let Some(owner) = owner.filter(|owner| owner.email_verified_at.is_none()) else {
                return Ok(Sent::AlreadyVerified);
            };
            let about = (owner.email.as_str(), owner.email_canonical.as_str());
            let purpose = Purpose::VerifyEmail;
            let issued = email_token::issue(connection, &sealer, user, purpose, about).await?;
            let message = Message::VerifyEmail {
                display_name: owner.display_name.clone(),
                token: issued.token,
                code: issued.code,
            };
            outbox::enqueue(connection, &sealer, Some(user), &owner.email, &message).await?;
            Ok(Sent::Sent)
        })
    })
    .await
}

/// What came of a link or a code.
#[derive(Debug)]
pub enum Confirmed {
    /// The address is shown, and is the one of the account.
    Done {
        /// Whose.
        user: UserId,
        /// Which.
        email: String,
        /// The new secret of the session in which it was done, where the address became another one.
        secret: Option<Secret>,
        /// The address became another one: every session but that one is over.
        changed: bool,
    },
    /// That was not the code; it was counted.
    WrongCode,
    /// There is no such link or code any more, or the address has become another account's.
    Gone,
}

/// Who uses a link or a code, in which session of the account, if in one.
#[derive(Clone, Debug)]
pub struct Asker {
    /// It goes on when the address becomes another one; the others end.
    pub session: Option<SessionId>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Uses up a link of `user` that confirms an address.
pub async fn confirm_by_link(
    pool: &PgPool,
    sealer: Sealer,
    user: UserId,
    token: &Secret,
    asker: Asker,
) -> sqlx::Result<Confirmed> {
    let token = token.digest();
    let confirmed = db::transaction(pool, move |connection| {
        Box::pin(async move {
            let Some(owner) = email_token::lock_owner(connection, user).await? else {
                return Ok(Confirmed::Gone);
            };
            use_up(connection, &sealer, owner, token.as_bytes(), &asker, "link").await
        })
    })
    .await;
    confirmed.or_else(gone_when_taken)
}

/// Uses up a code of `user`, who is signed in. `purpose` is for which of the two addresses it was typed: the account's own
/// ([`Purpose::VerifyEmail`]) or a new one ([`Purpose::ChangeEmail`]).
pub async fn confirm_by_code(
    pool: &PgPool,
    sealer: Sealer,
    user: UserId,
    purpose: Purpose,
    code: Code,
    asker: Asker,
) -> sqlx::Result<Confirmed> {
    let confirmed = db::transaction(pool, move |connection| {
        Box::pin(async move {
            let Some(owner) = email_token::lock_owner(connection, user).await? else {
                return Ok(Confirmed::Gone);
            };
            match email_token::try_code(connection, &sealer, user, purpose, &code).await? {
                CodeTry::Right(token) => {
                    use_up(connection, &sealer, owner, &token, &asker, "code").await
                }
                CodeTry::Wrong => Ok(Confirmed::WrongCode),
                CodeTry::Dead => Ok(Confirmed::Gone),
            }
        })
    })
    .await;
    confirmed.or_else(gone_when_taken)
}

async fn use_up(
    connection: &mut PgConnection,
    sealer: &Sealer,
    owner: Owner,
    token: &[u8],
    asker: &Asker,
    by: &'static str,
) -> sqlx::Result<Confirmed> {
    let user = owner.id();
    let origin = &asker.origin;
    let own = email_token::consume(connection, user, Purpose::VerifyEmail, token).await?;
    if let Some(own) = own {
        // The link was sent to the address that the account had then; it says nothing of another.
        if own.email_canonical != owner.email_canonical {
            return Ok(Confirmed::Gone);
        }
        verified(connection, user).await?;
        email_change::record(connection, "email_verified", user, json!({ "by": by }), origin)
            .await?;
        let (secret, changed) = (None, false);
        return Ok(Confirmed::Done { user, email: owner.email, secret, changed });
    }
    let new = email_token::consume(connection, user, Purpose::ChangeEmail, token).await?;
    let Some(new) = new else { return Ok(Confirmed::Gone) };
    let ended = email_change::apply(connection, sealer, owner, &new, asker, by).await?;
    Ok(match ended {
        Some(Ended { secret, .. }) => {
            Confirmed::Done { user, email: new.email, secret, changed: true }
        }
        None => Confirmed::Gone,
    })
}

async fn verified(connection: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE users SET email_verified_at = COALESCE(email_verified_at, now()) WHERE id = $1",
        user.uuid(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn gone_when_taken(error: sqlx::Error) -> sqlx::Result<Confirmed> {
    if email_change::is_taken(&error) { Ok(Confirmed::Gone) } else { Err(error) }
}
