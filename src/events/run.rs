//! Runs the hooks of an event in the transaction of the event.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use tokio::time::timeout;

use super::hook::{BoxError, HookFuture};
use super::mailer::Mailer;
use super::registry::{RegisteredHooks, Registration};
use super::{Deletion, EmailChanged, Export, Registered};
use crate::crypto::seal::Sealer;
use crate::db;

/// How long one hook may take.
const LIMIT: Duration = Duration::from_secs(2);
/// How long all hooks of one event may take: less than the deadline of a transaction, which continues afterwards.
const TOTAL_LIMIT: Duration = Duration::from_secs(5);
/// The statement timeout inside of hooks. PostgreSQL does not notice a closed connection during a statement: without it,
/// a statement of a hook that was given up would keep its locks.
const STATEMENT_TIMEOUT: &str = "2s";
/// What the export hooks of a site may return together, in bytes of JSON. They are held in memory.
const MAX_EXPORT: usize = 16 * 1024 * 1024;

/// The hooks of the site, which the functions of the domain receive and call in their transactions. Cheap to clone.
/// Without a hook for an event, it costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Hooks(Option<Arc<Parts>>);

pub(super) struct Parts {
    pub(super) registered: RegisteredHooks,
    /// Finds the tables of the site first.
    search_path: String,
    /// Seals the details of events that are delivered after the commit.
    pub(super) sealer: Sealer,
    pub(super) mailer: Mailer,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.registered.fmt(out)
    }
}

impl Hooks {
    /// `search_path` is that of the site's statements.
    pub fn new(
        registered: &RegisteredHooks,
        search_path: String,
        sealer: Sealer,
        mailer: Mailer,
    ) -> Self {
        if registered.names().is_empty() {
            return Self(None);
        }
        let registered = registered.clone();
        Self(Some(Arc::new(Parts { registered, search_path, sealer, mailer })))
    }

    pub(super) fn parts(&self) -> Option<&Parts> {
        self.0.as_deref()
    }

    pub(super) fn shared_parts(&self) -> Option<Arc<Parts>> {
        self.0.clone()
    }

    /// Whether accounts that are created have a hook.
    pub fn has_registered(&self) -> bool {
        self.parts().is_some_and(|parts| !parts.registered.registered.is_empty())
    }

    /// Accounts were created in the caller's transaction. The time for all hooks counts for each of them.
    pub async fn registered(
        &self,
        connection: &mut PgConnection,
        events: &[Registered],
    ) -> sqlx::Result<()> {
        let Some(parts) = self.parts() else { return Ok(()) };
        let hooks = &parts.registered.registered;
        run(parts, "on_registered", hooks, connection, events, |_, ()| Ok(())).await
    }

    /// An email was changed in the caller's transaction.
    pub async fn email_changed(
        &self,
        connection: &mut PgConnection,
        event: EmailChanged,
    ) -> sqlx::Result<()> {
        let Some(parts) = self.parts() else { return Ok(()) };
        let hooks = &parts.registered.email_changed;
        run(parts, "on_email_changed", hooks, connection, &[event], |_, ()| Ok(())).await
    }

    /// An account is about to be deleted in the caller's transaction.
    pub async fn deletion(
        &self,
        connection: &mut PgConnection,
        event: Deletion,
    ) -> sqlx::Result<()> {
        let Some(parts) = self.parts() else { return Ok(()) };
        let hooks = &parts.registered.deletion;
        run(parts, "on_deletion", hooks, connection, &[event], |_, ()| Ok(())).await
    }

    /// What the site has stored about a user, by the names of the hooks. Empty without a hook.
    pub async fn export(
        &self,
        connection: &mut PgConnection,
        event: Export,
    ) -> sqlx::Result<Map<String, Value>> {
        let (mut values, mut length) = (Map::new(), 0);
        let Some(parts) = self.parts() else { return Ok(values) };
        let hooks = &parts.registered.export;
        let keep = |name: &str, value: Value| {
            length += serde_json::to_vec(&value)?.len();
            if length > MAX_EXPORT {
                let limit = MAX_EXPORT / 1024 / 1024;
                let problem = format!("the exports of the site are larger than {limit} MiB");
                return Err(BoxError::from(problem));
            }
            values.insert(name.to_owned(), value);
            Ok(())
        };
        run(parts, "on_export", hooks, connection, &[event], keep).await?;
        Ok(values)
    }
}

/// Runs `hooks` for each of `events` in their order, and passes what they return to `keep`.
async fn run<E: Clone, T>(
    parts: &Parts,
    event_name: &'static str,
    hooks: &[Registration<E, T>],
    connection: &mut PgConnection,
    events: &[E],
    mut keep: impl FnMut(&str, T) -> Result<(), BoxError>,
) -> sqlx::Result<()> {
    if hooks.is_empty() || events.is_empty() {
        return Ok(());
    }
    let former = enter(connection, &parts.search_path).await?;
    for event in events {
        let started_at = Instant::now();
        for Registration { name, hook, .. } in hooks {
            let limit = LIMIT.min(TOTAL_LIMIT.saturating_sub(started_at.elapsed()));
            let run = async {
                let value =
                    call(limit, || hook.call(event.clone(), &mut *connection, &parts.mailer))
                        .await?;
                check(connection).await?;
                keep(name, value).map_err(Failure::Error)
            };
            run.await.map_err(|failure| failure.report(event_name, name))?;
        }
    }
    leave(connection, &former).await
}

/// Calls a hook, for `limit` at most, and catches its panics.
pub(super) async fn call<'c, T>(
    limit: Duration,
    start: impl FnOnce() -> HookFuture<'c, T>,
) -> Result<T, Failure> {
    let guarded = AssertUnwindSafe(async { start().await }).catch_unwind();
    match timeout(limit, guarded).await {
        Ok(Ok(Ok(value))) => Ok(value),
        Ok(Ok(Err(error))) => Err(Failure::Error(error)),
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure::Panic(text.unwrap_or("no message").replace('\0', "\u{FFFD}")))
        }
        Err(_) => Err(Failure::Timeout(limit)),
    }
}

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It returned an error.
    #[error("{}", explain(.0))]
    Error(BoxError),
    /// It took too long.
    #[error("it took longer than {:.1} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// It panicked.
    #[error("it panicked: {0}")]
    Panic(String),
    /// It committed or rolled back.
    #[error(
        "it ended the transaction, which belongs to Frontdesk: use a savepoint (`connection.begin()`) instead of COMMIT and ROLLBACK"
    )]
    EndedTransaction,
    /// The transaction cannot be continued.
    #[error("a statement failed, and the hook ignored that: {}", db::reason(.0))]
    Unusable(sqlx::Error),
}

fn explain(error: &BoxError) -> String {
    let database = error.downcast_ref::<sqlx::Error>();
    // PostgreSQL stores no text with a NUL character.
    database.map_or_else(|| error.to_string(), db::reason).replace('\0', "\u{FFFD}")
}

impl Failure {
    /// Whether the connection is closed: a statement of the hook may still run on it, or the hook has changed it
    /// outside of the transaction.
    pub(super) fn is_interruption(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Panic(_) | Self::EndedTransaction)
    }

    /// Logs the failure, and makes an error of it that rolls the transaction back.
    fn report(self, event: &'static str, hook: &str) -> sqlx::Error {
        let cause = self.to_string();
        if matches!(self, Self::EndedTransaction) {
            tracing::error!(
                hook,
                event,
                error = cause,
                "a hook of the site failed; it may have committed a part"
            );
        } else {
            tracing::error!(
                hook,
                event,
                error = cause,
                "a hook of the site failed; nothing was changed"
            );
        }
        self.into_error(&format!("the hook {event} {hook}"))
    }

    fn into_error(self, hook: &str) -> sqlx::Error {
        let text = format!("{hook} failed: {self}");
        let is_interruption = self.is_interruption();
        // The transaction can be run once more after a conflict with another one.
        let conflict = match self {
            Self::Error(error) => error.downcast::<sqlx::Error>().ok().map(|error| *error),
            Self::Unusable(error) => Some(error),
            _ => None,
        };
        match conflict.filter(db::is_retryable) {
            Some(error) => error,
            None => db::hook_failed(text, is_interruption),
        }
    }
}

/// The settings of a transaction that hooks change.
struct Former {
    search_path: String,
    statement_timeout: String,
}

/// Lets statements find the tables of the site first.
async fn enter(connection: &mut PgConnection, search_path: &str) -> sqlx::Result<Former> {
    let enter = "
          WITH former AS MATERIALIZED (
               SELECT current_setting('search_path') AS search_path,
                      current_setting('statement_timeout') AS statement_timeout)
        SELECT search_path, statement_timeout,
               set_config('search_path', $1, true), set_config('statement_timeout', $2, true)
          FROM former";
    let (search_path, statement_timeout, _, _): (String, String, String, String) =
        sqlx::query_as(enter)
            .bind(search_path)
            .bind(STATEMENT_TIMEOUT)
            .fetch_one(connection)
            .await?;
    Ok(Former { search_path, statement_timeout })
}

/// Checks after a hook that the transaction is still the same one, and can be continued.
async fn check(connection: &mut PgConnection) -> Result<(), Failure> {
    let check = "SELECT coalesce(current_setting('frontdesk.actor', true), '') = 'frontdesk'";
    let is_same = sqlx::query_scalar(check).fetch_one(connection).await;
    match is_same {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::EndedTransaction),
        Err(error) => Err(Failure::Unusable(error)),
    }
}

/// Takes back what [`enter`] changed.
async fn leave(connection: &mut PgConnection, former: &Former) -> sqlx::Result<()> {
    sqlx::query(
        // Not only of the transaction: a hook may have set the search path of the connection, which keeps it otherwise.
        "SELECT set_config('search_path', $1, false), set_config('statement_timeout', $2, true)",
    )
    .bind(&former.search_path)
    .bind(&former.statement_timeout)
    .execute(connection)
    .await?;
    Ok(())
}
