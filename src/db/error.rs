//! Classifies errors of PostgreSQL and of the connection to it.

use std::io;

/// The error of a statement or connection attempt whose deadline has passed.
pub(super) fn timed_out() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "PostgreSQL did not respond in time").into()
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
    let is_timeout =
        matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut);
    is_timeout || has_code(error, "25006") || is_in_recovery(error) || is_cached_plan_error(error)
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().as_deref() == Some(code))
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
            // 08 connection, 53 resources, 57P shutdown, 57014 canceled, 25006 read-only (demoted), 3D000
            // database does not exist, 55000 in recovery, 55P03 lock not available, 0A000 cached plan, 54000
            // notification queue full.
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57")
                || matches!(
                    code.as_ref(),
                    "25006" | "3D000" | "54000" | "55000" | "55P03" | "0A000"
                )
        }),
        _ => false,
    }
}

/// The name of the constraint that the statement violated.
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    match error {
        sqlx::Error::Database(database) => database.constraint(),
        _ => None,
    }
}
