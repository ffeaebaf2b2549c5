//! What the engine promises besides finality: no lost updates, changes by hand seen everywhere, activity written
//! seldom and never backwards, and no clock but the database's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::test as in_process;
use actix_web::{App, HttpResponse, web};
use frontdesk::session::{PgSessionStore, Windows};

use crate::support::breakpoint::until;
use crate::support::port::free_addr;
use crate::support::{Browser, Database, Server, registered, site};

const EMAIL: &str = "ada@example.com";

fn with_cookie(server: &Server, cookie: &str) -> Browser {
    let mut browser = server.browser();
    browser.cookies.insert("session".to_owned(), cookie.to_owned());
    browser
}

async fn set(session: Session, path: web::Path<(String, u32)>) -> HttpResponse {
    let (key, value) = path.into_inner();
    session.insert(key, value).expect("it can be written");
    HttpResponse::Ok().finish()
}

async fn remove(session: Session, path: web::Path<String>) -> HttpResponse {
    session.remove(&path.into_inner());
    HttpResponse::Ok().finish()
}

#[test]
fn fifty_concurrent_requests_that_set_fifty_keys_leave_fifty_keys() {
    let database = Database::new();
    actix_web::rt::System::new().block_on(async {
        // Connections of this runtime, which is gone when the rows are looked at.
        let pool = sqlx::PgPool::connect_lazy(&database.url).expect("an address of ours");
        let store = PgSessionStore::new(pool, Windows::default(), None);
        let app = in_process::init_service(
            App::new()
                .wrap(SessionMiddleware::builder(store, Key::from(&[7; 64])).build())
                .route("/set/{key}/{value}", web::get().to(set))
                .route("/remove/{key}", web::get().to(remove)),
        )
        .await;
        let first = in_process::TestRequest::get().uri("/set/old/1").to_request();
        let answer = in_process::call_service(&app, first).await;
        let cookie = answer.response().cookies().next().expect("a cookie").into_owned();
        let (app, cookie) = (&app, &cookie);
        // A machine that stalls may make one of them a 503; what was not written is asked again.
        let asked = |uri: String| async move {
            for _ in 0..10 {
                let request = in_process::TestRequest::get().uri(&uri).cookie(cookie.clone());
                let answer = in_process::try_call_service(app, request.to_request()).await;
                if answer.is_ok_and(|answer| answer.status() == 200) {
                    return;
                }
            }
            panic!("{uri} is not answered");
        };
        let sets = (0..50).map(|number| asked(format!("/set/key{number}/{number}")));
        let removal = std::iter::once(asked("/remove/old".to_owned()));
        futures_util::future::join_all(sets.chain(removal)).await;
    });
    let keys = "SELECT count(*) FROM sessions, jsonb_each_text(state) WHERE key = 'key' || value";
    assert_eq!(database.db_count(keys), 50);
    assert_eq!(database.db_count("SELECT count(*) FROM sessions WHERE state ? 'old'"), 0);
}

#[test]
fn a_change_in_psql_takes_effect_on_every_server_in_milliseconds() {
    let database = Database::new();
    let servers = [0, 1].map(|_| Server::start(&database, &[]).until_live());
    registered(&servers[0], EMAIL);
    let mut took = Vec::new();
    for _ in 0..300 {
        let cookie = database.db_create_sessions(EMAIL, 1).remove(0);
        let mut browsers = [0, 1].map(|at| with_cookie(&servers[at], &cookie));
        assert!(browsers.iter_mut().all(Browser::is_signed_in));
        // Not by db_execute, which waits until it is known everywhere.
        let newest = "DELETE FROM sessions
                       WHERE id = (SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1)";
        database.runtime.block_on(sqlx::query(newest).execute(&database.pool)).unwrap();
        let began = Instant::now();
        // Judged by when they were asked: how long the answers took on their way is no matter of the lease.
        let mut asked = began.elapsed();
        while browsers.iter_mut().any(|browser| browser.is_signed_in()) {
            assert!(asked < Duration::from_secs(3), "longer than a lease");
            asked = began.elapsed();
        }
        took.push(began.elapsed());
    }
    took.sort();
    println!("DELETE in psql, refused by both servers: p50 {:?}, p99 {:?}", took[150], took[297]);

    let mut browser = with_cookie(&servers[1], &database.db_create_sessions(EMAIL, 1)[0]);
    assert!(browser.get("/account").body.contains("ADA"));
    for (by_hand, shows) in [
        ("UPDATE users SET display_name = 'Countess'", "Countess"),
        ("UPDATE users SET email = 'countess@example.com'", "countess@example.com"),
    ] {
        database.db_execute(by_hand);
        assert!(browser.get("/account").body.contains(shows), "{by_hand}");
    }
    database.db_execute("UPDATE sessions SET expires_at = now() + interval '1 second'");
    std::thread::sleep(Duration::from_millis(1100));
    assert!(!browser.is_signed_in(), "a life that was shortened by hand");
    let mut browser =
        with_cookie(&servers[0], &database.db_create_sessions("countess@example.com", 1)[0]);
    assert!(browser.is_signed_in());
    database.db_execute("TRUNCATE sessions");
    assert!(!browser.is_signed_in());
}

#[test]
fn a_schema_named_like_the_role_does_not_hide_changes_from_servers() {
    let database = Database::new();
    // The search path is "$user", public, and the tables are in public.
    database.db_execute("CREATE SCHEMA desk");
    database.db_execute("GRANT USAGE ON SCHEMA desk TO PUBLIC");
    let servers = [0, 1].map(|_| Server::start(&database, &[]).until_live());
    let browser = registered(&servers[0], EMAIL);
    let mut there = browser.on_server(&servers[1].addr);
    assert!(there.is_signed_in());
    assert_eq!(browser.clone().post("/logout", &[]).status, 303);
    assert!(!there.is_signed_in(), "the barrier asks where the servers listen");
    let mut browser = with_cookie(&servers[1], &database.db_create_sessions(EMAIL, 1)[0]);
    assert!(browser.is_signed_in());
    database.db_execute("DELETE FROM sessions");
    assert!(!browser.is_signed_in(), "the triggers tell where the servers listen");
}

#[test]
fn a_server_that_listens_on_the_wrong_database_does_not_use_its_cache() {
    let (database, other) = (Database::new(), Database::new());
    let server = Server::start(&database, &[("FRONTDESK_LISTEN_URL", &other.server_url)]);
    let began = Instant::now();
    while !server.log().contains("what pages write is not heard") {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", server.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut browser = registered(&server, EMAIL);
    assert!(browser.is_signed_in());
    database.db_execute("DELETE FROM sessions");
    assert!(!browser.is_signed_in());
    assert!(server.browser().get("/readyz").body.contains("\"sessions\":\"disconnected\""));
}

#[test]
fn last_seen_times_are_written_rarely_as_hot_updates_and_never_go_backwards() {
    let database = Database::new();
    let servers = [0, 1].map(|_| Server::start(&database, &[]).until_live());
    registered(&servers[0], EMAIL);
    // A table as they are: many rows on each page, a few of them active at a time.
    let all = database.db_create_sessions_seen(EMAIL, 10_000, "2 minutes");
    let cookies: Vec<String> = all.into_iter().step_by(20).collect();
    // Anew, with an interval of five seconds. (Not by an UPDATE, which PostgreSQL would count among those that are judged.)
    let columns = "token_digest, id, user_id, authenticated_at, auth_methods, last_seen_at, absolute_expires_at";
    database.db_execute(&format!(
        "CREATE TABLE kept AS SELECT {columns} FROM sessions WHERE last_seen_at < now() - interval '1 minute'"
    ));
    database.db_execute("TRUNCATE sessions");
    database.db_execute(&format!(
        "INSERT INTO sessions ({columns}, idle_timeout, expires_at)
         SELECT {columns}, interval '100 s', now() + interval '100 s' FROM kept"
    ));
    // An end that moves across the full hour that purge_after counts in moves in the index too: once an hour.
    database.db_execute(
        "CREATE TABLE writes (id uuid, before timestamptz, after timestamptz, across boolean, at timestamptz DEFAULT clock_timestamp())",
    );
    database.db_execute(
        "CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
         'BEGIN INSERT INTO writes VALUES (NEW.id, OLD.last_seen_at, NEW.last_seen_at, OLD.purge_after <> NEW.purge_after); RETURN NULL; END'",
    );
    database.db_execute(
        "CREATE TRIGGER remembers AFTER UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION remember()",
    );
    database.db_execute("SELECT pg_stat_reset_single_table_counters('sessions'::regclass)");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let (cookies, server, stop) = (&cookies, &servers[writer % 2], &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    for cookie in cookies.iter().skip(writer % 5).step_by(5) {
                        let answer = with_cookie(server, cookie).get("/account/profile");
                        assert_eq!(answer.status, 200, "{}", server.log());
                    }
                }
            });
        }
        let began = Instant::now();
        let often =
            "SELECT count(*) FROM (SELECT FROM writes GROUP BY id HAVING count(*) > 10) AS each";
        let all = || database.db_count(often) == 500;
        while !all() && began.elapsed() < Duration::from_secs(240) {
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::SeqCst);
        let times = "SELECT concat_ws(' × ', count(*), times) FROM (SELECT count(*) AS times FROM writes GROUP BY id) AS each GROUP BY times ORDER BY times";
        assert!(all(), "not all were written ten times: {:?}", database.db_texts(times));
    });
    let pairs =
        "(SELECT at, before, after, lag(after) OVER w AS former, at - lag(at) OVER w AS apart
                    FROM writes WINDOW w AS (PARTITION BY id ORDER BY at)) AS pairs";
    let count =
        |what: &str| database.db_count(&format!("SELECT count(*) FROM {pairs} WHERE {what}"));
    assert_eq!(count("after <= before OR before <> former"), 0, "backwards, or past each other");
    // Nine tenths of an interval, since the last activity that the row knows.
    assert_eq!(count("at - before < interval '4.5 s'"), 0, "before the interval was over");
    // A write that was late itself may have the next one of the other server close behind it.
    let close = count("apart < interval '4.5 s'");
    // Backends tell what they counted when they have been idle for a while; writes that were given up count there too.
    let mut told = [0; 4];
    until(|| {
        let texts = database.db_texts(
            "SELECT unnest(ARRAY[n_tup_upd, n_tup_hot_upd, (SELECT count(*) FROM writes), (SELECT count(*) FROM writes WHERE across)])::text
               FROM pg_stat_user_tables WHERE relname = 'sessions'",
        );
        told = [0, 1, 2, 3].map(|at| texts[at].parse::<u64>().unwrap());
        told[0] >= told[2]
    });
    let [writes, hot, _, across] = told;
    println!(
        "{writes} activities of 500 sessions by 16 writers on two servers, {hot} HOT, {across} across a full hour, {close} close behind another"
    );
    assert!(across <= 500, "once an hour");
    assert!(writes - hot <= across, "all but those are HOT");
}

#[test]
fn an_open_transaction_in_psql_does_not_block_the_activity_of_other_sessions() {
    let (server, database) = site();
    let mut held = registered(&server, EMAIL);
    let mut free = registered(&server, "grace@example.com");
    let row_of = |email: &str| format!("user_id = (SELECT id FROM users WHERE email = '{email}')");
    database.db_execute("UPDATE sessions SET last_seen_at = last_seen_at - interval '5 minutes'");
    let open = database.db_begin(&format!("DELETE FROM sessions WHERE {}", row_of(EMAIL)));
    assert!(held.is_signed_in(), "not committed");
    let written = format!(
        "SELECT count(*) FROM sessions WHERE last_seen_at > now() - interval '2 minutes' AND {}",
        row_of("grace@example.com")
    );
    let began = Instant::now();
    while !(free.is_signed_in() && database.db_count(&written) == 1) {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", server.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    open.rollback();
    assert!(held.is_signed_in());
}

#[test]
fn a_session_in_use_outlives_its_idle_timeout_and_expires_when_idle() {
    let database = Database::new();
    let settings = [("FRONTDESK_SESSION_IDLE_TIMEOUT", "10s")];
    let servers = [0, 1].map(|_| Server::start(&database, &settings).until_live());
    let mut browser = registered(&servers[0], EMAIL);
    let began = Instant::now();
    let mut requests = 0;
    while began.elapsed() < Duration::from_secs(25) {
        browser = browser.on_server(&servers[requests % 2].addr);
        assert!(browser.is_signed_in(), "after {:?}", began.elapsed());
        requests += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    // Nobody comes for a whole idle time, as the database counts.
    database.db_execute(
        "UPDATE sessions SET last_seen_at = last_seen_at - interval '13 s', expires_at = expires_at - interval '13 s'",
    );
    assert!(!browser.is_signed_in());
}

#[test]
fn a_server_clock_that_is_an_hour_off_neither_ends_nor_extends_sessions() {
    let library = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
        "/opt/homebrew/lib/faketime/libfaketime.1.dylib",
    ]
    .into_iter()
    .find(|path| std::path::Path::new(path).exists())
    .expect("libfaketime is installed (script/bootstrap --test)");
    let (right, database) = site();
    for (offset, email) in [("+1h", "early@example.com"), ("-1h", "late@example.com")] {
        let wrong =
            Server::start(&database, &[("LD_PRELOAD", library), ("FAKETIME", offset)]).until_live();
        let mut born_wrong = registered(&wrong, email);
        let mut born_right = right.browser();
        assert_eq!(born_right.login(email, crate::support::PASSWORD).status, 303);
        for browser in [&mut born_wrong, &mut born_right] {
            for server in [&right, &wrong] {
                *browser = browser.on_server(&server.addr);
                assert!(browser.is_signed_in(), "{offset}");
            }
        }
        database.db_execute("UPDATE sessions SET expires_at = now() - interval '1 second'");
        for browser in [&mut born_wrong, &mut born_right] {
            for server in [&right, &wrong] {
                assert!(!browser.on_server(&server.addr).is_signed_in(), "{offset}");
            }
        }
    }
}

#[test]
fn the_minimal_example_keeps_its_tables_in_a_schema_of_its_own() {
    let database = Database::empty();
    database.db_execute("CREATE TABLE users (mine int)");
    database.db_execute("CREATE TABLE _sqlx_migrations (mine int)");
    let free = free_addr();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_frontdesk"))
        .with_file_name("examples")
        .join("minimal");
    let built = std::process::Command::new(env!("CARGO"))
        .args(["build", "--locked", "--offline", "--quiet", "--example", "minimal"])
        .status();
    assert!(built.unwrap().success());
    let mut child = std::process::Command::new(program)
        .env("DATABASE_URL", &database.url)
        .env("BIND", &free)
        .spawn()
        .expect("cargo puts it there");
    let mut browser = Browser::new(&free);
    let began = Instant::now();
    while browser.try_send("GET", "/", &[], "").is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(browser.get("/").body, "Hello, stranger.\n");
    assert!(browser.cookies.is_empty());
    assert_eq!(browser.post("/login/Ada", &[]).status, 200);
    let copy = browser.cookies.clone();
    assert_eq!(browser.get("/").body, "Hello, Ada.\n");
    assert_eq!(database.db_count("SELECT count(*) FROM sessions.sessions"), 1);
    assert_eq!(browser.post("/logout", &[]).body, "Signed out.\n");
    browser.cookies = copy;
    assert_eq!(browser.get("/").body, "Hello, stranger.\n");
    assert_eq!(database.db_count("SELECT count(*) FROM sessions.sessions"), 0);
    std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(database.db_count("SELECT count(*) FROM sessions.session_caches"), 0);
}
