//! Guarantees of the session engine besides final revocation: no lost updates, changes in psql take effect on
//! every server, last-seen times are written rarely and never go backwards, and only the database's clock
//! counts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::test as in_process;
use actix_web::{App, HttpResponse, web};
use frontdesk::session::{PgSessionStore, Timeouts};

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
    session.insert(key, value).expect("the value is serializable");
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
        // A pool of this runtime, which no longer exists when the rows are checked.
        let pool = sqlx::PgPool::connect_lazy(&database.url).expect("a valid URL");
        let store = PgSessionStore::new(pool, Timeouts::default(), None);
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
        // On a slow machine a request may get a 503; it is repeated.
        let send = |uri: String| async move {
            for _ in 0..10 {
                let request = in_process::TestRequest::get().uri(&uri).cookie(cookie.clone());
                let answer = in_process::try_call_service(app, request.to_request()).await;
                if answer.is_ok_and(|answer| answer.status() == 200) {
                    return;
                }
            }
            panic!("{uri} is not answered");
        };
        let sets = (0..50).map(|number| send(format!("/set/key{number}/{number}")));
        let removal = std::iter::once(send("/remove/old".to_owned()));
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
        // Not by db_execute, which waits until every server knows the change.
        let newest = "DELETE FROM sessions
                       WHERE id = (SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1)";
        database.runtime.block_on(sqlx::query(newest).execute(&database.pool)).unwrap();
        let began = Instant::now();
        // What counts is when the requests were sent: the lease does not limit how long a response takes.
        let mut sent = began.elapsed();
        while browsers.iter_mut().any(|browser| browser.is_signed_in()) {
            assert!(sent < Duration::from_secs(3), "longer than a lease");
            sent = began.elapsed();
        }
        took.push(began.elapsed());
    }
    took.sort();
    println!("DELETE in psql, refused by both servers: p50 {:?}, p99 {:?}", took[150], took[297]);

    let mut browser = with_cookie(&servers[1], &database.db_create_sessions(EMAIL, 1)[0]);
    assert!(browser.get("/account").body.contains("ADA"));
    for (statement, shown) in [
        ("UPDATE users SET display_name = 'Countess'", "Countess"),
        (
            "UPDATE users SET email = 'countess@example.com', email_canonical = 'countess@example.com'",
            "countess@example.com",
        ),
    ] {
        database.db_execute(statement);
        assert!(browser.get("/account").body.contains(shown), "{statement}");
    }
    database.db_execute("UPDATE sessions SET expires_at = now() + interval '1 second'");
    std::thread::sleep(Duration::from_millis(1100));
    assert!(!browser.is_signed_in(), "the expiry time was changed in psql");
    let mut browser =
        with_cookie(&servers[0], &database.db_create_sessions("countess@example.com", 1)[0]);
    assert!(browser.is_signed_in());
    database.db_execute("TRUNCATE sessions");
    assert!(!browser.is_signed_in());
}

#[test]
fn a_schema_named_like_the_role_does_not_hide_changes_from_servers() {
    let database = Database::new();
    // The search path is "$user", public; the role is named desk, and the tables are in public.
    database.db_execute("CREATE SCHEMA desk");
    database.db_execute("GRANT USAGE ON SCHEMA desk TO PUBLIC");
    let servers = [0, 1].map(|_| Server::start(&database, &[]).until_live());
    let browser = registered(&servers[0], EMAIL);
    let mut there = browser.on_server(&servers[1].addr);
    assert!(there.is_signed_in());
    assert_eq!(browser.clone().post("/logout", &[]).status, 303);
    assert!(!there.is_signed_in(), "the barrier notifies the channel of the servers");
    let mut browser = with_cookie(&servers[1], &database.db_create_sessions(EMAIL, 1)[0]);
    assert!(browser.is_signed_in());
    database.db_execute("DELETE FROM sessions");
    assert!(!browser.is_signed_in(), "the triggers notify the channel of the servers");
}

#[test]
fn a_server_that_listens_on_the_wrong_database_does_not_use_its_cache() {
    let (database, other) = (Database::new(), Database::new());
    let server = Server::start(&database, &[("FRONTDESK_LISTEN_URL", &other.server_url)]);
    let began = Instant::now();
    while !server.log().contains("a notification that was sent over DATABASE_URL does not arrive") {
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
    // A realistic table: many rows on each page, few of them active at the same time.
    let all = database.db_create_sessions_seen(EMAIL, 10_000, "2 minutes");
    let cookies: Vec<String> = all.into_iter().step_by(20).collect();
    // Insert the sessions again, with a write interval of five seconds. An UPDATE would count among the
    // checked updates.
    let columns = "token_digest, id, user_id, authenticated_at, auth_methods, last_seen_at, absolute_expires_at";
    database.db_execute(&format!(
        "CREATE TABLE kept AS SELECT {columns} FROM sessions WHERE last_seen_at < now() - interval '1 minute'"
    ));
    database.db_execute("TRUNCATE sessions");
    database.db_execute(&format!(
        "INSERT INTO sessions ({columns}, idle_timeout, expires_at)
         SELECT {columns}, interval '100 s', now() + interval '100 s' FROM kept"
    ));
    // purge_after is rounded to full hours; when it changes, once an hour, the index changes too and the
    // update is not HOT.
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
        assert!(
            all(),
            "not all sessions were written more than ten times: {:?}",
            database.db_texts(times)
        );
    });
    let pairs =
        "(SELECT at, before, after, lag(after) OVER w AS former, at - lag(at) OVER w AS apart
                    FROM writes WINDOW w AS (PARTITION BY id ORDER BY at)) AS pairs";
    let count =
        |what: &str| database.db_count(&format!("SELECT count(*) FROM {pairs} WHERE {what}"));
    assert_eq!(
        count("after <= before OR before <> former"),
        0,
        "last-seen times went backwards, or writes overlapped"
    );
    // At least nine tenths of the interval have passed since the last-seen time in the row.
    assert_eq!(count("at - before < interval '4.5 s'"), 0, "written before the interval was over");
    // After a delayed write, the next write of the other server may follow soon.
    let close = count("apart < interval '4.5 s'");
    // PostgreSQL's backends report their counters after some idle time; the counters include aborted updates.
    let mut figures = [0; 4];
    until(|| {
        let texts = database.db_texts(
            "SELECT unnest(ARRAY[n_tup_upd, n_tup_hot_upd, (SELECT count(*) FROM writes), (SELECT count(*) FROM writes WHERE across)])::text
               FROM pg_stat_user_tables WHERE relname = 'sessions'",
        );
        figures = [0, 1, 2, 3].map(|at| texts[at].parse::<u64>().unwrap());
        figures[0] >= figures[2]
    });
    let [writes, hot, _, across] = figures;
    println!(
        "{writes} updates of 500 sessions by 16 writers on two servers, {hot} HOT, {across} across a full hour, {close} shortly after another"
    );
    assert!(across <= 500, "at most one per session and hour");
    assert!(writes - hot <= across, "all other updates are HOT");
}

#[test]
fn an_open_transaction_in_psql_does_not_block_the_activity_of_other_sessions() {
    let (server, database) = site();
    let mut held = registered(&server, EMAIL);
    let mut free = registered(&server, "grace@example.com");
    let row_of = |email: &str| format!("user_id = (SELECT id FROM users WHERE email = '{email}')");
    database.db_execute("UPDATE sessions SET last_seen_at = last_seen_at - interval '5 minutes'");
    let open = database.db_begin(&format!("DELETE FROM sessions WHERE {}", row_of(EMAIL)));
    assert!(held.is_signed_in(), "the deletion is not committed");
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
    // The session is idle for longer than its idle timeout, by the database's clock.
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
        let mut created_wrong = registered(&wrong, email);
        let mut created_right = right.browser();
        assert_eq!(created_right.login(email, crate::support::PASSWORD).status, 303);
        for browser in [&mut created_wrong, &mut created_right] {
            for server in [&right, &wrong] {
                *browser = browser.on_server(&server.addr);
                assert!(browser.is_signed_in(), "{offset}");
            }
        }
        database.db_execute("UPDATE sessions SET expires_at = now() - interval '1 second'");
        for browser in [&mut created_wrong, &mut created_right] {
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
    // With the features of this run, it is built already.
    let features = if cfg!(feature = "testing") { "default,testing" } else { "default" };
    let built = std::process::Command::new(env!("CARGO"))
        .args(["build", "--locked", "--offline", "--quiet", "--example", "minimal"])
        .args(["--features", features])
        .status();
    assert!(built.unwrap().success());
    let mut child = std::process::Command::new(program)
        .env("DATABASE_URL", &database.url)
        .env("BIND", &free)
        .spawn()
        .expect("cargo has built the example");
    let mut browser = Browser::new(&free);
    let began = Instant::now();
    while browser.try_send("GET", "/", &[], "").is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "the example does not listen");
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
