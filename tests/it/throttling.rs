//! Guessing: what attackers get, and what it costs everybody else.

mod beyond_sign_in;
mod known_devices;

use frontdesk::user::purge;

use crate::command_line::run;
use crate::support::port::free_address;
use crate::support::{
    Answer, Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered, site,
};

const ADA: &str = "ada@example.com";

/// A server that believes this machine about addresses.
fn behind_a_proxy() -> (Server, Database) {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1")]);
    (server, database)
}

/// Statuses of wrong passwords for `email`, one after the other, each from the address that `from` names.
fn guesses(server: &Server, email: &str, count: usize, from: impl Fn(usize) -> String) -> Vec<u16> {
    (0..count)
        .map(|number| server.browser().login_from(&from(number), email, OTHER_PASSWORD).status)
        .collect()
}

/// Moves every counter back in time.
fn pass(database: &Database, time: &str) {
    database.db_execute(&format!(
        "UPDATE throttles SET free_at = free_at - interval '{time}', tried_at = tried_at - interval '{time}',
                              forget_at = forget_at - interval '{time}'"
    ));
}

fn counters(database: &Database) -> Vec<String> {
    database.db_texts("SELECT action || ' ' || tries FROM throttles ORDER BY 1")
}

fn hashes(metrics: &str) -> u64 {
    let told = Browser::new(metrics).get("/metrics").body;
    let line = told.lines().find(|line| line.starts_with("frontdesk_password_hashes_total "));
    line.and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap()
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").unwrap().parse().unwrap()
}

#[test]
fn two_hundred_wrong_passwords_at_once_over_two_servers_are_five_checks() {
    let database = Database::new();
    let metrics = [free_address(), free_address()];
    let start = |bind: &str| Server::start(&database, &[("FRONTDESK_METRICS_BIND", bind)]);
    let servers = [start(&metrics[0]), start(&metrics[1])];
    registered(&servers[0], ADA);
    for email in [ADA, "nobody@example.com"] {
        let sum = || metrics.iter().map(|bind| hashes(bind)).sum::<u64>();
        let before = sum();
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let crowd: Vec<_> = (0..200)
                .map(|number| {
                    let server = &servers[number % 2];
                    scope.spawn(move || server.browser().login(email, OTHER_PASSWORD))
                })
                .collect();
            crowd.into_iter().map(|one| one.join().unwrap()).collect()
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
        let told = Browser::new(bind).get("/metrics").body;
        let line = told.lines().find(|line| line.contains("throttled_total{action=\"sign_in\"}"));
        line.unwrap().split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    });
    assert_eq!(refused.sum::<u64>(), 2 * 195);
    // Of what was refused only the beginning of the wait is in the trail.
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
fn an_address_that_a_stranger_forwards_changes_nothing() {
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
fn from_a_proxy_of_ours_ipv4_counts_whole_and_ipv6_by_64() {
    let (server, database) = behind_a_proxy();
    registered(&server, ADA);
    let inside = guesses(&server, ADA, 7, |number| format!("2001:db8:1:2:{number}::{number}"));
    assert_eq!(inside, [422, 422, 422, 422, 422, 429, 429]);
    // What the client puts in front of it changes nothing.
    let faked = guesses(&server, ADA, 2, |number| format!("203.0.113.{number}, 2001:db8:1:2::7"));
    assert_eq!(faked, [429, 429]);
    let outside = guesses(&server, ADA, 3, |number| format!("2001:db8:1:{}::7", 3 + number));
    assert_eq!(outside, [422, 422, 422]);
    let whole = guesses(&server, ADA, 3, |number| format!("203.0.113.{number}"));
    assert_eq!(whole, [422, 422, 422]);
    assert_eq!(
        database.db_count(
            "SELECT count(DISTINCT ip_address) FROM audit_events WHERE event = 'sign_in_refused'"
        ),
        11
    );
}

#[test]
fn one_password_against_many_accounts_is_counted_by_the_address() {
    let (server, _database) = behind_a_proxy();
    let statuses: Vec<u16> = (0..53)
        .map(|number| {
            let email = format!("guest{number}@example.com");
            server.browser().login_from("203.0.113.7", &email, OTHER_PASSWORD).status
        })
        .collect();
    assert!(statuses[..50].iter().all(|status| *status == 422), "{statuses:?}");
    assert_eq!(statuses[50..], [429, 429, 429]);
    assert_eq!(server.browser().login_from("203.0.113.8", ADA, PASSWORD).status, 422);
}

#[test]
fn upper_case_spaces_and_unicode_variants_of_an_address_count_as_one() {
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
fn a_throttled_sign_in_is_the_same_for_accounts_that_exist_and_those_that_do_not() {
    let (server, database) = behind_a_proxy();
    registered(&server, ADA);
    registered(&server, "bob@example.com");
    database.db_execute("UPDATE users SET disabled_at = now() WHERE email = 'bob@example.com'");
    let mut seen = Vec::new();
    for (at, email) in [ADA, "bob@example.com", "eve@example.com"].into_iter().enumerate() {
        let address = format!("203.0.113.{at}");
        assert_eq!(guesses(&server, email, 5, |_| address.clone()), [422; 5]);
        // The right password makes no difference: nothing is compared.
        for password in [OTHER_PASSWORD, PASSWORD] {
            database.db_execute(
                "UPDATE throttles SET free_at = now() + interval '45.5 s' WHERE action = 'sign_in_pair'",
            );
            let mut answer = server.browser().login_from(&address, email, password);
            assert_eq!((answer.status, retry_after(&answer)), (429, 46));
            assert!(answer.body.contains("Too many tries. Wait 46 seconds, then try again."));
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
    // The length follows the address that was typed, which is shown again.
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
fn a_success_gives_back_its_own_and_nothing_else() {
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
    // Gone: the account's, and that of the account at this address. The failures at the address are still there.
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
    // Nobody makes room for guesses at one account by signing in to another.
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.extend(guesses(&server, bob, 1, |_| "203.0.113.1".to_owned()));
        assert_eq!(server.browser().login_from("203.0.113.1", ADA, PASSWORD).status, 303);
    }
    assert_eq!(statuses, [422, 429, 429]);
}

#[test]
fn a_crowd_that_signs_in_from_one_address_does_not_use_it_up() {
    let (server, database) = behind_a_proxy();
    registered(&server, ADA);
    database.db_guests(ADA, 60);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let crowd: Vec<_> = (0..60)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let email = format!("guest{number}@example.com");
                    server.browser().login_from("203.0.113.1", &email, PASSWORD).status
                })
            })
            .collect();
        crowd.into_iter().map(|one| one.join().unwrap()).collect()
    });
    println!("60 at once from one address: {} in", statuses.iter().filter(|s| **s == 303).count());
    // Some may have come while fifty others were being looked at; none of that lasts.
    for number in 0..60 {
        let email = format!("guest{number}@example.com");
        let answer = server.browser().login_from("203.0.113.1", &email, PASSWORD);
        assert_eq!(answer.status, 303, "{number}");
    }
    assert_eq!(
        database.db_texts("SELECT action || ' ' || tries || ' ' || (free_at <= now()) FROM throttles WHERE action LIKE 'sign_in%'"),
        ["sign_in_address 0 true"]
    );
}

#[test]
fn waits_double_up_to_an_hour_a_refused_try_adds_nothing_and_a_day_forgets() {
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
            let told = retry_after(&answer) as i64;
            assert!(told <= wait && told >= wait - 5, "{told} of {wait}");
        }
        assert_eq!(database.db_texts(row), before, "a refused try writes nothing");
        pass(&database, &format!("{} s", wait - 5));
        assert_eq!(guess().status, 429, "not before its time");
        pass(&database, "5 s");
    }
    pass(&database, "23 h 50 min");
    assert_eq!(guess().status, 422);
    assert_eq!(database.db_count(seconds), 3600, "remembered for a day after the wait");
    pass(&database, "25 h 1 min");
    assert_eq!(guess().status, 422);
    assert_eq!(database.db_count(seconds), 0);
    assert_eq!(counters(&database), ["sign_in_account 1", "sign_in_address 1", "sign_in_pair 1"]);
}

#[test]
fn the_table_is_unlogged_holds_nothing_typed_and_purges_what_is_forgotten() {
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
    for typed in ["ada", "eve", "example", "127.0.0.1", "no address", OTHER_PASSWORD] {
        assert!(!all.contains(typed), "{typed}");
    }
    let count = || database.db_count("SELECT count(*) FROM throttles");
    let purge = || {
        database.runtime.block_on(async {
            let mut connection = database.pool.acquire().await.unwrap();
            purge::throttles(&mut connection, 20_000).await.unwrap()
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
fn an_operator_lets_an_account_be_tried_again() {
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
