//! The lists of an account that may be long: its sessions and its activity.

use std::collections::BTreeSet;

use crate::support::breakpoint::until;
use crate::support::{Browser, Database, PASSWORD, Server, registered, site};

const EMAIL: &str = "ada@example.com";

/// A server that reads the IP address of a client from X-Forwarded-For.
fn proxied_site(settings: &[(&str, &str)]) -> (Server, Database) {
    let database = Database::new();
    let mut all = vec![("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1")];
    all.extend_from_slice(settings);
    let server = Server::start(&database, &all);
    (server, database)
}

fn get_from(browser: &mut Browser, ip: &str, path: &str) -> String {
    let response = browser.send("GET", path, &[("X-Forwarded-For", ip)], "");
    assert_eq!(response.status, 200, "{path}");
    response.body
}

/// The parts of `body` between `start` and `end`.
fn between<'b>(body: &'b str, start: &str, end: &str) -> Vec<&'b str> {
    body.split(start).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

/// Inserts sessions of [`EMAIL`], number n with the `User-Agent` n, all newer and seen later than those that exist.
fn db_insert_sessions(database: &Database, count: i64) {
    let inserted = database.db_execute(&format!(
        "INSERT INTO sessions (token_digest, id, user_id, authenticated_at, auth_methods, user_agent, created_at,
                               last_seen_at, idle_timeout, expires_at, absolute_expires_at)
         SELECT sha256(gen_random_uuid()::text::bytea), gen_random_uuid(), u.id, now(), '{{pwd}}', 'curl/' || n,
                now() + make_interval(secs => n / 3), now() + make_interval(secs => n), interval '1 day',
                now() + interval '1 day', now() + interval '1 day'
           FROM generate_series(1, {count}) AS n, users u
          WHERE u.email = '{EMAIL}'
          ORDER BY random()"
    ));
    assert_eq!(inserted as i64, count);
}

#[test]
fn twenty_thousand_sessions_are_counted_and_shown_in_pages_and_all_of_them_can_be_ended() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_SESSIONS_PER_USER", "0")]);
    let mut ada = registered(&server, EMAIL);
    db_insert_sessions(&database, 20_000);
    database.db_execute("ANALYZE sessions");
    let page = ada.get("/account/sessions").body;
    assert!(page.len() < 60_000, "{} bytes", page.len());
    assert!(page.contains("Sign out everywhere else (20,000)"), "{page}");
    let first = page.find("<li class=\"session").unwrap();
    assert!(page[first..].starts_with("<li class=\"session current\""), "this device first");
    let others = ada.post("/account/sessions/revoke-others", &[]);
    assert_eq!(others.status, 303);
    let page = ada.get("/account/sessions").body;
    assert!(page.contains("Signed out on 20,000 other devices."), "{page}");
    assert!(
        page.contains("You&#39;re signed in only on this device.") && !page.contains("?before=")
    );
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 1);
}

#[test]
fn the_pages_of_sessions_show_each_session_once_newest_sign_in_first() {
    let (server, database) = site();
    let mut ada = registered(&server, EMAIL);
    let current = database.db_texts("SELECT id::text FROM sessions").remove(0);
    db_insert_sessions(&database, 80);
    let expected = database.db_texts(
        "SELECT id::text FROM sessions WHERE user_agent LIKE 'curl%' ORDER BY created_at DESC, id DESC",
    );
    let (mut shown, mut path, mut pages) = (Vec::new(), "/account/sessions".to_owned(), 0);
    loop {
        // Activity while the user pages through the list changes nothing.
        database
            .db_execute("UPDATE sessions SET last_seen_at = now() + random() * interval '1 hour'");
        let page = ada.get(&path).body;
        pages += 1;
        assert!(page.contains("Sign out everywhere else (80)"), "on every page");
        assert_eq!(page.contains(">This device</span>"), pages == 1);
        let forms = between(&page, "action=\"/account/sessions/", "/revoke");
        shown.extend(forms.into_iter().filter(|id| id.len() == 36).map(str::to_owned));
        match between(&page, "href=\"/account/sessions?before=", "\">Older").first() {
            Some(before) => path = format!("/account/sessions?before={before}"),
            None => break,
        }
    }
    assert_eq!(pages, 4);
    assert!(!shown.contains(&current), "the form of this device is that of sign-out");
    assert_eq!(shown, expected);
    // A session on a later page: back to that page afterwards.
    let query = path.split_once('?').unwrap().1;
    let one = shown.last().unwrap();
    let ended = ada.post(&format!("/account/sessions/{one}/revoke?{query}"), &[]);
    assert_eq!((ended.status, ended.location()), (303, path.as_str()));
    assert!(ada.get(&path).body.contains("Signed out of curl"));
    assert!(!ada.get(&path).body.contains(one));
    for query in ["before=", "before=x", "before=1.x", "before=99999999999999999.x", "after=1"] {
        let page = ada.get(&format!("/account/sessions?{query}"));
        assert!(page.status == 200 && page.body.contains(">This device</span>"), "{query}");
    }
    // Times outside the ranges of i64, of the calendar and of PostgreSQL, at both ends.
    for microseconds in [
        "-1",
        "-0",
        "0",
        "-210866803200000001",
        "-300000000000000000",
        "-377705116800000000",
        "253402300799999999",
        "253402300800000000",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "1e9",
    ] {
        for id in ["00000000-0000-7000-8000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"] {
            let path = format!("/account/sessions?before={microseconds}.{id}");
            assert_eq!(ada.get(&path).status, 200, "{path}");
        }
    }
    let evil = format!("/account/sessions/{}/revoke?before=//evil.example", shown[0]);
    assert_eq!(ada.post(&evil, &[]).location(), "/account/sessions");
}

#[test]
fn equal_devices_have_buttons_with_different_names() {
    let (server, database) = proxied_site(&[]);
    let mut ada = server.browser();
    ada.register(EMAIL);
    for ip in ["203.0.113.7", "203.0.113.7", "203.0.113.7", "203.0.113.8", "2001:db8::1"] {
        assert_eq!(server.browser().login_from(ip, EMAIL, PASSWORD).status, 303);
    }
    database.db_execute("UPDATE sessions SET ip_address = NULL WHERE ip_address = '2001:db8::1'");
    let page = ada.get("/account/sessions").body;
    let names = between(&page, "Sign out<span class=\"visually-hidden\">", "</span>");
    let different: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!((names.len(), different.len()), (6, 6), "{names:?}");
    assert!(names.iter().all(|name| name.starts_with(" of Firefox on Linux, ")), "{names:?}");
    let from = names.iter().filter(|name| name.contains(" UTC from 203.0.113.7")).count();
    assert_eq!(from, 3, "{names:?}");
}

#[test]
fn a_cookie_that_is_used_from_another_ip_address_is_seen_on_the_sessions_page() {
    for (cache, family) in [("off", "198.51.100.9"), ("on", "2001:db8::9")] {
        let (server, database) = proxied_site(&[("FRONTDESK_SESSION_CACHE", cache)]);
        let mut ada = server.browser();
        ada.register(EMAIL);
        database.db_execute("DELETE FROM sessions");
        assert_eq!(ada.login_from("203.0.113.7", EMAIL, PASSWORD).status, 303);
        let ip = "SELECT host(last_seen_ip_address) FROM sessions WHERE host(ip_address) = '203.0.113.7'";
        assert_eq!(database.db_texts(ip), ["203.0.113.7"]);
        let mut thief = ada.clone();
        get_from(&mut thief, family, "/account/profile");
        let page = get_from(&mut ada, "203.0.113.7", "/account/sessions");
        assert!(!page.contains(" from <strong>"), "both uses are still in memory: {page}");
        let page = get_from(&mut thief, family, "/account/sessions");
        assert!(page.contains(&format!(" from <strong>{family}")), "{page}");
        // At the latest, it is written when the server stops; otherwise with the next last-seen update.
        if cache == "on" {
            server.stop();
        } else {
            database.db_execute(
                "UPDATE sessions SET last_seen_at = last_seen_at - interval '5 minutes'",
            );
            get_from(&mut thief, family, "/account/profile");
            until(|| database.db_texts(ip) == [family]);
        }
        assert_eq!(database.db_texts(ip), [family], "cache {cache}");
        let server = Server::start(&database, &[("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1")]);
        ada.addr.clone_from(&server.addr);
        // The owner, on the page of the same session.
        let page = get_from(&mut ada, "203.0.113.7", "/account/sessions");
        let warning = format!("also used from <strong>{family}</strong> <time");
        assert!(
            page.contains("You&#39;re signed in only on this device.") && page.contains(&warning)
        );
        let page = get_from(&mut ada, family, "/account/sessions");
        assert!(!page.contains("also used from"), "{page}");
        let mut other = server.browser();
        other.login(EMAIL, PASSWORD);
        let page = other.get("/account/sessions").body;
        assert!(page.contains("203.0.113.7") && page.contains(&format!(" from <strong>{family}")));
        let file = other.post("/account/export", &[]).body;
        assert!(file.contains(&format!("\"{family}\"")), "{file}");
    }
}

/// 200,000 sign-ins, then an attack, then a sign-in.
#[test]
fn two_hundred_thousand_events_are_shown_in_pages_and_an_attack_is_one_entry() {
    let (server, database) = site();
    let mut ada = registered(&server, EMAIL);
    database.db_execute("DELETE FROM audit_events");
    let insert = |count: i64, ago: &str, event: &str, details: &str| {
        database.db_execute(&format!(
            "INSERT INTO audit_events (occurred_at, event, user_id, session_id, ip_address, user_agent, details)
             SELECT now() - interval '{ago}' + make_interval(secs => n), '{event}', id, gen_random_uuid(),
                    '10.0.0.0'::inet + n % 7, 'curl/8', '{details}'
               FROM users, generate_series(1, {count}) AS n"
        ));
    };
    insert(200_000, "5 days", "signed_in", "{}");
    insert(1_200, "1 day", "sign_in_refused", r#"{"why": "wrong_password"}"#);
    insert(1, "20 hours", "sign_in_refused", r#"{"why": "throttled"}"#);
    insert(1, "20 hours", "sign_in_refused", r#"{"why": "wrong_password"}"#);
    insert(1, "20 hours", "sign_in_refused", r#"{"why": "throttled"}"#);
    insert(1, "20 hours", "password_reset_requested", "{}");
    insert(1, "19 hours", "signed_in", "{}");
    database.db_execute("ANALYZE audit_events");
    let page = ada.get("/account/activity").body;
    let entries = between(&page, "<p class=\"what\">", "</p>");
    assert_eq!(entries.len(), 30);
    assert!(entries[0].contains("Signed in"), "{entries:?}");
    assert!(entries[1].contains("Refused attempts and requests, 1,204 times"), "{entries:?}");
    for kind in [
        "Sign-in refused: wrong password, 1,201 times",
        "Sign-in refused: too many attempts; new ones are delayed, 2 times",
        "Password reset requested",
    ] {
        assert!(page.contains(&format!("<p>{kind}</p>")), "{kind}: {page}");
    }
    assert!(entries[2].contains("Signed in"), "sign-ins are never joined: {entries:?}");
    assert!(page.contains("and others") && page.contains(", since <time"));
    assert!(page.matches(" UTC</time>").count() >= 30, "exact times are text");
    assert!(!page.contains("<h2"), "{page}");
    let older = between(&page, "/account/activity?before=", "\"");
    let next = ada.get(&format!("/account/activity?before={}", older[0])).body;
    assert_eq!(between(&next, "<p class=\"what\">", "</p>").len(), 30);
    let ids = database.db_texts(
        "SELECT id::text FROM audit_events ORDER BY occurred_at DESC, id DESC OFFSET 1232 LIMIT 1",
    );
    assert_eq!(older[0], ids[0], "the next page begins where this one ends");
    for id in [i64::MIN, -1, 0, i64::MAX] {
        assert_eq!(ada.get(&format!("/account/activity?before={id}")).status, 200, "{id}");
    }
    for text in ["9223372036854775808", "x", "", "%00", "%ff"] {
        assert_eq!(ada.get(&format!("/account/activity?before={text}")).status, 200, "{text}");
    }
}

#[test]
fn the_activity_page_says_which_device_was_signed_out() {
    let (server, database) = site();
    let mut ada = registered(&server, EMAIL);
    let mut phone = server.browser();
    phone.user_agent = "curl/8.14.1".to_owned();
    assert_eq!(phone.login(EMAIL, PASSWORD).status, 303);
    let id =
        database.db_texts("SELECT id::text FROM sessions WHERE user_agent LIKE 'curl%'").remove(0);
    ada.post(&format!("/account/sessions/{id}/revoke"), &[]);
    let page = ada.get("/account/activity").body;
    let entries = between(&page, "<p class=\"what\">", "</p>");
    assert!(entries[0].contains("Session ended: signed out remotely (curl"), "{}", entries[0]);
}
