//! Concurrent requests: races, key rotation and load.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::server::KEY;
use crate::support::{Browser, Database, PASSWORD, Server, registered};

#[test]
fn ten_writes_racing_a_sign_out_never_restore_the_session() {
    let database = Database::new();
    let servers = [Server::start(&database, &[]), Server::start(&database, &[])];
    registered(&servers[0], "ada@example.com");
    database.db_execute("DELETE FROM sessions");
    let mut written = 0;
    for round in 0..1000 {
        let mut browser = servers[round % 2].browser();
        assert_eq!(browser.login("ada@example.com", PASSWORD).status, 303);
        // Last seen so long ago that every request also updates last_seen_at.
        database.db_execute(
            "UPDATE sessions SET last_seen_at = now() - interval '119m 59s', expires_at = now() + interval '5 seconds'",
        );
        let signed_out = AtomicBool::new(false);
        let copy = browser.clone();
        if round == 0 {
            let before = copy.clone().post("/account/profile", &[("display_name", "Ada before")]);
            assert_eq!(
                before.location(),
                "/account/profile",
                "a write before the sign-out succeeds"
            );
        }
        written += std::thread::scope(|scope| {
            let mut writers = Vec::new();
            for number in 0..10 {
                if number == round % 10 {
                    let (signed_out, mut browser) = (&signed_out, browser.clone());
                    scope.spawn(move || {
                        assert_eq!(browser.post("/logout", &[]).status, 303);
                        signed_out.store(true, Ordering::SeqCst);
                    });
                }
                let mut writer = copy.on_server(&servers[number % 2].addr);
                let signed_out = &signed_out;
                writers.push(scope.spawn(move || {
                    let began_after = signed_out.load(Ordering::SeqCst);
                    let name = format!("Ada {number}");
                    let response = writer.post("/account/profile", &[("display_name", &name)]);
                    let written = response.location() == "/account/profile";
                    assert!(!(began_after && written), "written after the sign-out was answered");
                    usize::from(written)
                }));
            }
            writers.into_iter().map(|writer| writer.join().unwrap()).sum::<usize>()
        });
        assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0, "round {round}");
        for server in &servers {
            assert!(!copy.on_server(&server.addr).is_signed_in(), "round {round}");
        }
    }
    // How many were faster than the sign-out depends on the machine.
    println!("1,000 rounds: {written} of 10,000 writes were committed before the sign-out");
}

#[test]
fn rotating_the_key_twice_under_load_signs_no_user_out() {
    let database = Database::new();
    let mut keys = vec![KEY.to_owned()];
    let mut server = Server::start(&database, &[("FRONTDESK_SECRET_KEYS", KEY)]);
    let mut users: Vec<Browser> =
        (0..8).map(|number| registered(&server, &format!("user{number}@example.com"))).collect();
    for new_key in [
        "Zp4Jq8Wm1Xc6Vb3Nn7Kt2Lr9Hs5Gf0DyAeUiOoPlQaSwEdRf",
        "Mn3Bv7Cx1Zl5Kj9Hg2Fd6Sa4Po8Iu0YtReWqAzSxDcFvGbHn",
    ] {
        // Both servers run at the same time, as in a rolling restart behind a proxy. The old server accepts
        // the new key too, as the last of its keys.
        let old_server_keys = format!("{},{new_key}", keys.join(","));
        let old_server = Server::start(&database, &[("FRONTDESK_SECRET_KEYS", &old_server_keys)]);
        keys.insert(0, new_key.to_owned());
        let new_server = Server::start(&database, &[("FRONTDESK_SECRET_KEYS", &keys.join(","))]);
        let signed_out = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for browser in &mut users {
                let (signed_out, old_server, new_server) = (&signed_out, &old_server, &new_server);
                scope.spawn(move || {
                    for turn in 0..25 {
                        let at = if turn % 2 == 0 { &new_server.addr } else { &old_server.addr };
                        browser.addr = at.clone();
                        if !browser.is_signed_in() {
                            signed_out.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    browser.addr = new_server.addr.clone();
                    assert!(browser.is_signed_in());
                });
            }
        });
        assert_eq!(signed_out.load(Ordering::SeqCst), 0);
        keys.truncate(2);
        server = new_server;
    }
    let last = keys[0].clone();
    let alone = Server::start(&database, &[("FRONTDESK_SECRET_KEYS", &last)]);
    drop(server);
    for browser in &users {
        assert!(browser.on_server(&alone.addr).is_signed_in(), "resealed with the last key");
    }
}

#[test]
fn three_hundred_simultaneous_sign_ins_stay_within_memory_limits() {
    let database = Database::new();
    let cores = std::thread::available_parallelism().unwrap().get();
    // Twice the number that can hash or queue at the same time, which is 32 plus one per core.
    let users = 300.max(66 * cores);
    // Each user signs in from its own IP address: a single account or IP address would be rate limited.
    let server = Server::start(&database, &[("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1")]);
    registered(&server, "ada@example.com");
    database.db_create_users("ada@example.com", users);
    database.db_execute("DELETE FROM sessions");
    let memory = |what: &str| {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let base = memory("VmRSS");
    let done = AtomicBool::new(false);
    let (responses, mut health) = std::thread::scope(|scope| {
        let health_checks = scope.spawn(|| {
            let mut took = Vec::new();
            while !done.load(Ordering::SeqCst) {
                let began = Instant::now();
                assert_eq!(server.browser().get("/healthz").status, 200);
                took.push(began.elapsed());
                std::thread::sleep(Duration::from_millis(2));
            }
            took
        });
        let users: Vec<_> = (0..users as u32)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let ip = std::net::Ipv4Addr::from(0xc612_0000 + number);
                    let email = format!("user{number}@example.com");
                    server.browser().login_from(&ip.to_string(), &email, PASSWORD)
                })
            })
            .collect();
        let responses: Vec<_> = users.into_iter().map(|user| user.join().unwrap()).collect();
        done.store(true, Ordering::SeqCst);
        (responses, health_checks.join().unwrap())
    });
    let accepted = responses.iter().filter(|response| response.status == 303).count();
    let busy: Vec<_> = responses.iter().filter(|response| response.status == 503).collect();
    let peak = memory("VmHWM");
    health.sort();
    let p99 = health[health.len() * 99 / 100 - usize::from(health.len() < 100)];
    println!(
        "{users} sign-ins: {accepted} accepted, {} got 503; memory {base} KiB → {peak} KiB; /healthz p99 {p99:?} of {}",
        busy.len(),
        health.len()
    );
    assert_eq!(accepted + busy.len(), users);
    assert!(accepted >= 32 && !busy.is_empty());
    for response in busy {
        let wait: u32 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait));
        assert!(response.body.contains("We&#39;ll be right back"));
    }
    assert!(peak <= base + cores * 19 * 1024 + 64 * 1024, "{base} → {peak} KiB");
    assert_eq!(database.db_count("SELECT count(*) FROM sessions") as usize, accepted);
}
