//! Expired rows go away, live ones never.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_session::storage::SessionStore as _;
use frontdesk::db;
use frontdesk::session::purge::{self, Pace};
use frontdesk::session::{PgSessionStore, Windows};
use sqlx::postgres::PgConnectOptions;

use crate::support::kill::until;
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
    let expired = "SELECT count(*) FROM sessions WHERE expires_at <= now()";
    until(|| database.db_count(expired) == 0);
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 100);
    let mut browser = registered(&server, "ada@example.com");
    fill(&database, 10, true);
    until(|| database.db_count(expired) == 0);
    until(|| server.log().contains("expired sessions are deleted"));
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
    let purged =
        database.runtime.block_on(purge::run_once(&database.pool, Pace::Full, |_| ())).unwrap();
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
    let blocked =
        database.runtime.block_on(purge::run_once(&database.pool, Pace::Full, |_| ())).unwrap();
    assert!(blocked.elsewhere && blocked.rows == 0);
    database
        .runtime
        .block_on(sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut *other))
        .unwrap();
    let mut told = Vec::new();
    let purged = database
        .runtime
        .block_on(purge::run_once(&database.pool, Pace::Full, |sum| told.push(sum)))
        .unwrap();
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

/// So many expired rows: more by FRONTDESK_TEST_ROWS, for the figures of bench/RESULTS.md.
fn rows() -> u32 {
    std::env::var("FRONTDESK_TEST_ROWS").map_or(100_000, |text| text.parse().unwrap())
}

#[test]
fn while_a_crowd_of_rows_expires_no_live_one_is_lost_and_no_sign_in_waits() {
    let database = Database::new();
    let rows = rows();
    fill(&database, rows, true);
    fill(&database, rows / 100, false);
    database.db_execute("VACUUM ANALYZE sessions");
    database.db_execute("CREATE TABLE mistakes (expired_at timestamptz, deleted_at timestamptz)");
    database.db_execute(
        "CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN INSERT INTO mistakes VALUES (OLD.expires_at, clock_timestamp()); RETURN NULL; END'",
    );
    database.db_execute(
        "CREATE TRIGGER remembers AFTER DELETE ON sessions FOR EACH ROW
         WHEN (OLD.expires_at > clock_timestamp()) EXECUTE FUNCTION remember()",
    );
    let done = AtomicBool::new(false);
    // A statement that waits for a lock longer than this fails, and so does the test.
    let options: PgConnectOptions = database.url.parse().unwrap();
    let impatient = options.options([("lock_timeout", "100ms")]);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (purged, took, mut sign_ins, touches) = std::thread::scope(|scope| {
        let purgers: Vec<_> = (0..2)
            .map(|_| {
                let url = &database.url;
                scope.spawn(move || {
                    runtime().block_on(async {
                        let pool = sqlx::PgPool::connect(url).await.unwrap();
                        let began = Instant::now();
                        let mut sum = 0;
                        loop {
                            let run = purge::run_once(&pool, Pace::Full, |_| ()).await.unwrap();
                            sum += run.rows;
                            if run.rows == 0 && !run.elsewhere {
                                return (sum, began.elapsed());
                            }
                        }
                    })
                })
            })
            .collect();
        let (done, impatient) = (&done, &impatient);
        let sign_ins = scope.spawn(move || {
            runtime().block_on(async {
                let store =
                    PgSessionStore::new(db::pool(impatient.clone(), 4), Windows::default(), None);
                let mut times = Vec::new();
                while !done.load(Ordering::SeqCst) {
                    let began = Instant::now();
                    store
                        .save(HashMap::new(), &actix_web::cookie::time::Duration::HOUR)
                        .await
                        .unwrap();
                    times.push(began.elapsed());
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                times
            })
        });
        let touches = scope.spawn(move || {
            runtime().block_on(async {
                let pool = db::pool(impatient.clone(), 1);
                let mut touched = 0;
                while !done.load(Ordering::SeqCst) {
                    let sql = "UPDATE sessions SET last_seen_at = now(), expires_at = LEAST(now() + idle_timeout, absolute_expires_at)
                                WHERE token_digest IN (SELECT token_digest FROM sessions TABLESAMPLE SYSTEM (0.1) WHERE expires_at > now() LIMIT 100)
                                  AND expires_at > now()";
                    touched += sqlx::query(sql).execute(&pool).await.unwrap().rows_affected();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                touched
            })
        });
        let purged: Vec<_> = purgers.into_iter().map(|purger| purger.join().unwrap()).collect();
        done.store(true, Ordering::SeqCst);
        let took = purged.iter().map(|(_, took)| *took).max().unwrap();
        let sum: u64 = purged.iter().map(|(sum, _)| sum).sum();
        (sum, took, sign_ins.join().unwrap(), touches.join().unwrap())
    });
    assert_eq!(purged, u64::from(rows));
    assert_eq!(database.db_count("SELECT count(*) FROM mistakes"), 0);
    let live = i64::from(rows / 100) + sign_ins.len() as i64;
    assert_eq!(database.db_count("SELECT count(*) FROM sessions WHERE expires_at > now()"), live);
    sign_ins.sort();
    println!(
        "{purged} rows in {took:?} ({:.0} a second) by two purgers; meanwhile {} sign-ins, p99 {:?}, slowest {:?}, and {touches} activities",
        purged as f64 / took.as_secs_f64(),
        sign_ins.len(),
        sign_ins[sign_ins.len() * 99 / 100],
        sign_ins.last().unwrap(),
    );
}
