//! Mail of a site, for its handlers, hooks, jobs and commands. A higher layer implements it (`mail/site_mail.rs`).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::id::UserId;

/// What became of a mail of the site.
///
/// ```
/// use frontdesk::{MailOutcome, Notice};
///
/// fn notice(outcome: MailOutcome) -> Notice {
///     match outcome {
///         MailOutcome::Queued => Notice::success("The invitation is on its way."),
///         _ => Notice::warning("This person cannot get mail at the moment."),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MailOutcome {
    /// It is in the outbox, and will be sent after the commit.
    Queued,
    /// It is not sent: the user has got enough mail of the site.
    OverLimit,
    /// It is not sent: the user has not verified the email, which may belong to a stranger.
    Unverified,
    /// It is not sent: the account does not exist.
    NoSuchUser,
}

/// A running insertion into the outbox.
pub type Enqueuing<'c> = Pin<Box<dyn Future<Output = sqlx::Result<MailOutcome>> + Send + 'c>>;

/// Puts mail of a site into the outbox.
pub trait SiteOutbox: Send + Sync {
    /// Inserts the mail `kind` for `user`, rendered later with `data`.
    fn enqueue<'c>(
        &'c self,
        connection: &'c mut PgConnection,
        user: UserId,
        kind: &'c str,
        data: Value,
    ) -> Enqueuing<'c>;
}

/// Sends mail of the site to its users, through the outbox of Frontdesk. Handlers extract it, hooks may have it as their
/// third argument, and [`JobContext`](crate::JobContext) and [`CommandContext`](crate::CommandContext) have it. It is
/// cheap to clone.
///
/// ```
/// use frontdesk::events::Registered;
/// use frontdesk::sqlx::PgConnection;
/// use frontdesk::{HookResult, Mailer};
/// use serde_json::json;
///
/// async fn welcome(event: Registered, connection: &mut PgConnection, mailer: Mailer) -> HookResult {
///     mailer.enqueue(connection, event.user, "welcome", &json!({ "plan": "free" })).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Mailer(Arc<dyn SiteOutbox>);

impl Mailer {
    /// A mailer on this outbox.
    pub(crate) fn new(outbox: impl SiteOutbox + 'static) -> Self {
        Self(Arc::new(outbox))
    }

    /// Sends the mail `mail` to `user` (`users.id`): the templates `mail/<mail>/subject.txt`, `body.txt` and `body.html` of
    /// the site, with `data`, in the language of the user. It is sent if and only if the transaction of `connection`
    /// commits; a connection without one commits it immediately. After two days it is no longer sent, and it is deleted
    /// with the account.
    ///
    /// Commit soon: until then, other mail to this user waits, and with it what the user does. A job that writes to many
    /// users has a transaction for each.
    ///
    /// A user whose email is not verified gets none, and all users get a limited number of the site's mails
    /// ([`MailOutcome`]). The subject must not contain what someone typed: they could make the site send any text to
    /// anyone.
    ///
    /// `data` has the fields of an object. The error names a template that is missing.
    pub async fn enqueue(
        &self,
        connection: &mut PgConnection,
        user: Uuid,
        mail: &str,
        data: &impl Serialize,
    ) -> sqlx::Result<MailOutcome> {
        let data = serde_json::to_value(data).map_err(|error| sqlx::Error::Encode(error.into()))?;
        self.0.enqueue(connection, UserId::from(user), mail, data).await
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Mailer")
    }
}
