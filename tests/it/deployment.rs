//! Common deployments: PgBouncer in transaction mode, nginx in front of several servers, and a primary that
//! becomes read-only while connections stay open.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use frontdesk::db::migrations;
use frontdesk::db::private_cluster::Cluster as PostgreSql;
use sqlx::{Connection as _, PgConnection};

use crate::support::folder::new_folder;
use crate::support::port::free_port;
use crate::support::proxy::Proxy;
use crate::support::server::KEY;
use crate::support::{Browser, Database, PASSWORD, Server, registered};

/// A process that is terminated when dropped.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().ok();
        self.0.wait().ok();
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = new_folder(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn wait_for_port(port: u16) {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing listens on {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    began.elapsed()
}

/// PgBouncer in transaction mode; it refuses to run as root.
pub fn pgbouncer(target: u16, database: &str) -> (Running, u16) {
    let (folder, port) = (folder(&format!("pgbouncer-{database}")), free_port());
    let ini = folder.join("pgbouncer.ini");
    fs::write(folder.join("users"), "\"desk\" \"\"\n").unwrap();
    fs::write(
        &ini,
        format!(
            "[databases]\n{database} = host=127.0.0.1 port={target}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {folder}/users\npool_mode = transaction\ndefault_pool_size = 5\nmax_client_conn = 200\nserver_reset_query =\nmax_prepared_statements = 100\nignore_startup_parameters = extra_float_digits,options\n",
            folder = folder.display()
        ),
    )
    .unwrap();
    Command::new("chmod").args(["-R", "a+rX"]).arg(&folder).status().unwrap();
    let mut command = Command::new(pgbouncer_program());
    if rustix::process::getuid().is_root() {
        command.args(["-u", "nobody"]);
    }
    let child = command.arg(&ini).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    wait_for_port(port);
    (Running(child.expect("pgbouncer starts")), port)
}

/// The PgBouncer with support for prepared statements that `script/bootstrap --test` built, or the system's.
fn pgbouncer_program() -> PathBuf {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home);
    let built = cache.map(|cache| cache.join("frontdesk/pgbouncer"));
    built.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("pgbouncer"))
}

pub fn name_of(database: &Database) -> String {
    database.db_texts("SELECT current_database()::text").remove(0)
}

#[test]
fn sessions_work_through_pgbouncer_with_and_without_a_listen_connection() {
    let database = Database::new();
    let proxy = Proxy::start(database.socket());
    let name = name_of(&database);
    let (_pgbouncer, port) = pgbouncer(proxy.port, &name);
    let url = format!("postgres://desk@127.0.0.1:{port}/{name}?sslmode=disable");
    let direct = database.url_through(&proxy);
    let common = [("DATABASE_URL", url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)];
    let server = |more: &[(&str, &str)]| {
        let settings: Vec<(&str, &str)> = common.iter().chain(more).copied().collect();
        Server::start_with(&settings).unwrap_or_else(|log| panic!("{log}"))
    };
    let with_notifications = server(&[("FRONTDESK_LISTEN_URL", &direct)]).until_live();
    let without_cache = server(&[("FRONTDESK_SESSION_CACHE", "off")]);
    let without_notifications = server(&[]);
    let mut ada = registered(&with_notifications, "ada@example.com");
    for round in 0..30 {
        let server = [&with_notifications, &without_cache, &without_notifications][round % 3];
        let mut browser = server.browser();
        let response = browser.login("ada@example.com", PASSWORD);
        assert_eq!(response.status, 303, "{}", server.log());
        let servers = [&with_notifications, &without_cache, &without_notifications];
        assert!(servers.iter().all(|server| browser.on_server(&server.addr).is_signed_in()));
        let copy = browser.clone();
        let response = browser.post("/logout", &[]);
        assert_eq!(response.status, 303, "{}", server.log());
        assert!(servers.iter().all(|server| !copy.on_server(&server.addr).is_signed_in()));
    }
    assert!(ada.is_signed_in());
    wait_until("the server without notifications logs it", Duration::from_secs(10), || {
        without_notifications.log().contains("sessions are not served from the cache")
    });
    assert!(!without_notifications.browser().get("/readyz").body.contains("trusted"));
    // The connections of PgBouncer are shared: what marks Frontdesk's transactions must end with them.
    let by_database = "SELECT count(*) FROM audit_events WHERE actor = 'database'";
    assert_eq!(database.db_count(by_database), 0);
    database.db_create_sessions("ada@example.com", 9);
    database.runtime.block_on(async {
        let mut other = PgConnection::connect(&url).await.unwrap();
        let delete = "DELETE FROM sessions WHERE id = (SELECT id FROM sessions LIMIT 1)";
        for _ in 0..10 {
            sqlx::raw_sql(delete).execute(&mut other).await.unwrap();
        }
    });
    assert_eq!(database.db_count(by_database), 10);
}

#[test]
fn three_servers_behind_nginx_share_sessions_without_sticky_routing() {
    let database = Database::new();
    let servers = [0, 1, 2].map(|_| Server::start(&database, &[]).until_live());
    let (folder, port) = (folder("nginx"), free_port());
    let upstream: String =
        servers.iter().map(|server| format!("server {};", server.addr)).collect();
    fs::write(
        folder.join("nginx.conf"),
        format!(
            "daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; events {{}}
             http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
               upstream desk {{ {upstream} }}
               server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://desk; proxy_set_header Host $http_host; }} }} }}",
            folder = folder.display()
        ),
    )
    .unwrap();
    let nginx = Command::new("nginx")
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .stderr(Stdio::null())
        .spawn();
    let _nginx = Running(nginx.expect("nginx is installed (script/bootstrap --test)"));
    wait_for_port(port);
    let nginx_addr = format!("127.0.0.1:{port}");
    let mut one = Browser::new(&nginx_addr);
    one.post(
        "/register",
        &[("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)],
    );
    let mut two = Browser::new(&nginx_addr);
    assert_eq!(two.login("ada@example.com", PASSWORD).status, 303);
    for round in 0..30 {
        assert!(one.is_signed_in() && two.is_signed_in());
        let name = format!("Ada {round}");
        assert_eq!(one.post("/account/profile", &[("display_name", &name)]).status, 303);
        // Both browsers see the change, no matter which server answers.
        assert!(one.get("/account").body.contains(&name), "{name}");
        assert!(two.get("/account").body.contains(&name), "{name}");
    }
    assert_eq!(two.post("/account/sessions/revoke-others", &[]).status, 303);
    for _ in 0..6 {
        assert!(!one.is_signed_in() && two.is_signed_in());
    }
}

#[test]
fn a_column_type_change_under_open_connections_fails_no_request() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_SESSION_CACHE", "off")]);
    let browser = registered(&server, "ada@example.com");
    let pages = || {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let mut browser = browser.clone();
                scope.spawn(move || (0..10).for_each(|_| assert!(browser.is_signed_in())));
            }
        });
    };
    pages();
    database.db_execute("DROP VIEW active_sessions, user_profiles");
    // From now on PostgreSQL rejects prepared statements that return this column: their result type has
    // changed.
    database.db_execute("ALTER TABLE users ALTER COLUMN display_name TYPE varchar(500)");
    pages();
}

#[test]
fn servers_reconnect_when_their_primary_becomes_read_only() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = [("fsync", "off")];
    let folder = folder("demoted");
    let postgresql = runtime.block_on(PostgreSql::start_with(&folder, &settings)).unwrap();
    let primary = Database::connect(postgresql.url());
    primary.runtime.block_on(migrations::run(&primary.pool)).unwrap();
    let servers = [0, 1]
        .map(|_| Server::start(&primary, &[("FRONTDESK_SESSIONS_PER_USER", "0")]).until_live());
    let mut ada = registered(&servers[0], "ada@example.com");
    let set_read_only = |yes: bool| {
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {yes}");
        primary.db_execute(&set);
        primary.db_execute("SELECT pg_reload_conf()");
    };
    for round in 0..3 {
        // As the servers see a demotion: connections stay open, and every write is rejected.
        set_read_only(true);
        wait_until("the cache is not used", Duration::from_secs(5), || {
            !servers[0].browser().get("/readyz").body.contains("trusted")
        });
        let rejected = servers[0].browser().login("ada@example.com", PASSWORD);
        assert_eq!(rejected.status, 503, "round {round}");
        set_read_only(false);
        let took =
            wait_until("servers reconnect to the new primary", Duration::from_secs(5), || {
                servers.iter().all(|server| {
                    let mut browser = server.browser();
                    browser.login("ada@example.com", PASSWORD).status == 303
                        && server.browser().get("/readyz").body.contains("trusted")
                })
            });
        println!("round {round}: {took:?} after the primary accepted writes again");
        for server in &servers {
            ada = ada.on_server(&server.addr);
            assert!(ada.is_signed_in());
        }
    }
    drop(servers);
    runtime.block_on(postgresql.stop()).unwrap();
}
