//! A private PostgreSQL that ends while the site serves.

use std::sync::atomic::{AtomicBool, Ordering};

use frontdesk::db::private_cluster::Cluster;
use frontdesk::db::private_cluster::ClusterError;

use super::*;

const RESTARTS: &str = "the private PostgreSQL is down; it will be restarted";

/// Ends the threads that look at it, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A line that PostgreSQL cannot read.
fn break_settings(folder: &Path) {
    let path = folder.join("database/postgres/postgresql.auto.conf");
    fs::write(path, "max_connections = = 7\n").unwrap();
}

#[test]
fn a_postgresql_that_is_killed_twice_in_traffic_is_restarted_and_nobody_is_signed_out() {
    let folder = folder("restarted");
    let mut server = start(&folder);
    let ada = registered(&server, "ada@example.com");
    let cookies = ada.cookies.clone();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let traffic: Vec<_> = (0..3)
            .map(|_| {
                let (mut browser, is_over) = (ada.clone(), &is_over);
                scope.spawn(move || {
                    let mut statuses = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        statuses.push(browser.get("/account").status);
                    }
                    (browser, statuses)
                })
            })
            .collect();
        let over = Over(&is_over);
        let mut pid = postmaster(&folder).unwrap();
        for _ in 0..2 {
            signal(pid, "KILL");
            pid = until_restarted(&server, &folder, pid);
        }
        // The lock was kept: no other Frontdesk serves from this folder.
        let settings = [("FRONTDESK_DATA_DIR", folder.to_str().unwrap())];
        let other = Server::start_bare(&settings).err().unwrap();
        assert!(other.contains("Another Frontdesk is already running"), "{other}");
        drop(over);
        for browser in traffic {
            let (mut browser, statuses) = browser.join().unwrap();
            assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
            assert!(browser.is_signed_in());
            assert_eq!(browser.cookies, cookies);
        }
    });
    assert!(ada.clone().is_signed_in());
    let logged = |text: &str| server.log().matches(text).count();
    until("both restarts are logged", || logged("the private PostgreSQL is running again") == 2);
    assert_eq!(logged("ended (signal 9)"), 2, "{}", server.log());
    let failures = logged(RESTARTS);
    // A stop that was asked for is no failure.
    let last = postmaster(&folder).unwrap();
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
    assert!(!is_alive(last));
    assert_eq!(server.log().matches(RESTARTS).count(), failures, "{}", server.log());
    fs::remove_dir_all(&folder).ok();
}

#[test]
fn a_postgresql_whose_shell_is_killed_is_stopped_and_restarted() {
    let folder = folder("shell");
    let server = start(&folder);
    let mut ada = registered(&server, "ada@example.com");
    let mut pid = postmaster(&folder).unwrap();
    let parent = |pid: u32| {
        let output = Command::new("ps").args(["-o", "ppid=", "-p", &pid.to_string()]).output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim().parse::<u32>().unwrap()
    };
    for is_guard_killed in [false, true] {
        let mut killed = vec![parent(pid)];
        if is_guard_killed {
            killed = shells(pid);
        }
        killed.into_iter().for_each(|pid| signal(pid, "KILL"));
        let restarted = until_restarted(&server, &folder, pid);
        assert!(!is_alive(pid), "two servers on one folder");
        pid = restarted;
        assert!(ada.is_signed_in());
    }
    assert!(server.log().contains("the shell that runs it got signal 9"), "{}", server.log());
    clean(server, &folder);
}

#[test]
fn a_postgresql_that_cannot_start_says_why_in_the_log_and_is_back_when_that_is_repaired() {
    let folder = folder("repaired");
    let server = start(&folder);
    let mut ada = registered(&server, "ada@example.com");
    let pid = postmaster(&folder).unwrap();
    let settings = folder.join("database/postgres/postgresql.auto.conf");
    let intact = fs::read(&settings).unwrap();
    break_settings(&folder);
    signal(pid, "KILL");
    until("the log has its last words", || server.log().contains("syntax error in file"));
    assert_eq!(server.browser().get("/readyz").status, 503);
    assert_eq!(ada.get("/account").status, 503);
    fs::write(&settings, intact).unwrap();
    until_restarted(&server, &folder, pid);
    assert!(ada.is_signed_in());
    clean(server, &folder);
}

/// The clock of this runtime runs ahead whenever only timers are waited for.
#[tokio::test(start_paused = true)]
async fn after_minutes_of_failing_restarts_it_is_given_up_with_its_last_words() {
    let folder = folder("given-up");
    let cluster = Cluster::start(&folder).await.unwrap();
    let pid = postmaster(&folder).unwrap();
    break_settings(&folder);
    signal(pid, "KILL");
    let began = tokio::time::Instant::now();
    let error = cluster.supervise().await;
    let tried_for = began.elapsed();
    assert!(matches!(error, ClusterError::RestartsFailed { .. }), "{error}");
    let text = format!("{:#}", anyhow::Error::from(error));
    assert!(text.contains("could not be restarted for 5 minutes: "), "{text}");
    assert!(text.contains("syntax error in file"), "{text}");
    assert!(tried_for >= Duration::from_secs(300), "{tried_for:?}");
    cluster.stop().await.unwrap();
    fs::remove_dir_all(&folder).ok();
}
