//! What happens to accounts, for the hooks of a site: its own functions that Frontdesk calls.
//!
//! Two kinds of hooks exist:
//!
//! * `on_…` runs in the transaction of the event. If it fails, nothing happened: the account is not created, the
//!   email not changed. It may take two seconds, all hooks of one event together five. It must not call
//!   other programs: rows of the account are locked meanwhile.
//! * `after_…` runs after the commit, at least once, possibly on another server and more than once. It is the place
//!   for calls to other programs.
//!
//! A hook in the transaction gets a connection on which a statement finds the tables of the site first
//! (`FRONTDESK_SITE_SCHEMA`), and then those of Frontdesk:
//!
//! ```no_run
//! use frontdesk::events::Registered;
//! use frontdesk::{HookResult, Website};
//! use sqlx::PgConnection;
//!
//! async fn welcome(event: Registered, connection: &mut PgConnection) -> HookResult {
//!     let insert = sqlx::query("INSERT INTO notes (owner_id, body) VALUES ($1, 'Welcome!')");
//!     insert.bind(event.user).execute(connection).await?;
//!     Ok(())
//! }
//!
//! Website::new(frontdesk::embed!()).on_registered(welcome).main();
//! ```

mod deliveries;
mod delivery;
mod hook;
mod list;
mod mailer;
mod registry;
mod run;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::id::UserId;
use crate::language::ENGLISH;

#[doc(hidden)]
pub use deliveries::{Source, purge};
pub use hook::{BoxError, Hook, HookResult};
#[doc(hidden)]
pub use hook::{HookFuture, WithMailer, WithoutMailer};
#[doc(hidden)]
pub use list::{Delivery, count_failed, list, retry};
#[doc(hidden)]
pub use mailer::{Enqueuing, SiteOutbox};
pub use mailer::{MailOutcome, Mailer};
#[doc(hidden)]
pub use registry::{After, RegisteredHooks};
#[doc(hidden)]
pub use run::Hooks;

/// An account was created. The event is in the transaction that inserts the user: if registrations are verified, after
/// the user has verified the email.
///
/// ```
/// use frontdesk::HookResult;
/// use frontdesk::events::Registered;
/// use frontdesk::sqlx::{self, PgConnection};
///
/// async fn welcome(event: Registered, connection: &mut PgConnection) -> HookResult {
///     let insert = sqlx::query("INSERT INTO notes (owner_id, body) VALUES ($1, 'Welcome!')");
///     insert.bind(event.user).execute(connection).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Registered {
    /// `users.id`, the target of the site's foreign keys.
    pub user: Uuid,
    /// The email as the user typed it.
    pub email: String,
    /// The name that pages show.
    pub display_name: String,
    /// The language of the user, `en`.
    pub language: String,
    /// How the account was created.
    pub by: RegisteredBy,
}

impl Registered {
    pub(crate) fn new(user: UserId, email: &str, display_name: &str, by: RegisteredBy) -> Self {
        Self {
            user: user.uuid(),
            email: email.to_owned(),
            display_name: display_name.to_owned(),
            language: ENGLISH.to_owned(),
            by,
        }
    }
}

/// How an account was created.
///
/// ```
/// use frontdesk::events::{Registered, RegisteredBy};
///
/// fn needs_a_tour(event: &Registered) -> bool {
///     matches!(event.by, RegisteredBy::User | RegisteredBy::Invitation)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisteredBy {
    /// The user registered.
    User,
    /// An administrator created it on the command line.
    Admin,
    /// The user accepted an invitation.
    Invitation,
    /// It was imported from another system.
    Import,
}

/// The email of an account was changed: by the user, by an administrator, or back to the former one.
///
/// ```
/// use frontdesk::HookResult;
/// use frontdesk::events::EmailChanged;
/// use frontdesk::sqlx::{self, PgConnection};
///
/// async fn rename(event: EmailChanged, connection: &mut PgConnection) -> HookResult {
///     let update = sqlx::query("UPDATE subscribers SET email = $2 WHERE user_id = $1");
///     update.bind(event.user).bind(event.new_email).execute(connection).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EmailChanged {
    /// `users.id`.
    pub user: Uuid,
    /// The former email.
    pub old_email: String,
    /// The email of the account from now on. They may differ in upper and lower case only.
    pub new_email: String,
}

impl EmailChanged {
    pub(crate) fn new(user: UserId, old_email: String, new_email: &str) -> Self {
        Self { user: user.uuid(), old_email, new_email: new_email.to_owned() }
    }
}

/// An account is being deleted. Its row still exists. Rows of the site that refer to it with `ON DELETE CASCADE` or
/// `ON DELETE SET NULL` need no hook.
///
/// ```
/// use frontdesk::HookResult;
/// use frontdesk::events::Deletion;
/// use frontdesk::sqlx::{self, PgConnection};
///
/// async fn forget(event: Deletion, connection: &mut PgConnection) -> HookResult {
///     let delete = sqlx::query("DELETE FROM newsletter WHERE email = $1");
///     delete.bind(event.email).execute(connection).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deletion {
    /// `users.id`.
    pub user: Uuid,
    /// The email of the account.
    pub email: String,
}

impl Deletion {
    pub(crate) fn new(user: UserId, email: &str) -> Self {
        Self { user: user.uuid(), email: email.to_owned() }
    }
}

/// A user exports everything that is stored about them. What the hook returns is in the file as `website.<name>`. The
/// hooks of a site may return 16 MiB of JSON together; put links to large files into it. The transaction is
/// REPEATABLE READ.
///
/// ```
/// use frontdesk::HookResult;
/// use frontdesk::events::Export;
/// use frontdesk::sqlx::{self, PgConnection};
/// use serde_json::{Value, json};
///
/// async fn notes(event: Export, connection: &mut PgConnection) -> HookResult<Value> {
///     let select = sqlx::query_scalar("SELECT body FROM notes WHERE owner_id = $1");
///     let notes: Vec<String> = select.bind(event.user).fetch_all(connection).await?;
///     Ok(json!(notes))
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Export {
    /// `users.id`.
    pub user: Uuid,
}

impl Export {
    pub(crate) fn new(user: UserId) -> Self {
        Self { user: user.uuid() }
    }
}

/// What is stored about an event until its hook has run, sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Details {
    pub(crate) user: Uuid,
    pub(crate) email: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) at: OffsetDateTime,
    pub(crate) ip_address: Option<IpAddr>,
    pub(crate) device: Option<String>,
}

/// Defines the events after a commit, which have the same fields.
macro_rules! after_events {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        ///
        /// The hook may run more than once for one event, and events may arrive in another order. To do something only
        /// once, insert `id` into a table of the site with a primary key:
        ///
        /// ```
        /// use frontdesk::HookResult;
        #[doc = concat!("use frontdesk::events::", stringify!($name), ";")]
        /// use frontdesk::sqlx::{self, PgConnection};
        ///
        #[doc = concat!("async fn count(event: ", stringify!($name), ", connection: &mut PgConnection) -> HookResult {")]
        ///     let insert = sqlx::query("INSERT INTO counted (id) VALUES ($1) ON CONFLICT DO NOTHING");
        ///     insert.bind(event.id).execute(connection).await?;
        ///     Ok(())
        /// }
        /// ```
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub struct $name {
            /// Identifies the event (UUID version 7). It is the same at each attempt.
            pub id: Uuid,
            /// `users.id`. The account may not exist any longer.
            pub user: Uuid,
            /// The email that the account had.
            pub email: String,
            /// When it happened.
            pub at: OffsetDateTime,
            /// Where the request came from. `None` for the command line and background jobs.
            pub ip_address: Option<IpAddr>,
            /// The browser and operating system, for example “Firefox on Linux”.
            pub device: Option<String>,
        }

        impl From<(Uuid, Details)> for $name {
            fn from((id, details): (Uuid, Details)) -> Self {
                let Details { user, email, at, ip_address, device } = details;
                Self { id, user, email, at, ip_address, device }
            }
        }
    )*};
}

after_events! {
    /// A user signed in.
    SignedIn
    /// A user signed out, in this browser or of another device.
    SignedOut
    /// A password was changed by its user, with a mailed link, or by an administrator.
    PasswordChanged
    /// An account was deleted.
    Deleted
}
