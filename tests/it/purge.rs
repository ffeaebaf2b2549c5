//! The purge deletes expired sessions and never live ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use actix_session::storage::{SessionKey, SessionStore as _};
use actix_web::cookie::{Cookie, CookieJar, Key};
use frontdesk::db;
use frontdesk::session::purge::{self, Pace};
use frontdesk::session::{PgSessionStore, Timeouts};
use sqlx::postgres::PgConnectOptions;

use crate::support::breakpoint::until;
use crate::support::server::KEY;
use crate::support::{Database, PASSWORD, Server, registered};

fn fill(database: &Database, count: u32, expired: bool) {
    let expiry = if expired { "now() - interval '2 hours'" } else { "now() + interval '1 hour'" };
    database.db_execute(&format!(
        "INSERT INTO sessions (token_digest, id, expires_at, absolute_expires_at, idle_timeout)
         SELECT sha256(convert_to('{expired}' || n, 'UTF8')), gen_random_uuid(), {expiry}, now() + interval '1 day', interval '2 hours'
           FROM generate_series(1, {count}) AS n"
    ));
}

#[test]
fn expired_sessions_are_purged_automatically_and_live_ones_stay() {
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
    until(|| server.log().contains("expired sessions were deleted"));
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
fn one_purge_runs_at_a_time_and_reports_its_progress() {
    let database = Database::new();
    fill(&database, 11_000, true);
    let _on = database.runtime.enter();
    let mut other = database.runtime.block_on(database.pool.acquire()).unwrap();
    let key = database.db_count("SELECT ('x66726f6e7464736b'::bit(64))::bigint");
    let sql = format!("SELECT pg_advisory_lock({key})");
    database.runtime.block_on(sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *other)).unwrap();
    let blocked =
        database.runtime.block_on(purge::run_once(&database.pool, Pace::Full, |_| ())).unwrap();
    assert!(blocked.is_running_elsewhere && blocked.rows == 0);
    database
        .runtime
        .block_on(sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut *other))
        .unwrap();
    let mut progress = Vec::new();
    let purged = database
        .runtime
        .block_on(purge::run_once(&database.pool, Pace::Full, |sum| progress.push(sum)))
        .unwrap();
    assert_eq!(purged.rows, 11_000);
    assert_eq!(progress, [5_000, 10_000, 11_000]);
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

/// The number of expired rows; FRONTDESK_TEST_ROWS raises it for larger measurements.
fn rows() -> u32 {
    std::env::var("FRONTDESK_TEST_ROWS").map_or(100_000, |text| text.parse().unwrap())
}

/// The session key in a cookie.
pub fn key(cookie: &str) -> SessionKey {
    let plain = percent_encoding::percent_decode_str(cookie).decode_utf8().unwrap().into_owned();
    let mut jar = CookieJar::new();
    jar.add_original(Cookie::new("session", plain));
    let opened = jar.private(&Key::derive_from(KEY.as_bytes())).get("session").unwrap();
    opened.value().to_owned().try_into().unwrap()
}

#[test]
fn a_large_purge_deletes_no_live_session_and_blocks_no_sign_in() {
    let database = Database::new();
    // With this lock_timeout, a statement of the server that waits for the purge fails, and so does the test.
    // The server's own purge at startup is over by then.
    let url = format!("{}&options=-c lock_timeout=100ms", database.server_url);
    let settings = [("DATABASE_URL", url.as_str()), ("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1")];
    let server = Server::start(&database, &settings).until_live();
    registered(&server, "ada@example.com");
    database.db_create_users("ada@example.com", 1000);
    let rows = rows();
    fill(&database, rows, true);
    fill(&database, rows / 100, false);
    let cookies = database.db_create_sessions_seen("ada@example.com", 10_000, "2 minutes");
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
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (purged, mut sign_ins, touches) = std::thread::scope(|scope| {
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
                            if run.rows == 0 && !run.is_running_elsewhere {
                                return (sum, began.elapsed());
                            }
                        }
                    })
                })
            })
            .collect();
        let (done, server, cookies, url) = (&done, &server, &cookies, &url);
        let sign_ins = scope.spawn(move || {
            let mut times = Vec::new();
            while !done.load(Ordering::SeqCst) {
                let number = times.len();
                let ip = std::net::Ipv4Addr::from(0xc612_0000 + number as u32).to_string();
                let email = format!("user{}@example.com", number % 1000);
                let began = Instant::now();
                let answer = server.browser().login_from(&ip, &email, PASSWORD);
                assert_eq!(answer.status, 303, "{}", server.log());
                times.push(began.elapsed());
            }
            times
        });
        let touches = scope.spawn(move || {
            runtime().block_on(async {
                let options: PgConnectOptions = url.parse().unwrap();
                let store = PgSessionStore::new(db::pool(options, 2), Timeouts::default(), None);
                let mut touched = 0;
                // Each session was last seen two minutes ago, so its update is due.
                for some in cookies.chunks(10).take_while(|_| !done.load(Ordering::SeqCst)) {
                    for cookie in some {
                        assert!(store.load(&key(cookie)).await.unwrap().is_some());
                    }
                    store.last_seen().flush().await.unwrap();
                    touched += some.len();
                }
                touched
            })
        });
        let purged: Vec<_> = purgers.into_iter().map(|purger| purger.join().unwrap()).collect();
        done.store(true, Ordering::SeqCst);
        (purged, sign_ins.join().unwrap(), touches.join().unwrap())
    });
    let (sum, took) = (purged[0].0 + purged[1].0, purged[0].1.max(purged[1].1));
    assert_eq!(sum, u64::from(rows));
    assert_eq!(database.db_count("SELECT count(*) FROM mistakes"), 0);
    let live = i64::from(rows / 100) + 1 + 10_000 + sign_ins.len() as i64;
    assert_eq!(database.db_count("SELECT count(*) FROM sessions WHERE expires_at > now()"), live);
    let seen =
        "SELECT count(*) FROM sessions WHERE user_id IS NOT NULL AND last_seen_at > created_at";
    assert_eq!(database.db_count(seen), touches as i64);
    assert!(touches > 0 && !sign_ins.is_empty());
    sign_ins.sort();
    println!(
        "{sum} rows in {took:?} ({:.0} a second) by two purgers, {} and {}; meanwhile {} sign-ins with their hashes, p99 {:?}, slowest {:?}, and {touches} last-seen updates",
        sum as f64 / took.as_secs_f64(),
        purged[0].0,
        purged[1].0,
        sign_ins.len(),
        sign_ins[sign_ins.len() * 99 / 100],
        sign_ins.last().unwrap(),
    );
    assert!(purged.iter().all(|(rows, _)| *rows > 0), "{purged:?}");
}
