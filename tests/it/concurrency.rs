//! Many at once: races, rotations, crowds.

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
        // Old enough that every request also wants to be recorded as activity.
        database.db_execute(
            "UPDATE sessions SET last_seen_at = now() - interval '119m 59s', expires_at = now() + interval '5 seconds'",
        );
        let out = AtomicBool::new(false);
        let kept = browser.clone();
        written += std::thread::scope(|scope| {
            let mut writers = Vec::new();
            for number in 0..10 {
                if number == round % 10 {
                    let (out, mut browser) = (&out, browser.clone());
                    scope.spawn(move || {
                        assert_eq!(browser.post("/logout", &[]).status, 303);
                        out.store(true, Ordering::SeqCst);
                    });
                }
                let mut writer = kept.on_server(&servers[number % 2].addr);
                let out = &out;
                writers.push(scope.spawn(move || {
                    let began_after = out.load(Ordering::SeqCst);
                    let name = format!("Ada {number}");
                    let answer = writer.post("/account/profile", &[("display_name", &name)]);
                    let written = answer.location() == "/account/profile";
                    assert!(!(began_after && written), "written after the logout had answered");
                    usize::from(written)
                }));
            }
            writers.into_iter().map(|writer| writer.join().unwrap()).sum::<usize>()
        });
        assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 0, "round {round}");
        for server in &servers {
            assert!(!kept.on_server(&server.addr).is_signed_in(), "round {round}");
        }
    }
    println!("1,000 rounds: {written} of 10,000 writes came before the logout");
    assert!(written > 0 && written < 10_000);
}

#[test]
fn rotating_the_key_twice_under_load_signs_no_user_out() {
    let database = Database::new();
    let mut keys = vec![KEY.to_owned()];
    let mut server = Server::start(&database, &[("FRONTDESK_SECRET_KEYS", KEY)]);
    let mut crowd: Vec<Browser> =
        (0..8).map(|number| registered(&server, &format!("user{number}@example.com"))).collect();
    for fresh in [
        "Zp4Jq8Wm1Xc6Vb3Nn7Kt2Lr9Hs5Gf0DyAeUiOoPlQaSwEdRf",
        "Mn3Bv7Cx1Zl5Kj9Hg2Fd6Sa4Po8Iu0YtReWqAzSxDcFvGbHn",
    ] {
        // Both servers run for a while, as behind a proxy while one after the other restarts; the one
        // that leaves knows the new key too, as the last of its keys.
        let leaving_keys = format!("{},{fresh}", keys.join(","));
        let leaving = Server::start(&database, &[("FRONTDESK_SECRET_KEYS", &leaving_keys)]);
        keys.insert(0, fresh.to_owned());
        let coming = Server::start(&database, &[("FRONTDESK_SECRET_KEYS", &keys.join(","))]);
        let out = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for browser in &mut crowd {
                let (out, leaving, coming) = (&out, &leaving, &coming);
                scope.spawn(move || {
                    for turn in 0..25 {
                        let at = if turn % 2 == 0 { &coming.addr } else { &leaving.addr };
                        browser.addr = at.clone();
                        if !browser.is_signed_in() {
                            out.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    browser.addr = coming.addr.clone();
                    assert!(browser.is_signed_in());
                });
            }
        });
        assert_eq!(out.load(Ordering::SeqCst), 0);
        keys.truncate(2);
        server = coming;
    }
    let last = keys[0].clone();
    let alone = Server::start(&database, &[("FRONTDESK_SECRET_KEYS", &last)]);
    drop(server);
    for browser in &crowd {
        assert!(browser.on_server(&alone.addr).is_signed_in(), "sealed by the last key by now");
    }
}

#[test]
fn three_hundred_simultaneous_sign_ins_stay_within_memory_limits() {
    let database = Database::new();
    let cores = std::thread::available_parallelism().unwrap().get();
    // Twice as many as hash and wait at a time, which is 32 and one for each core.
    let crowd = 300.max(66 * cores);
    // A crowd of people, each from an address of their own: one person or one address would be told to slow down.
    let server = Server::start(&database, &[("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1")]);
    registered(&server, "ada@example.com");
    database.db_create_users("ada@example.com", crowd);
    database.db_execute("DELETE FROM sessions");
    let memory = |what: &str| {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let base = memory("VmRSS");
    let done = AtomicBool::new(false);
    let (answers, mut health) = std::thread::scope(|scope| {
        let pulse = scope.spawn(|| {
            let mut took = Vec::new();
            while !done.load(Ordering::SeqCst) {
                let began = Instant::now();
                assert_eq!(server.browser().get("/healthz").status, 200);
                took.push(began.elapsed());
                std::thread::sleep(Duration::from_millis(2));
            }
            took
        });
        let crowd: Vec<_> = (0..crowd as u32)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let address = std::net::Ipv4Addr::from(0xc612_0000 + number);
                    let email = format!("user{number}@example.com");
                    server.browser().login_from(&address.to_string(), &email, PASSWORD)
                })
            })
            .collect();
        let answers: Vec<_> = crowd.into_iter().map(|one| one.join().unwrap()).collect();
        done.store(true, Ordering::SeqCst);
        (answers, pulse.join().unwrap())
    });
    let accepted = answers.iter().filter(|answer| answer.status == 303).count();
    let busy: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    let peak = memory("VmHWM");
    health.sort();
    let p99 = health[health.len() * 99 / 100 - usize::from(health.len() < 100)];
    println!(
        "{crowd} sign-ins: {accepted} in, {} got 503; memory {base} KiB → {peak} KiB; /healthz p99 {p99:?} of {}",
        busy.len(),
        health.len()
    );
    assert_eq!(accepted + busy.len(), crowd);
    assert!(accepted >= 32 && !busy.is_empty());
    for answer in busy {
        let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait));
        assert!(answer.body.contains("The desk will be right back"));
    }
    assert!(peak <= base + cores * 19 * 1024 + 64 * 1024, "{base} → {peak} KiB");
    assert_eq!(database.db_count("SELECT count(*) FROM sessions") as usize, accepted);
}
