//! Killing a server between two statements: triggers that wait for a lock that the test holds.

use std::time::{Duration, Instant};

use super::{Answer, Browser, Database, Server};

/// Asks again until it is as wished.
pub fn until(mut wished: impl FnMut() -> bool) {
    let began = Instant::now();
    while !wished() {
        assert!(began.elapsed() < Duration::from_secs(30), "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lets the next statement that reaches `stop` ("users BEFORE UPDATE") wait, does `act` in `browser`, and kills the server
/// there. When this returns, what PostgreSQL knew of the server is over.
pub fn db_killed_at(
    database: &Database,
    server: &mut Server,
    stop: (&str, &str),
    mut browser: Browser,
    act: impl FnOnce(&mut Browser) -> Option<Answer> + Send + 'static,
) {
    let (table, moment) = stop;
    let (kind, moment, tail) = match moment.strip_prefix("CONSTRAINT ") {
        Some(moment) => ("CONSTRAINT TRIGGER", moment, "DEFERRABLE INITIALLY DEFERRED"),
        None => ("TRIGGER", moment, ""),
    };
    database.db_execute(
        "CREATE OR REPLACE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN coalesce(NEW, OLD); END'",
    );
    database.db_execute(&format!(
        "CREATE {kind} stop {moment} ON {table} {tail} FOR EACH ROW EXECUTE FUNCTION wait_here()"
    ));
    // A connection of a pool is given back on a runtime.
    let _on = database.runtime.enter();
    let mut holder = database.runtime.block_on(database.pool.acquire()).unwrap();
    let lock = sqlx::query("SELECT pg_advisory_lock(42)").execute(&mut *holder);
    database.runtime.block_on(lock).unwrap();
    let asked = std::thread::spawn(move || act(&mut browser));
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'";
    until(|| database.db_count(waiting) > 0);
    server.signal("KILL");
    server.ended();
    let unlock = sqlx::query("SELECT pg_advisory_unlock(42)").execute(&mut *holder);
    database.runtime.block_on(unlock).unwrap();
    asked.join().unwrap();
    until(|| {
        database.db_count(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'frontdesk'",
        ) == 0
    });
    database.db_execute(&format!("DROP TRIGGER stop ON {table}"));
}
