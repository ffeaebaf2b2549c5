//! Outages: PostgreSQL is down or hangs, the server is killed, the server is stopped by a signal.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use frontdesk::db::private_cluster::Cluster;

use crate::idle_server::IdleServer;
use crate::support::breakpoint::{Breakpoint, db_kill_at};
use crate::support::browser::encode;
use crate::support::folder::new_folder;
use crate::support::mail::db_mail;
use crate::support::server::KEY;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};
use crate::{exclusive, wait_until};

#[test]
fn a_postgresql_outage_is_answered_with_503_and_signs_no_one_out() {
    let _exclusive = exclusive();
    let idle = IdleServer::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = new_folder("outage");
    let start = || runtime.block_on(Cluster::start(&folder)).unwrap();
    let cluster = start();
    let url = cluster.url().to_owned();
    let server =
        Server::start_with(&[("DATABASE_URL", &url), ("FRONTDESK_SECRET_KEYS", KEY)]).unwrap();
    let mut browser = server.browser();
    browser.register("ada@example.com");
    let cookies = browser.cookies.clone();
    runtime.block_on(cluster.stop()).unwrap();

    for path in ["/account", "/account/sessions", "/"] {
        let (answer, took) = idle.timed(|| browser.get(path));
        assert_eq!(answer.status, 503, "{path}");
        assert!(took < Duration::from_secs(3), "{path} took {took:?}");
        assert!(answer.header("retry-after").is_some() && answer.header("refresh").is_some());
        assert!(answer.body.contains("We&#39;ll be right back"));
        assert!(
            answer
                .body
                .contains("You haven&#39;t been signed out. This page will reload automatically")
        );
        assert!(answer.cookies().is_empty(), "{:?}", answer.cookies());
    }
    let (posted, took) = idle.timed(|| server.browser().login("ada@example.com", PASSWORD));
    assert_eq!((posted.status, posted.header("refresh")), (503, None), "a POST is never repeated");
    assert!(posted.header("retry-after").is_some() && !posted.body.contains("Try again"));
    assert!(posted.body.contains("Your last change may not have been saved"));
    assert!(took < Duration::from_secs(3), "the sign-in took {took:?}");
    assert_eq!(
        server.browser().get("/").status,
        200,
        "visitors without a session still see the start page"
    );
    assert_eq!(server.browser().get("/healthz").status, 200);
    assert_eq!(server.browser().get("/readyz").status, 503);

    let cluster = start();
    let (_, back) = idle.timed(|| wait_until(|| browser.get("/account").status == 200));
    println!("pages were served again {back:?} after PostgreSQL");
    assert!(back < Duration::from_secs(2), "{back:?}");
    assert_eq!(browser.cookies, cookies);
    drop(server);
    runtime.block_on(cluster.stop()).unwrap();
}

#[test]
fn a_stale_pid_file_naming_another_folders_postgresql_does_not_delay_the_start() {
    let _exclusive = exclusive();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (other_folder, folder) = (new_folder("stale-other"), new_folder("stale"));
    let other = runtime.block_on(Cluster::start(&other_folder)).unwrap();
    let pid_file = |folder: &Path| folder.join("database/postgres/postmaster.pid");
    let text = std::fs::read_to_string(pid_file(&other_folder)).unwrap();
    let cluster = runtime.block_on(Cluster::start(&folder)).unwrap();
    runtime.block_on(cluster.stop()).unwrap();
    // The file as in a copied folder, and as if the process number had been reused.
    let data = |folder: &Path| folder.join("database/postgres").display().to_string();
    for stale in [text.clone(), text.replace(&data(&other_folder), &data(&folder))] {
        std::fs::write(pid_file(&folder), stale).unwrap();
        let began = Instant::now();
        let cluster = runtime.block_on(Cluster::start(&folder)).unwrap();
        let took = began.elapsed();
        println!("with a stale pid file PostgreSQL started in {took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        runtime.block_on(cluster.stop()).unwrap();
    }
    let untouched = std::fs::read_to_string(pid_file(&other_folder)).unwrap();
    assert_eq!(untouched, text);
    runtime.block_on(other.stop()).unwrap();
}

#[test]
fn a_hanging_postgresql_is_answered_with_503_within_three_seconds() {
    let _exclusive = exclusive();
    let idle = IdleServer::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = new_folder("hangs");
    let cluster = runtime.block_on(Cluster::start(&folder)).unwrap();
    let url = cluster.url().to_owned();
    let server =
        Server::start_with(&[("DATABASE_URL", &url), ("FRONTDESK_SECRET_KEYS", KEY)]).unwrap();
    let mut browser = server.browser();
    browser.register("ada@example.com");
    let pid_file = cluster.data_dir().join("database/postgres/postmaster.pid");
    let postmaster = std::fs::read_to_string(pid_file).unwrap().lines().next().unwrap().to_owned();
    let signal = |name: &str| {
        Command::new("pkill").args([name, "-P", &postmaster]).status().unwrap();
        Command::new("kill").args([name, &postmaster]).status().unwrap();
    };
    signal("-STOP");
    let (answer, took) = idle.timed(|| browser.get("/account"));
    signal("-CONT");
    assert_eq!(answer.status, 503);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(answer.cookies().is_empty());
    let (_, back) = idle.timed(|| wait_until(|| browser.get("/account").status == 200));
    assert!(back < Duration::from_secs(2), "{back:?}");
    drop(server);
    runtime.block_on(cluster.stop()).unwrap();
}

#[test]
fn a_password_change_interrupted_by_a_kill_is_committed_whole_or_not_at_all() {
    let _exclusive = exclusive();
    // Where the server is killed: each trigger waits for a lock that the test holds.
    let stops = [
        ("users", "BEFORE UPDATE"),
        ("users", "AFTER UPDATE"),
        ("sessions", "BEFORE DELETE"),
        ("sessions", "AFTER DELETE"),
        ("audit_events", "BEFORE INSERT"),
        ("sessions", "BEFORE UPDATE"),
        ("sessions", "AFTER UPDATE"),
        ("audit_events", "AFTER INSERT"),
        ("email_tokens", "BEFORE DELETE"),
        ("email_tokens", "AFTER DELETE"),
        ("mail_outbox", "BEFORE INSERT"),
        ("mail_outbox", "AFTER INSERT"),
        ("users", "CONSTRAINT AFTER UPDATE"),
    ];
    let (mut before, mut after) = (0, 0);
    for (table, moment) in stops {
        let database = Database::new();
        let mut server = Server::start(&database, &[]);
        let here = registered(&server, "ada@example.com");
        // An unverified email gets no notice.
        database.db_execute("UPDATE users SET email_verified_at = now()");
        server.browser().login("ada@example.com", PASSWORD);
        server.browser().post("/forgot-password", &[("email", "ada@example.com")]);
        db_mail(&database, "reset_password", 1);
        // The copy keeps the cookie from before the change.
        let mut copy = here.clone();
        let fingerprint = |database: &Database| {
            database.db_texts(
                "SELECT u.password_hash || ' ' || string_agg(encode(s.token_digest, 'hex'), ' ' ORDER BY s.created_at)
                   FROM users u JOIN sessions s ON s.user_id = u.id GROUP BY u.id",
            )[0].clone()
        };
        let old = fingerprint(&database);
        db_kill_at(&database, &mut server, (table, moment), here, |browser| {
            let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
            let form = [("Content-Type", "application/x-www-form-urlencoded")];
            browser.try_send("POST", "/account/password", &form, &encode(&fields)).ok()
        });
        let now = fingerprint(&database);
        let changed =
            database.db_count("SELECT count(*) FROM audit_events WHERE event = 'password_changed'");
        // A committed change always has its mail, and the older reset link no longer works.
        let mails = "SELECT count(*) FROM mail_outbox WHERE kind = 'password_changed'";
        assert_eq!(database.db_count(mails), changed, "{table} {moment}");
        let links = "SELECT count(*) FROM email_tokens WHERE purpose = 'reset_password'";
        assert_eq!(database.db_count(links), 1 - changed, "{table} {moment}");
        let restarted = Server::start(&database, &[]);
        copy.addr = restarted.addr.clone();
        if changed == 0 {
            before += 1;
            assert_eq!(now, old, "{table} {moment}");
            assert!(copy.is_signed_in());
            assert_eq!(restarted.browser().login("ada@example.com", PASSWORD).status, 303);
        } else {
            after += 1;
            assert!(!copy.is_signed_in(), "{table} {moment}");
            assert_eq!(now.split(' ').count(), 2, "one session is left");
            assert!(old.split(' ').all(|part| !now.contains(part)), "{table} {moment}");
            assert_eq!(restarted.browser().login("ada@example.com", OTHER_PASSWORD).status, 303);
        }
    }
    println!(
        "killed at {} points: {before} times nothing was committed, {after} times everything",
        stops.len()
    );
}

#[test]
fn a_sign_in_interrupted_by_a_kill_is_committed_whole_or_not_at_all() {
    let _exclusive = exclusive();
    // The sign-in is on a new device, in a browser that is signed in to another account.
    let stops = [
        ("mail_outbox", "BEFORE INSERT"),
        ("mail_outbox", "AFTER INSERT"),
        ("sessions", "BEFORE DELETE"),
        ("sessions", "AFTER DELETE"),
        ("audit_events", "BEFORE INSERT"),
        ("sessions", "BEFORE INSERT"),
        ("sessions", "AFTER INSERT"),
        ("audit_events", "AFTER INSERT"),
        ("sessions", "CONSTRAINT AFTER INSERT"),
    ];
    let (mut before, mut after) = (0, 0);
    for (table, moment) in stops {
        let database = Database::new();
        let mut server = Server::start(&database, &[]);
        registered(&server, "ada@example.com");
        let bob = registered(&server, "bob@example.com");
        // An unverified email gets no notice.
        database.db_execute("UPDATE users SET email_verified_at = now()");
        database.db_execute(
            "DELETE FROM sessions s USING users u WHERE u.id = s.user_id AND u.email = 'ada@example.com'",
        );
        let mut copy = bob.clone();
        db_kill_at(&database, &mut server, (table, moment), bob, |browser| {
            let fields = [("email", "ada@example.com"), ("password", PASSWORD)];
            let form = [("Content-Type", "application/x-www-form-urlencoded")];
            browser.try_send("POST", "/login", &form, &encode(&fields)).ok()
        });
        let count = |sql: &str| database.db_count(&format!("SELECT count(*) FROM {sql}"));
        let of = "sessions s JOIN users u ON u.id = s.user_id WHERE u.email =";
        let new = count(&format!("{of} 'ada@example.com'"));
        assert_eq!(count(&format!("{of} 'bob@example.com'")), 1 - new, "{table} {moment}");
        let ended = "audit_events WHERE event = 'session_ended' AND details->>'cause' = 'replaced'";
        assert_eq!(count(ended), new, "{table} {moment}");
        // Two events are those of the registrations.
        assert_eq!(count("audit_events WHERE event = 'signed_in'"), 2 + new, "{table} {moment}");
        assert_eq!(count("mail_outbox WHERE kind = 'new_device'"), new, "{table} {moment}");
        let restarted = Server::start(&database, &[]);
        copy.addr = restarted.addr.clone();
        assert_eq!(copy.is_signed_in(), new == 0, "{table} {moment}");
        assert_eq!(restarted.browser().login("ada@example.com", PASSWORD).status, 303);
        if new == 0 { before += 1 } else { after += 1 }
    }
    assert!(before > 0 && after > 0, "{before} {after}");
    println!(
        "killed at {} points: {before} times nothing was committed, {after} times everything",
        stops.len()
    );
}

#[test]
fn a_graceful_stop_finishes_requests_in_flight_and_flushes_pending_updates() {
    let _exclusive = exclusive();
    for signal in ["TERM", "INT"] {
        let database = Database::new();
        let mut server = Server::start(&database, &[]);
        // Of eight users, because changes of one user wait for each other. Not sign-ins: on a busy machine, the
        // first one would reach its statement timeout before the password of the last one is verified.
        let others: Vec<_> =
            (0..8).map(|n| registered(&server, &format!("user{n}@example.com"))).collect();
        let mut browser = registered(&server, "ada@example.com");
        database
            .db_execute("UPDATE sessions SET last_seen_at = last_seen_at - interval '30 seconds'");
        let seen = "SELECT EXTRACT(EPOCH FROM now() - max(last_seen_at))::bigint FROM sessions";
        assert!(browser.is_signed_in());
        assert!(database.db_count(seen) >= 30, "the update is still pending");
        // The signal is sent while all eight requests wait for the lock: a connection that is not yet
        // accepted may be reset.
        let hold = Breakpoint::db_at(&database, ("users", "BEFORE UPDATE"));
        let in_flight: Vec<_> = others
            .into_iter()
            .map(|mut other| {
                std::thread::spawn(move || {
                    other.post("/account/profile", &[("display_name", "Renamed")]).status
                })
            })
            .collect();
        hold.until_reached(8);
        server.signal(signal);
        hold.release();
        let code = server.ended();
        assert_eq!(code, Some(0), "{}", server.log());
        for answer in in_flight {
            assert_eq!(answer.join().unwrap(), 303, "{}", server.log());
        }
        let renamed = "SELECT count(*) FROM users WHERE display_name = 'Renamed'";
        assert_eq!(database.db_count(renamed), 8);
        let oldest = database
            .db_count("SELECT EXTRACT(EPOCH FROM now() - min(last_seen_at))::bigint FROM sessions");
        assert!(
            oldest < 30,
            "last-seen times were not written on stop ({oldest} s ago):\n{}",
            server.log()
        );
    }
}

#[test]
fn a_graceful_stop_interrupts_a_long_purge() {
    let _exclusive = exclusive();
    let database = Database::new();
    database.db_execute(
        "INSERT INTO sessions (token_digest, id, expires_at, absolute_expires_at, idle_timeout)
         SELECT sha256(convert_to(n::text, 'UTF8')), gen_random_uuid(), now() - interval '2 hours', now(), interval '2 hours'
           FROM generate_series(1, 200000) AS n",
    );
    let mut server = Server::start(&database, &[]);
    let rows = "SELECT count(*) FROM sessions";
    wait_until(|| database.db_count(rows) < 200_000);
    server.signal("TERM");
    let began = Instant::now();
    assert_eq!(server.ended(), Some(0), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(database.db_count(rows) > 0, "the purge had already finished");
    assert!(!server.log().contains("stopping immediately"), "{}", server.log());
}

#[test]
fn a_second_signal_stops_without_waiting_for_requests_in_flight() {
    let _exclusive = exclusive();
    let (mut server, database) = site();
    registered(&server, "ada@example.com");
    let held = database.db_begin("LOCK TABLE users IN ACCESS EXCLUSIVE MODE");
    let mut browser = server.browser();
    let asked = std::thread::spawn(move || {
        let fields = crate::support::browser::encode(&[
            ("email", "ada@example.com"),
            ("password", PASSWORD),
        ]);
        browser.try_send(
            "POST",
            "/login",
            &[("Content-Type", "application/x-www-form-urlencoded")],
            &fields,
        )
    });
    wait_until(|| {
        database.db_count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") > 0
    });
    server.signal("TERM");
    wait_until(|| server.log().contains("stopping: finishing requests in flight"));
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
    assert!(server.log().contains("stopping immediately"), "{}", server.log());
    asked.join().unwrap().ok();
    held.rollback();
}

#[test]
fn wrong_settings_are_all_reported_and_the_server_does_not_start() {
    let _exclusive = exclusive();
    let log = Server::start_with(&[
        ("FRONTDESK_PUBLIC_URL", "http://desk.example.com"),
        ("FRONTDESK_SESION_IDLE_TIMEOUT", "2h"),
        ("FRONTDESK_LOG", "xml"),
    ])
    .err()
    .unwrap();
    for word in [
        "must begin with https://",
        "Did you mean FRONTDESK_SESSION_IDLE_TIMEOUT?",
        "must be text or json",
    ] {
        assert!(log.contains(word), "{log}");
    }
    let log = Server::start_with(&[
        ("DATABASE_URL", "postgres://desk:hunter2@127.0.0.1:1/desk"),
        ("FRONTDESK_SECRET_KEYS", KEY),
    ])
    .err()
    .unwrap();
    assert!(log.contains("Cannot connect to PostgreSQL") && !log.contains("hunter2"), "{log}");
}
