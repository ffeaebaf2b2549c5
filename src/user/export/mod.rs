//! Exports all data that is held about a user as readable JSON, for that user. Must not contain a credential
//! or anything it could be derived from: no hash, no digest, no sealed mail.
//!
//! The export is produced in pages while the client reads it, so its memory does not depend on its size. Each
//! page is its own short transaction that continues after the last row of the previous one. So a client that
//! reads slowly occupies no connection, and no snapshot that would keep PostgreSQL from removing dead rows.
//! Each page checks that the session still exists.

mod lists;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::audit::{self, Event, EventKind};
use crate::crypto::seal::Sealer;
use crate::db;
use crate::events::{self, Hooks};
use crate::id::UserId;
use crate::mail::{Message, outbox};
use crate::session::{Lock, Requester, SessionEnded, notice};
use lists::{Account, List, PAGE_SIZE, Position, Row};

/// The time after which an export ends incomplete. A client that reads even slower occupies a slot for no
/// longer.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// Exports of this server that may run at the same time.
const MAX_RUNNING: usize = 16;
/// Pages that may be read at the same time, so that exports leave connections to other requests.
const MAX_READING: usize = 2;

/// The slots of the exports of one server. Clones share them.
#[derive(Clone)]
pub struct Exports {
    running: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

impl Default for Exports {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
            reading: Arc::new(Semaphore::new(MAX_READING)),
        }
    }
}

/// Why an export did not start, or ended incomplete.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The session of the requester has ended.
    #[error("the session has ended")]
    SessionEnded,
    /// Too many exports are running.
    #[error("too many exports are running")]
    Busy,
    /// The client took too long to read.
    #[error("the export took longer than {} minutes", DEADLINE.as_secs() / 60)]
    TooSlow,
    /// A query failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<SessionEnded> for ExportError {
    fn from(SessionEnded: SessionEnded) -> Self {
        Self::SessionEnded
    }
}

/// A running export. [`Export::next`] returns its text part by part.
pub struct Export {
    pool: PgPool,
    requester: Requester,
    reading: Arc<Semaphore>,
    _slot: OwnedSemaphorePermit,
    started_at: Instant,
    account: Account,
    /// What the site has stored about the user.
    website: Map<String, Value>,
    /// The list that is being written, and its position.
    list: usize,
    position: Position,
}

/// Asks the hooks of the site for their data, records the export, notifies the owner, and starts it. The hooks come first:
/// if one fails, there is no export. The locking check is a separate transaction, because a long export must not block
/// the account.
#[tracing::instrument(level = "debug", skip_all, fields(user = %requester.user))]
pub async fn start(
    pool: &PgPool,
    sealer: &Sealer,
    hooks: &Hooks,
    exports: &Exports,
    requester: &Requester,
) -> Result<Export, ExportError> {
    let slot = Arc::clone(&exports.running).try_acquire_owned().map_err(|_| ExportError::Busy)?;
    let hooks = hooks.clone();
    let website = read(pool, &exports.reading, requester, move |connection, requester| {
        Box::pin(async move { hooks.export(connection, events::Export::new(requester.user)).await })
    });
    let website = website.await?;
    let (by, sealer) = (requester.clone(), sealer.clone());
    let recorded =
        requester.transaction::<_, sqlx::Error, _>(pool, Lock::UserAndSession, move |connection| {
            Box::pin(async move {
                let event = Event {
                    kind: EventKind::DataExported,
                    user: Some(by.user),
                    session: Some(by.session),
                    origin: &by.origin,
                    details: json!({}),
                };
                audit::record(&mut *connection, event).await?;
                notify(connection, &sealer, &by).await
            })
        });
    recorded.await??;
    let account = read(pool, &exports.reading, requester, |connection, requester| {
        Box::pin(async move { lists::account(connection, requester.user).await })
    });
    Ok(Export {
        pool: pool.clone(),
        requester: requester.clone(),
        reading: Arc::clone(&exports.reading),
        _slot: slot,
        started_at: Instant::now(),
        account: account.await?.ok_or(ExportError::SessionEnded)?,
        website,
        list: 0,
        position: Position::before(0),
    })
}

/// Notifies the owner by mail, if the email is verified.
async fn notify(
    connection: &mut PgConnection,
    sealer: &Sealer,
    by: &Requester,
) -> sqlx::Result<()> {
    let owner = sqlx::query!(
        r#"
        SELECT email, display_name, now() AS "now!"
          FROM users
         WHERE id = $1
           AND email_verified_at IS NOT NULL
        "#,
        by.user as UserId,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(owner) = owner else { return Ok(()) };
    let source = notice::source(&by.origin, owner.now);
    let message = Message::DataExported { display_name: owner.display_name, source };
    outbox::enqueue(connection, sealer, Some(by.user), &owner.email, &message).await?;
    Ok(())
}

impl Export {
    /// The next part of the file; `None` at its end. After an error the file is incomplete.
    pub async fn next(&mut self) -> Result<Option<String>, ExportError> {
        if self.started_at.elapsed() > DEADLINE {
            return Err(ExportError::TooSlow);
        }
        let Some((list, name, _)) = List::ALL.get(self.list).copied() else { return Ok(None) };
        let (position, emails) = (self.position.clone(), self.account.emails.clone());
        let rows =
            read(&self.pool, &self.reading, &self.requester, move |connection, requester| {
                Box::pin(async move {
                    lists::page(connection, list, &requester, &emails, position).await
                })
            })
            .await?;
        let mut text = String::new();
        let is_first = self.position.at.is_none();
        if is_first {
            text += &if self.list == 0 { self.head() } else { ",\n".to_owned() };
            if matches!(list, List::Links) {
                text += &format!("  \"exported_at\": {},\n", json!(iso(self.account.now)));
            }
            text += &format!("  \"{name}\": [");
        }
        for (number, row) in rows.iter().enumerate() {
            text += if is_first && number == 0 { "\n    " } else { ",\n    " };
            text += &indented(&row.data, "    ");
        }
        let is_last = (rows.len() as i64) < PAGE_SIZE;
        match rows.into_iter().next_back() {
            Some(Row { at, key, .. }) if !is_last => self.position = Position { at: Some(at), key },
            last => {
                text += if is_first && last.is_none() { "]" } else { "\n  ]" };
                self.list += 1;
                self.position = Position::before(self.list);
                if self.list == List::ALL.len() {
                    text += "\n}";
                }
            }
        }
        Ok(Some(text))
    }

    fn head(&mut self) -> String {
        let about = "Everything this site holds about you. Times are UTC. Credentials (the hashes of your password, \
                     of your sessions and of mailed links) are left out.";
        let account = indented(&self.account.account, "  ");
        let mut head = format!("{{\n  \"about\": {},\n  \"account\": {account},\n", json!(about));
        if !self.website.is_empty() {
            // Up to 16 MiB, which are not needed again while the client reads.
            let website = indented(&Value::Object(std::mem::take(&mut self.website)), "  ");
            head += &format!("  \"website\": {website},\n");
        }
        head
    }
}

/// `value` as the part of a pretty-printed document that is indented by `indent`.
fn indented(value: &Value, indent: &str) -> String {
    // A line break inside a string is escaped, so every line break is between two lines.
    format!("{value:#}").replace('\n', &format!("\n{indent}"))
}

/// Runs one query of the export in its own transaction, in which the session exists.
async fn read<T, F>(
    pool: &PgPool,
    reading: &Semaphore,
    requester: &Requester,
    query: F,
) -> Result<T, ExportError>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut PgConnection, Requester) -> db::Work<'c, T, sqlx::Error>
        + Clone
        + Send
        + 'static,
{
    // The semaphore is never closed. Without a permit, more pages would be read at the same time, nothing else.
    let _permit = reading.acquire().await.ok();
    let requester = requester.clone();
    let read = db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            // One snapshot: if the session exists in it, all data is from before the session's end.
            sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                .execute(&mut *connection)
                .await?;
            sqlx::query!("SET LOCAL TimeZone = 'UTC'").execute(&mut *connection).await?;
            if !requester.is_live(&mut *connection).await? {
                return Ok(None);
            }
            query(connection, requester).await.map(Some)
        })
    });
    read.await?.ok_or(ExportError::SessionEnded)
}

fn iso(at: OffsetDateTime) -> String {
    at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}
