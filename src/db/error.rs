//! Classifies errors of PostgreSQL and of the connection to it.

use std::io;

/// The error of a statement or connection attempt whose deadline has passed.
pub(super) fn timed_out() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "PostgreSQL did not respond in time").into()
}

/// The connection failed after the commit was sent.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL did not confirm the commit in time; it may have taken effect")]
struct CommitUnknown;

/// The error of a commit without an answer.
pub(super) fn commit_unknown() -> sqlx::Error {
    io::Error::other(CommitUnknown).into()
}

/// The error of a transaction that was not begun, because commits stall.
pub(super) fn commits_stall() -> sqlx::Error {
    io::Error::other(
        "commits wait for a standby that does not answer; the transaction was not begun",
    )
    .into()
}

/// A hook of the site failed, or did not end in time.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct HookFailed {
    text: String,
    /// A statement of the hook may still run on the connection.
    was_interrupted: bool,
}

/// The error of a transaction in which a hook of the site failed. `was_interrupted`: the connection must be closed.
pub fn hook_failed(text: String, was_interrupted: bool) -> sqlx::Error {
    // No variant of sqlx is for work between statements. This one is otherwise unused: it is for the driver Any.
    sqlx::Error::AnyDriverError(Box::new(HookFailed { text, was_interrupted }))
}

/// Whether a hook of the site failed. The transaction was rolled back, and a retry is safe.
pub fn is_hook_failure(error: &sqlx::Error) -> bool {
    hook_failure(error).is_some()
}

fn hook_failure(error: &sqlx::Error) -> Option<&HookFailed> {
    match error {
        sqlx::Error::AnyDriverError(error) => error.downcast_ref(),
        _ => None,
    }
}

/// Whether PostgreSQL closed the connection (57P01 to 57P03). A commit that waited for a standby has then taken
/// effect on the primary.
pub(super) fn is_shutdown(error: &sqlx::Error) -> bool {
    code_of(error).is_some_and(|code| code.starts_with("57P"))
}

/// Whether a deadline has passed.
pub(super) fn is_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// Whether a prepared statement of the connection is out of date after a schema change ("cached plan must not
/// change result type"). Every later use of the statement on this connection fails too.
pub fn is_cached_plan_error(error: &sqlx::Error) -> bool {
    has_code(error, "0A000")
}

/// Whether a function that only works on a primary failed (`pg_current_wal_insert_lsn`): the server is a
/// standby.
pub fn is_in_recovery(error: &sqlx::Error) -> bool {
    has_code(error, "55000")
}

/// Whether a commit was refused because it notifies and PostgreSQL's notification queue is full.
pub fn is_notification_queue_full(error: &sqlx::Error) -> bool {
    has_code(error, "54000")
}

/// Whether the connection must be closed after `error`: it timed out, its server does not accept writes (a
/// demoted primary, a standby), or its prepared statements are out of date. sqlx would reuse it in the last
/// two cases.
pub(super) fn is_connection_unusable(error: &sqlx::Error) -> bool {
    is_timeout(error)
        || has_code(error, "25006")
        || is_in_recovery(error)
        || is_cached_plan_error(error)
        || hook_failure(error).is_some_and(|failure| failure.was_interrupted)
}

/// Whether a statement or a transaction can be run again without a change: it lost a conflict with a
/// concurrent one (40001, 40P01), or its prepared statement is out of date. It had no effect.
pub fn is_retryable(error: &sqlx::Error) -> bool {
    is_cached_plan_error(error) || has_code(error, "40001") || has_code(error, "40P01")
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    code_of(error).as_deref() == Some(code)
}

/// The SQLSTATE.
pub(super) fn code_of(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Database(database) => database.code().map(std::borrow::Cow::into_owned),
        _ => None,
    }
}

/// Whether a schema, table, column, function, type, unique index (42P10) or prepared statement does not exist.
/// This is so while a database is being restored or migrated.
pub(super) fn is_missing_object(code: &str) -> bool {
    matches!(code, "3F000" | "42P01" | "42P10" | "42703" | "42883" | "42704" | "26000")
}

/// Whether a statement names something that does not exist, or that its role may not use. The schema of Frontdesk is
/// known to be right, so its statements fail like this only while a database is restored or migrated. A statement of a
/// site is then wrong.
pub fn is_wrong_name(error: &sqlx::Error) -> bool {
    code_of(error).is_some_and(|code| is_missing_object(&code) || code == "42501")
}

/// Whether the database is unavailable, as opposed to a statement being wrong. The response is then 503 with
/// "try again", and the session is kept.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            // 08 connection, 28 login refused, 53 resources, 54 limits (notification queue full), 55 not in
            // the required state (in recovery, lock not available), 57 shutdown or canceled, 58 system error.
            ["08", "28", "53", "54", "55", "57", "58"].iter().any(|class| code.starts_with(class))
                // 25006 read-only (demoted), 3D000 database does not exist, 42501 privilege missing, 40001
                // and 40P01 conflicts, 0A000 cached plan.
                || matches!(
                    code.as_ref(),
                    "25006" | "3D000" | "42501" | "40001" | "40P01" | "0A000"
                )
                || is_missing_object(&code)
        }),
        _ => false,
    }
}

/// The foreign key that refused a deletion, with its table.
pub fn refusing_foreign_key(error: &sqlx::Error) -> Option<(String, String)> {
    if !has_code(error, "23503") && !has_code(error, "23001") {
        return None;
    }
    let error = error.as_database_error()?;
    Some((error.constraint()?.to_owned(), error.table().unwrap_or_default().to_owned()))
}

/// The name of the constraint that the statement violated.
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    match error {
        sqlx::Error::Database(database) => database.constraint(),
        _ => None,
    }
}
