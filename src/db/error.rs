//! The meaning of errors of PostgreSQL and of the connection to it.

use std::io;

/// Nothing came back.
pub(super) fn silence() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "PostgreSQL did not answer in time").into()
}

/// Whether `error` says that a connection prepared its statements for another schema ("cached plan must not change
/// result type"). It says so for ever.
pub fn is_cached_plan_error(error: &sqlx::Error) -> bool {
    has_code(error, "0A000")
}

/// Whether `error` is that of a function that only a primary has (`pg_current_wal_insert_lsn`): this connection leads to a
/// standby.
pub fn is_in_recovery(error: &sqlx::Error) -> bool {
    has_code(error, "55000")
}

/// Whether `error` says that PostgreSQL's notification queue is full: a commit that notifies is refused.
pub fn is_notification_queue_full(error: &sqlx::Error) -> bool {
    has_code(error, "54000")
}

/// Whether `error` says that a connection is of no more use: nothing comes back, or its server takes no writes any more
/// (a demoted primary, a standby), or it remembers a former schema. sqlx would keep the last two.
pub(super) fn is_of_the_connection(error: &sqlx::Error) -> bool {
    let is_silence =
        matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut);
    is_silence || has_code(error, "25006") || is_in_recovery(error) || is_cached_plan_error(error)
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().as_deref() == Some(code))
}

/// Whether `error` says that the database is away rather than that a statement is wrong: the visitor
/// gets 503 and "try again", and nothing is held against the session.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            // 08 connection, 53 resources, 57P shutdown, 57014 canceled, 25006 read-only (demoted),
            // 3D000 database away, 55000 in recovery, 55P03 lock not available, 0A000 plan changed under us,
            // 54000 notification queue full.
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

/// The name of the constraint that refused a statement, when one did.
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    match error {
        sqlx::Error::Database(database) => database.constraint(),
        _ => None,
    }
}
