//! Killing a server between two statements: triggers that wait for a lock that the test holds.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};

use super::{Browser, Database, Response, Server};

/// Asks again until it is as wished.
pub fn until(mut wished: impl FnMut() -> bool) {
    let began = Instant::now();
    while !wished() {
        assert!(began.elapsed() < Duration::from_secs(30), "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until PostgreSQL is done with every server of this database, whatever became of them.
pub fn db_until_disconnected(database: &Database) {
    let left = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name LIKE 'frontdesk%'";
    until(|| database.db_count(left) == 0);
}

/// A place where statements wait until they are let go, or this is dropped.
pub struct Breakpoint<'a> {
    database: &'a Database,
    lock: PgConnection,
}

impl<'a> Breakpoint<'a> {
    /// Whatever reaches `stop` from now on waits: "users BEFORE UPDATE", or "users CONSTRAINT AFTER UPDATE" for the commit.
    pub fn db_at(database: &'a Database, stop: (&str, &str)) -> Self {
        Self::db_where(database, stop, "true")
    }

    /// The same for rows that are so: "NEW.email = 'ada@example.com'".
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

    /// Waits until so many are there.
    pub fn until_reached(&self, count: i64) {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event = 'advisory'";
        until(|| self.database.db_count(waiting) >= count);
    }

    /// Lets them go, and whoever comes later.
    pub fn release(self) {
        self.database.runtime.block_on(self.lock.close()).unwrap();
    }
}

/// Lets the next statement that reaches `stop` wait, does `act` in `browser`, and kills the server there. When this
/// returns, what PostgreSQL knew of the server is over.
pub fn db_kill_at(
    database: &Database,
    server: &mut Server,
    stop: (&str, &str),
    mut browser: Browser,
    act: impl FnOnce(&mut Browser) -> Option<Response> + Send + 'static,
) {
    let hold = Breakpoint::db_at(database, stop);
    let asked = std::thread::spawn(move || act(&mut browser));
    hold.until_reached(1);
    server.signal("KILL");
    server.ended();
    hold.release();
    asked.join().unwrap();
    db_until_disconnected(database);
    database.db_execute(&format!("DROP TRIGGER stop ON {}", stop.0));
}
