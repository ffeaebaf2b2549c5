//! Rate limits on password guessing: their effect on attackers and on other users.

mod beyond_sign_in;
mod busy;
mod in_flight;
mod known_devices;

use frontdesk::user::purge;
use frontdesk::user::rate_limit::Limits;

use crate::command_line::run;
use crate::support::port::free_addr;
use crate::support::{
    Browser, Database, OTHER_PASSWORD, PASSWORD, Response, Server, registered, site,
};

const ADA: &str = "ada@example.com";

/// A server that trusts this machine as a proxy, so that tests can choose the IP address.
fn behind_a_proxy() -> (Server, Database) {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1")]);
    (server, database)
}

/// Statuses of consecutive wrong passwords for `email`; `from` returns the IP address of each.
fn guesses(server: &Server, email: &str, count: usize, from: impl Fn(usize) -> String) -> Vec<u16> {
    (0..count)
        .map(|number| server.browser().login_from(&from(number), email, OTHER_PASSWORD).status)
        .collect()
}

/// Moves every counter back in time, as if `time` had passed.
fn age_counters(database: &Database, time: &str) {
    database.db_execute(&format!(
        "UPDATE throttles SET free_at = free_at - interval '{time}', tried_at = tried_at - interval '{time}',
                              forget_at = forget_at - interval '{time}'"
    ));
}

fn counters(database: &Database) -> Vec<String> {
    database.db_texts("SELECT action || ' ' || tries FROM throttles ORDER BY 1")
}

/// How many argon2id hashes the server with these metrics has computed.
pub fn hashes(metrics: &str) -> u64 {
    let metrics = Browser::new(metrics).get("/metrics").body;
    let line = metrics.lines().find(|line| line.starts_with("frontdesk_password_hashes_total "));
    line.and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap()
}

fn retry_after(answer: &Response) -> u64 {
    answer.header("retry-after").unwrap().parse().unwrap()
}

#[test]
fn two_hundred_concurrent_guesses_over_two_servers_get_five_password_checks() {
    let database = Database::new();
    let metrics = [free_addr(), free_addr()];
    let start = |bind: &str| Server::start(&database, &[("FRONTDESK_METRICS_BIND", bind)]);
    let servers = [start(&metrics[0]), start(&metrics[1])];
    registered(&servers[0], ADA);
    for email in [ADA, "nobody@example.com"] {
        let sum = || metrics.iter().map(|bind| hashes(bind)).sum::<u64>();
        let before = sum();
        let answers: Vec<Response> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..200)
                .map(|number| {
                    let server = &servers[number % 2];
                    scope.spawn(move || server.browser().login(email, OTHER_PASSWORD))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
        println!("{email}: {} checks; 422 × {}, 429 × {}", sum() - before, count(422), count(429));
        assert_eq!(sum() - before, 5);
        assert_eq!((count(422), count(429)), (5, 195));
        for answer in answers.iter().filter(|answer| answer.status == 429) {
            assert!((1..=30).contains(&retry_after(answer)));
        }
    }
    let refused = metrics.iter().map(|bind| {
        let metrics = Browser::new(bind).get("/metrics").body;
        let line =
            metrics.lines().find(|line| line.contains("throttled_total{action=\"sign_in\"}"));
        line.unwrap().split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    });
    assert_eq!(refused.sum::<u64>(), 2 * 195);
    // Of the rate-limited attempts, only the first of a wait is in the audit log.
    assert_eq!(
        database.db_texts(
            "SELECT (user_id IS NOT NULL) || ' ' || (details->>'why') || ' ' || coalesce(details->>'by', '') || ' ' || count(*)
               FROM audit_events WHERE event = 'sign_in_refused'
              GROUP BY user_id IS NOT NULL, details->>'why', details->>'by' ORDER BY 1",
        ),
        [
            "false throttled pair 1",
            "false unknown_account  5",
            "true throttled pair 1",
            "true wrong_password  5",
        ]
    );
}

#[test]
fn forwarding_headers_from_untrusted_clients_are_ignored() {
    let (server, database) = site();
    registered(&server, ADA);
    let seen = guesses(&server, ADA, 8, |number| format!("203.0.113.{number}"));
    assert_eq!(seen, [422, 422, 422, 422, 422, 429, 429, 429]);
    for header in ["Forwarded", "X-Real-IP", "X-Client-IP", "CF-Connecting-IP", "True-Client-IP"] {
        let headers =
            [("Content-Type", "application/x-www-form-urlencoded"), (header, "203.0.113.99")];
        let body = format!("email={ADA}&password=wrong");
        assert_eq!(
            server.browser().send("POST", "/login", &headers, &body).status,
            429,
            "{header}"
        );
    }
    assert_eq!(
        database.db_texts("SELECT DISTINCT host(ip_address) FROM audit_events"),
        ["127.0.0.1"]
    );
}

#[test]
fn behind_a_trusted_proxy_ipv4_is_limited_by_address_and_ipv6_by_64_prefix() {
    let (server, database) = behind_a_proxy();
    registered(&server, ADA);
    let same_prefix = guesses(&server, ADA, 7, |number| format!("2001:db8:1:2:{number}::{number}"));
    assert_eq!(same_prefix, [422, 422, 422, 422, 422, 429, 429]);
    // Addresses that the client puts first in X-Forwarded-For are ignored.
    let forged = guesses(&server, ADA, 2, |number| format!("203.0.113.{number}, 2001:db8:1:2::7"));
    assert_eq!(forged, [429, 429]);
    let other_prefixes = guesses(&server, ADA, 3, |number| format!("2001:db8:1:{}::7", 3 + number));
    assert_eq!(other_prefixes, [422, 422, 422]);
    let ipv4 = guesses(&server, ADA, 3, |number| format!("203.0.113.{number}"));
    assert_eq!(ipv4, [422, 422, 422]);
    assert_eq!(
        database.db_count(
            "SELECT count(DISTINCT ip_address) FROM audit_events WHERE event = 'sign_in_refused'"
        ),
        11
    );
}

#[test]
fn password_spraying_is_limited_by_ip() {
    let (server, _database) = behind_a_proxy();
    let statuses: Vec<u16> = (0..53)
        .map(|number| {
            let email = format!("user{number}@example.com");
            server.browser().login_from("203.0.113.7", &email, OTHER_PASSWORD).status
        })
        .collect();
    assert!(statuses[..50].iter().all(|status| *status == 422), "{statuses:?}");
    assert_eq!(statuses[50..], [429, 429, 429]);
    assert_eq!(server.browser().login_from("203.0.113.8", ADA, PASSWORD).status, 422);
}

#[test]
fn case_space_and_unicode_variants_of_an_email_count_as_one() {
    let (server, database) = site();
    registered(&server, ADA);
    let spellings = [
        "ada@example.com",
        "  ADA@EXAMPLE.COM\t",
        "Ada@Example.com",
        "ａｄａ@ｅｘａｍｐｌｅ.com",
        "ada@example。com",
        "aDa@example.com",
        "ad\u{1d41a}@example.com",
    ];
    let statuses: Vec<u16> = spellings
        .iter()
        .map(|email| server.browser().login(email, OTHER_PASSWORD).status)
        .collect();
    assert_eq!(statuses, [422, 422, 422, 422, 422, 429, 429]);
    assert_eq!(
        counters(&database),
        [
            "register_address 1",
            "register_pair 1",
            "sign_in_account 5",
            "sign_in_address 5",
            "sign_in_pair 5"
        ]
    );
}

#[test]
fn a_rate_limited_sign_in_looks_the_same_with_and_without_an_account() {
    let (server, database) = behind_a_proxy();
    registered(&server, ADA);
    registered(&server, "bob@example.com");
    database.db_execute("UPDATE users SET disabled_at = now() WHERE email = 'bob@example.com'");
    let mut seen = Vec::new();
    for (at, email) in [ADA, "bob@example.com", "eve@example.com"].into_iter().enumerate() {
        let ip = format!("203.0.113.{at}");
        assert_eq!(guesses(&server, email, 5, |_| ip.clone()), [422; 5]);
        // The correct password makes no difference: it is not verified.
        for password in [OTHER_PASSWORD, PASSWORD] {
            database.db_execute(
                "UPDATE throttles SET free_at = now() + interval '45.5 s' WHERE action = 'sign_in_pair'",
            );
            let mut answer = server.browser().login_from(&ip, email, password);
            assert_eq!((answer.status, retry_after(&answer)), (429, 46));
            assert!(answer.body.contains("Too many attempts. Wait 46 seconds, then try again."));
            assert!(answer.body.contains("reset your password"));
            assert!(!answer.body.contains(password));
            let id = answer.header("x-request-id").unwrap().to_owned();
            assert!(answer.cookies().is_empty());
            answer.headers.retain(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()));
            answer.headers.sort();
            seen.push((answer.headers, answer.body.replace(&id, "ID").replace(email, "EMAIL")));
        }
    }
    let (headers, body) = seen[0].clone();
    // The content length depends on the entered email, which the form shows again.
    let plain = |headers: &[(String, String)]| {
        headers.iter().filter(|(name, _)| name != "content-length").cloned().collect::<Vec<_>>()
    };
    for other in &seen[1..] {
        assert_eq!(plain(&other.0), plain(&headers));
        assert_eq!(other.1, body);
    }
    assert_eq!(database.db_count("SELECT count(*) FROM audit_events WHERE event = 'signed_in'"), 2);
}

#[test]
fn a_successful_sign_in_resets_only_its_own_counters() {
    let (server, database) = behind_a_proxy();
    let bob = "bob@example.com";
    registered(&server, ADA);
    registered(&server, bob);
    database.db_execute("DELETE FROM throttles");
    guesses(&server, ADA, 4, |_| "203.0.113.1".to_owned());
    guesses(&server, ADA, 3, |_| "203.0.113.2".to_owned());
    guesses(&server, bob, 4, |_| "203.0.113.1".to_owned());
    let before = counters(&database);
    assert_eq!(server.browser().login_from("203.0.113.1", ADA, PASSWORD).status, 303);
    assert_eq!(
        before,
        [
            "sign_in_account 4",
            "sign_in_account 7",
            "sign_in_address 3",
            "sign_in_address 8",
            "sign_in_pair 3",
            "sign_in_pair 4",
            "sign_in_pair 4",
        ]
    );
    // Deleted: the counter of the account, and that of the account with this IP address. The failures of the
    // IP address still count.
    assert_eq!(
        counters(&database),
        [
            "sign_in_account 4",
            "sign_in_address 3",
            "sign_in_address 8",
            "sign_in_pair 3",
            "sign_in_pair 4"
        ]
    );
    // A sign-in to one account allows no further guesses at another.
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.extend(guesses(&server, bob, 1, |_| "203.0.113.1".to_owned()));
        assert_eq!(server.browser().login_from("203.0.113.1", ADA, PASSWORD).status, 303);
    }
    assert_eq!(statuses, [422, 429, 429]);
}

#[test]
fn many_successful_sign_ins_from_one_ip_do_not_exhaust_its_limit() {
    let (server, database) = behind_a_proxy();
    registered(&server, ADA);
    database.db_create_users(ADA, 60);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..60)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let email = format!("user{number}@example.com");
                    server.browser().login_from("203.0.113.1", &email, PASSWORD).status
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    println!(
        "60 concurrent sign-ins from one IP: {} succeeded",
        statuses.iter().filter(|s| **s == 303).count()
    );
    // Some may have been refused while fifty others were in progress; that has no lasting effect.
    for number in 0..60 {
        let email = format!("user{number}@example.com");
        let answer = server.browser().login_from("203.0.113.1", &email, PASSWORD);
        assert_eq!(answer.status, 303, "{number}");
    }
    assert_eq!(
        database.db_texts("SELECT action || ' ' || tries || ' ' || (free_at <= now()) FROM throttles WHERE action LIKE 'sign_in%'"),
        ["sign_in_address 0 true"]
    );
}

#[test]
fn waits_double_up_to_an_hour_refused_attempts_do_not_count_and_a_day_resets() {
    let (server, database) = site();
    let seconds = "SELECT round(extract(epoch FROM free_at - tried_at))::bigint FROM throttles WHERE action = 'sign_in_pair'";
    let row = "SELECT xmin::text || ' ' || ctid::text || ' ' || throttles::text FROM throttles ORDER BY 1";
    let guess = || server.browser().login(ADA, OTHER_PASSWORD);
    for _ in 0..4 {
        assert_eq!(guess().status, 422);
        assert_eq!(database.db_count(seconds), 0);
    }
    for wait in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600] {
        assert_eq!(guess().status, 422);
        assert_eq!(database.db_count(seconds), wait);
        let before = database.db_texts(row);
        for _ in 0..3 {
            let answer = guess();
            assert_eq!(answer.status, 429);
            let seconds = retry_after(&answer) as i64;
            assert!(seconds <= wait && seconds >= wait - 5, "{seconds} of {wait}");
        }
        assert_eq!(database.db_texts(row), before, "a refused attempt writes nothing");
        age_counters(&database, &format!("{} s", wait - 5));
        assert_eq!(guess().status, 429, "the wait is not over");
        age_counters(&database, "5 s");
    }
    age_counters(&database, "23 h 50 min");
    assert_eq!(guess().status, 422);
    assert_eq!(database.db_count(seconds), 3600, "the counter is kept for a day after the wait");
    age_counters(&database, "25 h 1 min");
    assert_eq!(guess().status, 422);
    assert_eq!(database.db_count(seconds), 0);
    assert_eq!(counters(&database), ["sign_in_account 1", "sign_in_address 1", "sign_in_pair 1"]);
}

#[test]
fn the_rate_limit_table_is_unlogged_stores_no_plain_text_and_is_purged() {
    let (server, database) = site();
    registered(&server, ADA);
    server.browser().login(ADA, OTHER_PASSWORD);
    server.browser().login("eve@example.com", OTHER_PASSWORD);
    server.browser().login("no address at all", OTHER_PASSWORD);
    let persistence = "SELECT relpersistence::text FROM pg_class WHERE oid = 'throttles'::regclass";
    assert_eq!(database.db_texts(persistence), ["u"]);
    assert_eq!(
        database
            .db_count("SELECT count(*) FROM throttles WHERE octet_length(subject) NOT IN (32, 64)"),
        0
    );
    let all = database
        .db_texts("SELECT throttles::text || encode(subject, 'escape') FROM throttles")
        .concat();
    for input in ["ada", "eve", "example", "127.0.0.1", "no address", OTHER_PASSWORD] {
        assert!(!all.contains(input), "{input}");
    }
    let count = || database.db_count("SELECT count(*) FROM throttles");
    let purge = || {
        database.runtime.block_on(async {
            let mut connection = database.pool.acquire().await.unwrap();
            purge::rate_limit_counters(&mut connection, 20_000, 0).await.unwrap()
        })
    };
    let before = count();
    assert_eq!(purge(), 0);
    database.db_execute("UPDATE throttles SET forget_at = now() WHERE action = 'sign_in_pair'");
    assert_eq!((purge(), count()), (2, before - 2));
    database.db_execute(
        "INSERT INTO throttles SELECT 'verify_address', sha256(n::text::bytea), 1, now(), now(), now() FROM generate_series(1, 12000) n",
    );
    assert_eq!((purge(), count()), (12_000, before - 2));
}

#[test]
fn an_operator_can_unlock_a_rate_limited_account() {
    let (server, database) = behind_a_proxy();
    registered(&server, ADA);
    guesses(&server, "eve@example.com", 5, |_| "203.0.113.1".to_owned());
    guesses(&server, ADA, 40, |number| format!("203.0.113.{}", number % 6));
    assert_eq!(server.browser().login_from("198.51.100.1", ADA, PASSWORD).status, 429);
    let unlocked = run(&database, &["user", "unlock", "ADA@example.com"], "");
    assert_eq!((unlocked.code, unlocked.out.as_str()), (0, "ada@example.com is unlocked.\n"));
    assert_eq!(server.browser().login_from("198.51.100.1", ADA, PASSWORD).status, 303);
    assert_eq!(run(&database, &["user", "unlock", ADA], "").code, 3);
    assert_eq!(run(&database, &["user", "unlock", "eve@example.com"], "").code, 3);
    assert_eq!(guesses(&server, "eve@example.com", 1, |_| "203.0.113.1".to_owned()), [429]);
    assert_eq!(
        database.db_texts("SELECT actor FROM audit_events WHERE event = 'account_unlocked'"),
        ["operator"]
    );
}

#[test]
fn the_table_of_limits_in_the_document_matches_the_code() {
    let document = std::fs::read_to_string("docs/SECURITY.md").unwrap();
    let table = Limits::markdown();
    assert!(document.contains(&table), "docs/SECURITY.md should have:\n{table}");
}
