//! A private PostgreSQL that ends while the server runs.

use std::sync::atomic::{AtomicBool, Ordering};

use frontdesk::db::private_cluster::Cluster;
use frontdesk::db::private_cluster::ClusterError;

use super::*;

const RESTARTS: &str = "the private PostgreSQL is down and will be restarted";

/// Sets the flag when dropped, so that the threads that read it also end if the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes a line that PostgreSQL cannot parse.
fn break_settings(folder: &Path) {
    let path = folder.join("database/postgres/postgresql.auto.conf");
    fs::write(path, "max_connections = = 7\n").unwrap();
}

#[test]
fn a_killed_postgresql_is_restarted_under_traffic_and_no_one_is_signed_out() {
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
        // The lock is still held: no other server can start on this folder.
        let settings = [("FRONTDESK_DATA_DIR", folder.to_str().unwrap())];
        let other = Server::start_with(&settings).err().unwrap();
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
    assert_eq!(logged("stopped unexpectedly (signal 9)"), 2, "{}", server.log());
    let failures = logged(RESTARTS);
    // A requested stop is not logged as a failure.
    let last = postmaster(&folder).unwrap();
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
    assert!(!is_alive(last));
    assert_eq!(server.log().matches(RESTARTS).count(), failures, "{}", server.log());
    fs::remove_dir_all(&folder).ok();
}

#[test]
fn a_postgresql_whose_supervising_shell_is_killed_is_stopped_and_restarted() {
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
    assert!(server.log().contains("its parent shell was ended by signal 9"), "{}", server.log());
    clean(server, &folder);
}

#[test]
fn the_log_says_why_postgresql_cannot_start_and_it_runs_again_once_repaired() {
    let folder = folder("repaired");
    let server = start(&folder);
    let mut ada = registered(&server, "ada@example.com");
    let pid = postmaster(&folder).unwrap();
    let settings = folder.join("database/postgres/postgresql.auto.conf");
    let intact = fs::read(&settings).unwrap();
    break_settings(&folder);
    signal(pid, "KILL");
    until("the log has PostgreSQL's last lines", || server.log().contains("syntax error in file"));
    assert_eq!(server.browser().get("/readyz").status, 503);
    assert_eq!(ada.get("/account").status, 503);
    fs::write(&settings, intact).unwrap();
    until_restarted(&server, &folder, pid);
    assert!(ada.is_signed_in());
    clean(server, &folder);
}

/// The clock of this runtime is paused and jumps forward whenever only timers are pending.
#[tokio::test(start_paused = true)]
async fn restarts_that_fail_for_five_minutes_end_with_postgresqls_last_log_lines() {
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
