//! PostgreSQL's real notification queue, filled to its 8 GB by a listening connection that stays in a
//! transaction.

use std::time::{Duration, Instant};

use frontdesk::db::cluster::Cluster;
use frontdesk::db::migrations;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::runtime::Runtime;

use crate::support::folder::new_folder;
use crate::support::server::KEY;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered};

const EMAIL: &str = "ada@example.com";

fn readyz(server: &Server) -> String {
    server.browser().get("/readyz").body
}

fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}

#[test]
fn revocation_works_with_a_full_notification_queue_and_caching_resumes_afterwards() {
    let runtime = Runtime::new().unwrap();
    let settings = [("fsync", "off"), ("max_connections", "60")];
    let folder = new_folder("full-queue");
    let postgresql = runtime.block_on(Cluster::start_with(&folder, &settings)).unwrap();
    let database = Database::connect(postgresql.url());
    database.runtime.block_on(migrations::run(&database.pool)).unwrap();
    let servers = [0, 1].map(|_| {
        let settings = [("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)];
        Server::start_with(&settings).unwrap_or_else(|log| panic!("{log}")).until_live()
    });
    let mut ada = registered(&servers[0], EMAIL);
    let cookies = database.db_create_sessions(EMAIL, 8);
    let signed_in_with = |server: &Server, cookie: &str| {
        let mut browser: Browser = server.browser();
        browser.cookies.insert("session".to_owned(), cookie.to_owned());
        browser
    };

    // A forgotten transaction: PostgreSQL keeps the notifications that its connection has not read.
    let forgotten = runtime.block_on(async {
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        connection.execute("LISTEN elsewhere").await.unwrap();
        connection.execute("BEGIN").await.unwrap();
        connection.execute("SELECT 1").await.unwrap();
        connection
    });
    let fill = "SELECT count(pg_notify('elsewhere', repeat('a', 7990) || i)) FROM generate_series(1, 20000) AS i";
    let filled = wait_until("the queue is full", Duration::from_secs(600), || {
        let done = sqlx::query(AssertSqlSafe(fill)).execute(&database.pool);
        database.runtime.block_on(done).is_err()
    });
    println!("the queue was full after {filled:?}");
    wait_until("the cache is stale", Duration::from_secs(10), || {
        servers.iter().all(|server| !readyz(server).contains("trusted"))
    });

    let began = Instant::now();
    let mut longest = Duration::ZERO;
    for cookie in &cookies {
        assert!(servers.iter().all(|server| signed_in_with(server, cookie).is_signed_in()));
        let sent = Instant::now();
        assert_eq!(signed_in_with(&servers[0], cookie).post("/logout", &[]).status, 303);
        longest = longest.max(sent.elapsed());
        assert!(servers.iter().all(|server| !signed_in_with(server, cookie).is_signed_in()));
    }
    assert_eq!(ada.post("/account/profile", &[("display_name", "Countess")]).status, 303);
    let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    assert_eq!(ada.post("/account/password", &fields).status, 303);
    let listeners =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'frontdesk feed'";
    let mut most = 0;
    while began.elapsed() < Duration::from_secs(60) {
        most = most.max(database.db_count(listeners));
        assert!(ada.is_signed_in());
        std::thread::sleep(Duration::from_millis(100));
    }
    println!(
        "the slowest sign-out took {longest:?}; LISTEN connections had at most {most} backends"
    );
    // Each attempt of a server briefly opens three connections, to detect a connection pooler.
    assert!(most <= 2 * 4, "{most} backends");

    runtime.block_on(forgotten.close()).unwrap();
    // Twice the longest pause between attempts: the first attempt waits while PostgreSQL deletes 8 GB of
    // files.
    let resumed = wait_until("the queue is empty", Duration::from_secs(90), || {
        servers.iter().all(|server| readyz(server).contains("\"sessions\":\"trusted\""))
    });
    println!("the cache was used again {resumed:?} after the transaction ended");
    assert_eq!(servers[1].browser().login(EMAIL, OTHER_PASSWORD).status, 303);
    drop(servers);
    runtime.block_on(postgresql.stop()).unwrap();
}
