//! Breakpoints at SQL statements, for races and for killing a server between two statements: triggers that
//! wait for an advisory lock that the test holds.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};

use super::{Browser, Database, Response, Server};

/// Waits until the condition holds.
pub fn until(mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(30), "timed out");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until PostgreSQL has closed every connection of servers to this database.
pub fn db_until_disconnected(database: &Database) {
    let left = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name LIKE 'frontdesk%'";
    until(|| database.db_count(left) == 0);
}

/// A trigger at which statements wait until it is released or dropped.
pub struct Breakpoint<'a> {
    database: &'a Database,
    lock: PgConnection,
}

impl<'a> Breakpoint<'a> {
    /// Statements that reach `stop` wait from now on: ("users", "BEFORE UPDATE"), or ("users", "CONSTRAINT
    /// AFTER UPDATE") for the commit.
    pub fn db_at(database: &'a Database, stop: (&str, &str)) -> Self {
        Self::db_where(database, stop, "true")
    }

    /// Like [`Self::db_at`], only for rows that match a condition: "NEW.email = 'ada@example.com'".
    pub fn db_where(database: &'a Database, (table, moment): (&str, &str), row: &str) -> Self {
        let (kind, moment, tail) = match moment.strip_prefix("CONSTRAINT ") {
            Some(moment) => ("CONSTRAINT TRIGGER", moment, "DEFERRABLE INITIALLY DEFERRED"),
            None => ("TRIGGER", moment, ""),
        };
        let lock = database.runtime.block_on(async {
            let mut lock = PgConnection::connect(&database.url).await.unwrap();
            sqlx::query("SELECT pg_advisory_lock(42)").execute(&mut lock).await.unwrap();
            lock
        });
        database.db_execute(
            "CREATE OR REPLACE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN coalesce(NEW, OLD); END'",
        );
        database.db_execute(&format!("DROP TRIGGER IF EXISTS stop ON {table}"));
        database.db_execute(&format!(
            "CREATE {kind} stop {moment} ON {table} {tail} FOR EACH ROW WHEN ({row}) EXECUTE FUNCTION wait_here()"
        ));
        Self { database, lock }
    }

    /// Waits until at least `count` statements have reached the breakpoint.
    pub fn until_reached(&self, count: i64) {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event = 'advisory'";
        until(|| self.database.db_count(waiting) >= count);
    }

    /// Releases the waiting statements. Later ones do not wait.
    pub fn release(self) {
        self.database.runtime.block_on(self.lock.close()).unwrap();
    }
}

/// Sets a breakpoint at `stop`, runs `act` in `browser`, and kills the server at the breakpoint. Returns once
/// PostgreSQL has closed the connections of the server.
pub fn db_kill_at(
    database: &Database,
    server: &mut Server,
    stop: (&str, &str),
    mut browser: Browser,
    act: impl FnOnce(&mut Browser) -> Option<Response> + Send + 'static,
) {
    let breakpoint = Breakpoint::db_at(database, stop);
    let request = std::thread::spawn(move || act(&mut browser));
    breakpoint.until_reached(1);
    server.signal("KILL");
    server.ended();
    breakpoint.release();
    request.join().unwrap();
    db_until_disconnected(database);
    database.db_execute(&format!("DROP TRIGGER stop ON {}", stop.0));
}
