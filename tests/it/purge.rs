//! Expired rows go away, live ones never.

use frontdesk::session::purge;

use crate::support::{Database, Server, registered};

fn fill(database: &Database, count: u32, expired: bool) {
    let expiry = if expired { "now() - interval '2 hours'" } else { "now() + interval '1 hour'" };
    database.db_execute(&format!(
        "INSERT INTO sessions (token_digest, id, expires_at, absolute_expires_at, idle_timeout)
         SELECT sha256(convert_to('{expired}' || n, 'UTF8')), gen_random_uuid(), {expiry}, now() + interval '1 day', interval '2 hours'
           FROM generate_series(1, {count}) AS n"
    ));
}

#[test]
fn expired_rows_disappear_by_themselves_and_live_ones_stay() {
    let database = Database::new();
    fill(&database, 12_000, true);
    fill(&database, 100, false);
    let server = Server::start(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s")]);
    while database.db_count("SELECT count(*) FROM sessions WHERE expires_at <= now()") > 0 {}
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 100);
    while !server.log().contains("expired sessions are deleted") {}
    let mut browser = registered(&server, "ada@example.com");
    fill(&database, 10, true);
    while database.db_count("SELECT count(*) FROM sessions WHERE expires_at <= now()") > 0 {}
    assert!(browser.is_signed_in());
}

#[test]
fn a_row_that_is_being_extended_is_never_deleted() {
    let database = Database::new();
    fill(&database, 50, true);
    let _on = database.runtime.enter();
    let mut extender = database.runtime.block_on(database.pool.acquire()).unwrap();
    let run = |sql: &'static str, connection: &mut sqlx::PgConnection| {
        database.runtime.block_on(sqlx::query(sql).execute(connection)).unwrap();
    };
    run("BEGIN", &mut extender);
    run(
        "UPDATE sessions SET expires_at = now() + interval '1 hour' WHERE token_digest = (SELECT min(token_digest::text)::bytea FROM sessions)",
        &mut extender,
    );
    let purged = database.runtime.block_on(purge::run_once(&database.pool, |_| ())).unwrap();
    assert_eq!(purged.rows, 49);
    run("COMMIT", &mut extender);
    assert_eq!(database.db_count("SELECT count(*) FROM sessions WHERE expires_at > now()"), 1);
}

#[test]
fn one_purger_works_at_a_time_and_progress_is_told() {
    let database = Database::new();
    fill(&database, 11_000, true);
    let _on = database.runtime.enter();
    let mut other = database.runtime.block_on(database.pool.acquire()).unwrap();
    let key = database.db_count("SELECT ('x66726f6e7464736b'::bit(64))::bigint");
    let sql = format!("SELECT pg_advisory_lock({key})");
    database.runtime.block_on(sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *other)).unwrap();
    let blocked = database.runtime.block_on(purge::run_once(&database.pool, |_| ())).unwrap();
    assert!(blocked.elsewhere && blocked.rows == 0);
    database
        .runtime
        .block_on(sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut *other))
        .unwrap();
    let mut told = Vec::new();
    let purged =
        database.runtime.block_on(purge::run_once(&database.pool, |sum| told.push(sum))).unwrap();
    assert_eq!(purged.rows, 11_000);
    assert_eq!(told, [5_000, 10_000, 11_000]);
}

#[test]
fn the_purge_uses_its_index() {
    let database = Database::new();
    fill(&database, 20_000, false);
    fill(&database, 100, true);
    database.db_execute("ANALYZE sessions");
    let plan = database
        .db_texts(
            "EXPLAIN SELECT token_digest FROM sessions WHERE purge_after <= now() AND expires_at <= now()
              ORDER BY purge_after LIMIT 5000 FOR UPDATE SKIP LOCKED",
        )
        .join("\n");
    assert!(plan.contains("sessions_purge_after_idx"), "{plan}");
}
