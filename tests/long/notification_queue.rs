//! PostgreSQL's real notification queue, filled to its 8 GB by a listening connection that stays in a transaction.

use std::time::{Duration, Instant};

use frontdesk::db::cluster::Cluster;
use frontdesk::db::migrations;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::runtime::Runtime;

use crate::support::folder::new_folder;
use crate::support::server::KEY;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered};

const EMAIL: &str = "ada@example.com";

fn state(server: &Server) -> String {
    server.browser().get("/readyz").body
}

fn until(what: &str, limit: Duration, mut wished: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !wished() {
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}

#[test]
fn a_full_queue_costs_three_seconds_a_sign_out_and_heals_when_its_cause_is_gone() {
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
    let with = |server: &Server, cookie: &str| {
        let mut browser: Browser = server.browser();
        browser.cookies.insert("session".to_owned(), cookie.to_owned());
        browser
    };

    // Somebody's forgotten transaction.
    let forgotten = runtime.block_on(async {
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        connection.execute("LISTEN elsewhere").await.unwrap();
        connection.execute("BEGIN").await.unwrap();
        connection.execute("SELECT 1").await.unwrap();
        connection
    });
    let fill = "SELECT count(pg_notify('elsewhere', repeat('a', 7990) || i)) FROM generate_series(1, 20000) AS i";
    let filled = until("the queue is full", Duration::from_secs(600), || {
        let done = sqlx::query(AssertSqlSafe(fill)).execute(&database.pool);
        database.runtime.block_on(done).is_err()
    });
    println!("the queue was full after {filled:?}");
    until("memory is not believed", Duration::from_secs(10), || {
        servers.iter().all(|server| !state(server).contains("trusted"))
    });

    let began = Instant::now();
    let mut longest = Duration::ZERO;
    for cookie in &cookies {
        assert!(servers.iter().all(|server| with(server, cookie).is_signed_in()));
        let asked = Instant::now();
        assert_eq!(with(&servers[0], cookie).post("/logout", &[]).status, 303);
        longest = longest.max(asked.elapsed());
        assert!(servers.iter().all(|server| !with(server, cookie).is_signed_in()));
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
        "the slowest sign-out took {longest:?}; at most {most} backends of notification connections"
    );
    // Each attempt of a server takes three for a moment, to find out whether a pooler stands between.
    assert!(most <= 2 * 4, "{most} backends");

    runtime.block_on(forgotten.close()).unwrap();
    // Two of the longest pauses between attempts: PostgreSQL deletes 8 GB of files while the first one waits.
    let healed = until("the queue is emptied", Duration::from_secs(90), || {
        servers.iter().all(|server| state(server).contains("\"sessions\":\"trusted\""))
    });
    println!("served from memory {healed:?} after the transaction was over");
    assert_eq!(servers[1].browser().login(EMAIL, OTHER_PASSWORD).status, 303);
    drop(servers);
    runtime.block_on(postgresql.stop()).unwrap();
}
