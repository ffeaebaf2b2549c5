//! Commits that wait for a synchronous standby that does not answer.

use std::time::{Duration, Instant};

use frontdesk::db::private_cluster::Cluster;

use crate::command_line::run;
use crate::support::breakpoint::until;
use crate::support::folder::new_folder;
use crate::support::server::KEY;
use crate::support::{Database, Server, registered};

#[test]
fn stalled_commits_leave_few_backends_behind_and_the_page_says_that_the_change_may_have_been_saved()
{
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = new_folder("stalled");
    let cluster = runtime.block_on(Cluster::start_with(&folder, &[("fsync", "off")])).unwrap();
    let database = Database::connect(cluster.url());
    let settings = [("DATABASE_URL", cluster.url()), ("FRONTDESK_SECRET_KEYS", KEY)];
    let server = Server::start_with(&settings).unwrap_or_else(|log| panic!("{log}"));
    let ada = registered(&server, "ada@example.com");
    // ALTER SYSTEM commits nothing.
    let wait_for = |standby: &str| {
        database.db_texts("SELECT 'connected'");
        database.db_execute(&format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'"));
        database.db_execute("SELECT pg_reload_conf()");
    };
    wait_for("missing");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let began = Instant::now();
    let bodies = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12)
            .map(|number| {
                let mut browser = ada.clone();
                scope.spawn(move || {
                    let mut bodies = Vec::new();
                    while began.elapsed() < Duration::from_secs(21) {
                        let name = format!("Ada {number}");
                        let response = browser.post("/account/profile", &[("display_name", &name)]);
                        assert_eq!(response.status, 503);
                        assert!(response.header("retry-after").is_some());
                        bodies.push(response.body);
                    }
                    bodies
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let abandoned = database.db_count(waiting);
    println!("{} answers, {abandoned} backends wait", bodies.len());
    assert!(bodies.iter().any(|body| body.contains("or it may have been")));
    assert!(bodies.len() > 100, "further changes fail immediately: {}", bodies.len());
    // The pools of pages and of mail, and one statement of each job.
    assert!(abandoned <= 20, "{abandoned}");
    assert_eq!(ada.clone().get("/account").status, 200, "pages that only read continue");
    let report = run(&database, &["doctor"], "");
    assert!(report.out.contains("no standby is connected"), "{}", report.out);

    wait_for("");
    until(|| ada.clone().post("/account/profile", &[("display_name", "Ada")]).status == 303);
    until(|| {
        ada.clone().get("/account");
        ada.clone().post("/account/profile", &[("display_name", "Ada")]);
        server.log().contains("the database is available again")
    });
    let log = server.stop();
    assert_eq!(log.matches("the database is unavailable").count(), 1, "{log}");
    assert_eq!(log.matches("the database is available again").count(), 1, "{log}");
    assert!(log.matches(" WARN ").count() < 8, "{log}");
    runtime.block_on(cluster.stop()).unwrap();
    std::fs::remove_dir_all(&folder).ok();
}
