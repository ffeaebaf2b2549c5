//! A proxy that directs new connections to a standby for some seconds, as during a switchover, while open
//! connections stay with the primary. Servers must not rely on rows from a standby, and must not cache rows
//! without notifications of their changes.

use crate::command_line;
use crate::support::breakpoint::until;
use crate::support::server::KEY;
use crate::support::standby::Site;
use crate::support::{Browser, PASSWORD, Server, registered};

const EMAIL: &str = "ada@example.com";

#[test]
fn a_lagging_standby_does_not_accept_a_revoked_session() {
    let site = Site::new("behind");
    let ada = registered(&site.server, EMAIL);
    let cookies = site.primary.db_create_sessions(EMAIL, 8);
    site.standby.db_pause_replay(&site.primary);
    // Revoked on the primary; the standby does not replay it.
    let revoke = "DELETE FROM sessions WHERE id NOT IN (SELECT id FROM sessions ORDER BY created_at LIMIT 1)";
    assert_eq!(site.primary.db_execute(revoke), 8);

    site.fail_over();
    for cookie in &cookies {
        assert_eq!(site.profile_status(cookie), 503, "neither accepted nor signed out");
    }
    let mut registering = site.server.browser();
    let fields = [("email", "bob@example.com"), ("password", PASSWORD), ("display_name", "Bob")];
    assert_eq!(registering.post("/register", &fields).status, 503);
    assert!(registering.session().is_none());
    assert_eq!(site.server.browser().get("/readyz").status, 503);
    assert!(site.readyz().contains("\"database\":\"standby\""), "{}", site.readyz());
    assert_eq!(site.server.browser().get("/healthz").status, 200);

    site.fail_back();
    let mut ada = ada;
    until(|| ada.get("/account").status == 200);
    for cookie in &cookies {
        assert_eq!(site.profile_status(cookie), 303, "the cache kept no entry from the standby");
    }
    assert_eq!(site.server.browser().get("/readyz").status, 200);
    let log = site.server.log();
    assert!(log.contains("is a standby"), "{log}");
}

#[test]
fn a_lagging_standby_does_not_sign_out_a_user_who_just_signed_in() {
    let site = Site::new("ahead");
    registered(&site.server, EMAIL);
    site.standby.db_pause_replay(&site.primary);
    let cookie = site.primary.db_create_sessions(EMAIL, 1).remove(0);
    site.fail_over();
    for _ in 0..8 {
        assert_eq!(site.profile_status(&cookie), 503, "not sent to sign in");
    }
    let signing_in = site.server.browser().login(EMAIL, PASSWORD);
    assert_eq!(signing_in.status, 503);
    assert!(signing_in.cookies().is_empty());
    site.fail_back();
    until(|| site.profile_status(&cookie) == 200);
}

#[test]
fn rows_read_from_a_server_that_sends_no_notifications_are_not_cached() {
    let site = Site::new("promoted");
    registered(&site.server, EMAIL);
    let cookie = site.primary.db_create_sessions(EMAIL, 1).remove(0);
    site.standby.db_pause_replay(&site.primary);
    let new_primary = &site.standby.database;
    new_primary.db_texts("SELECT pg_wal_replay_resume()::text");
    assert_eq!(new_primary.db_texts("SELECT pg_promote()::text"), ["true"]);
    site.fail_over();
    // Rows come from the new primary; notifications still come from the former one, which keeps running.
    until(|| site.profile_status(&cookie) == 200);
    until(|| site.readyz().contains("trusted"));
    for _ in 0..3 {
        assert_eq!(site.profile_status(&cookie), 200);
    }
    // Not by db_execute: the new primary has no lease of a server to wait for.
    assert_eq!(new_primary.db_texts("DELETE FROM sessions RETURNING 'gone'").len(), 2);
    assert_eq!(site.profile_status(&cookie), 303, "read from the database each time");
}

#[test]
fn startup_and_doctor_name_a_standby_as_the_problem() {
    let site = Site::new("named");
    let settings = [("DATABASE_URL", site.standby.url()), ("FRONTDESK_SECRET_KEYS", KEY)];
    let log = Server::start_with(&settings).err().unwrap();
    assert!(log.contains("is a standby") && log.contains("DATABASE_URL"), "{log}");
    let output = command_line::run(&site.standby.database, &["doctor"], "");
    assert_eq!(output.code, 4);
    assert!(output.out.contains("is a standby"), "{}", output.out);
    let output = command_line::run(&site.standby.database, &["session", "list"], "");
    assert_eq!(output.code, 1);
    assert!(output.error.contains("is a standby"), "{}", output.error);
}

/// Without a server's cache: the wait for other servers must not rely on the leases in a standby either.
#[test]
fn awaiting_invalidation_on_a_standby_waits_for_a_whole_lease() {
    let site = Site::new("waits");
    let mut browser: Browser = registered(&site.server, EMAIL);
    assert!(browser.is_signed_in());
    site.standby.db_pause_replay(&site.primary);
    // According to the standby, every lease has expired.
    let leases = "SELECT count(*) FROM session_caches WHERE trusted_until > clock_timestamp()";
    until(|| site.standby.database.db_count(leases) == 0);
    let pool = &site.standby.database.pool;
    let waited = site.standby.database.runtime.block_on(async {
        let began = std::time::Instant::now();
        frontdesk::session::settle(pool, None).await;
        began.elapsed()
    });
    assert!(waited >= frontdesk::session::LEASE, "{waited:?}: it relied on the standby");
}
