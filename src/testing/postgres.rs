//! The PostgreSQL of the tests, and the databases in it.
//!
//! Names of databases: `frontdesk_template_HOME_PROGRAM_BUILD`, of which there is one for each program, and
//! `frontdesk_test_HOME_RUN_NUMBER`. A run is one process of tests. It holds an advisory lock as long as it lives, so
//! that a later run knows the databases of those that were killed and deletes them. HOME is the database of the URL,
//! because advisory locks of another one are not seen.

use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio::runtime::Runtime;
use url::Url;
use uuid::Uuid;

use super::process;
use super::settings::{self, Settings};
use crate::db;
use crate::db::private_cluster::{Cluster, ClusterError};

/// The class of the advisory locks of runs; the second key is the run.
const RUN_LOCK: i32 = 0x7465_7374;
/// The class of the advisory locks around the creation of a template; the second key is a hash of its name.
const TEMPLATE_LOCK: i32 = 0x7465_6d70;
/// How many processes of tests can have a private PostgreSQL at the same time.
const MAX_CLUSTERS: u32 = 64;
/// The private PostgreSQL is for tests only: its data need not survive a crash.
const CLUSTER_SETTINGS: [(&str, &str); 4] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "300"),
];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap_or_else(|error| panic!("the runtime of the tests cannot start: {error}"))
});
static POSTGRES: OnceLock<Postgres> = OnceLock::new();

/// Waits for a future.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

struct Postgres {
    url: Url,
    /// The number (oid) of the database of the URL.
    home: String,
    run: u32,
    next: AtomicU32,
    /// The template of each program and its schemas.
    templates: Mutex<HashMap<String, String>>,
    /// Holds the lock of the run.
    _lock: PgConnection,
    /// Stopped when this process exits.
    _cluster: Option<Cluster>,
}

/// The database of one test. Dropping it deletes it.
pub(super) struct Database {
    name: String,
    pub(super) url: String,
    /// Finds the tables of the site first, and then Frontdesk's.
    pub(super) pool: PgPool,
    /// Finds Frontdesk's tables.
    pub(super) own_pool: PgPool,
}

impl Database {
    /// A database with the tables of the program.
    pub(super) fn new(program: &Path, settings: &Settings) -> Self {
        let postgres = POSTGRES.get_or_init(|| block_on(Postgres::start(program)));
        let config = settings.config();
        let template = postgres.template(program, settings);
        let number = postgres.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("frontdesk_test_{}_{:08x}_{number}", postgres.home, postgres.run);
        block_on(postgres.execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")));
        let url = postgres.url_of(&name);
        let options: PgConnectOptions = options(&url);
        let pool = |path: &str| {
            let pool = PgPoolOptions::new().max_connections(4);
            pool.connect_lazy_with(db::in_schema(options.clone(), path))
        };
        let own_schema = config.schema.clone().unwrap_or_else(|| "public".to_owned());
        let (pool, own_pool) =
            block_on(async { (pool(&config.site_search_path()), pool(&own_schema)) });
        Self { name, url, pool, own_pool }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(postgres) = POSTGRES.get() else { return };
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // A panic during a panic would abort the process. The next run deletes what is left.
        block_on(postgres.try_execute(&drop)).ok();
    }
}

impl Postgres {
    async fn start(program: &Path) -> Self {
        let (url, cluster) = match settings::test_database_url() {
            Some(url) => (url, None),
            None => {
                let cluster = private_cluster(program).await;
                (cluster.url().to_owned(), Some(cluster))
            }
        };
        let url = Url::parse(&url)
            .unwrap_or_else(|error| panic!("TEST_DATABASE_URL is not a URL: {error}"));
        let run = Uuid::new_v4().as_fields().0;
        let mut lock = connect(&url).await;
        let locked = sqlx::query("SELECT pg_advisory_lock($1, $2)").bind(RUN_LOCK);
        locked.bind(run.cast_signed()).execute(&mut lock).await.unwrap_or_else(failed);
        let home = "SELECT oid::text FROM pg_database WHERE datname = current_database()";
        let home = sqlx::query_scalar(home).fetch_one(&mut lock).await.unwrap_or_else(failed);
        let (next, templates) = (AtomicU32::new(0), Mutex::default());
        let postgres = Self { url, home, run, next, templates, _lock: lock, _cluster: cluster };
        postgres.drop_leftovers().await;
        postgres
    }

    /// Deletes the databases of runs that were killed.
    async fn drop_leftovers(&self) {
        let mut connection = connect(&self.url).await;
        let names = databases(&mut connection, &format!("frontdesk_test_{}_", self.home)).await;
        for name in names {
            let run = name.split('_').nth(3).and_then(|run| u32::from_str_radix(run, 16).ok());
            let Some(run) = run.filter(|run| *run != self.run) else { continue };
            let lock = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)").bind(RUN_LOCK);
            let lock = lock.bind(run.cast_signed()).fetch_one(&mut connection).await;
            if lock.unwrap_or_else(failed) {
                // It may belong to another role.
                self.try_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                    .await
                    .ok();
                let unlock = sqlx::query("SELECT pg_advisory_unlock($1, $2)").bind(RUN_LOCK);
                let unlock = unlock.bind(run.cast_signed()).execute(&mut connection).await;
                unlock.unwrap_or_else(failed);
            }
        }
    }

    /// The template database of this build of the program.
    fn template(&self, program: &Path, settings: &Settings) -> String {
        let of_program = short_hash(&format!("{} {}", program.display(), settings.schemas()));
        let mut templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = templates.get(&of_program) {
            return name.clone();
        }
        let prefix = format!("frontdesk_template_{}_{of_program}_", self.home);
        let name = format!("{prefix}{}", build(program));
        block_on(self.create_template(program, settings, &prefix, &name));
        templates.insert(of_program, name.clone());
        name
    }

    async fn create_template(&self, program: &Path, settings: &Settings, prefix: &str, name: &str) {
        let mut connection = connect(&self.url).await;
        // Held until the connection is closed.
        let lock = sqlx::query("SELECT pg_advisory_lock($1, hashtext($2))").bind(TEMPLATE_LOCK);
        lock.bind(prefix).execute(&mut connection).await.unwrap_or_else(failed);
        let existing = databases(&mut connection, prefix).await;
        if existing.iter().any(|existing| existing == name) {
            return;
        }
        for former in existing {
            // Another process of tests may be copying it.
            self.try_execute(&format!("DROP DATABASE IF EXISTS {former} WITH (FORCE)")).await.ok();
        }
        // Renamed when it is complete, so that a killed run leaves no incomplete template.
        let unfinished = format!("{prefix}unfinished");
        self.execute(&format!("CREATE DATABASE {unfinished} TEMPLATE template0")).await;
        let settings = settings.with_database(&self.url_of(&unfinished));
        let migrated = process::run(program, &settings, &["migrate", "run"]);
        assert!(migrated.code == Some(0), "the migrations failed:\n{}", migrated.stderr);
        self.execute(&format!("ALTER DATABASE {unfinished} RENAME TO {name}")).await;
        connection.close().await.ok();
    }

    fn url_of(&self, database: &str) -> String {
        let mut url = self.url.clone();
        url.set_path(database);
        url.into()
    }

    async fn execute(&self, sql: &str) {
        self.try_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn try_execute(&self, sql: &str) -> sqlx::Result<()> {
        let mut connection = PgConnection::connect(self.url.as_str()).await?;
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await?;
        connection.close().await
    }
}

/// Starts the first PostgreSQL beside the program that no other process of tests uses.
async fn private_cluster(program: &Path) -> Cluster {
    for number in 0..MAX_CLUSTERS {
        let folder = settings::folder(program).join(number.to_string());
        match Cluster::start_with(&folder, &CLUSTER_SETTINGS).await {
            Ok(cluster) => return cluster,
            Err(ClusterError::InUse(_)) => {}
            Err(error) => panic!(
                "no PostgreSQL for the tests: {error}\nOr set TEST_DATABASE_URL to one whose login may create databases."
            ),
        }
    }
    panic!("{MAX_CLUSTERS} processes of tests use a private PostgreSQL already");
}

async fn connect(url: &Url) -> PgConnection {
    let connection = PgConnection::connect(url.as_str()).await;
    connection.unwrap_or_else(|error| panic!("the PostgreSQL of the tests: {error}"))
}

/// The databases whose names begin with `prefix`.
async fn databases(connection: &mut PgConnection, prefix: &str) -> Vec<String> {
    let select = sqlx::query_scalar(
        "SELECT datname::text FROM pg_database WHERE starts_with(datname::text, $1) LIMIT 10000",
    );
    select.bind(prefix).fetch_all(connection).await.unwrap_or_else(failed)
}

fn options(url: &str) -> PgConnectOptions {
    url.parse().unwrap_or_else(failed)
}

fn failed<T>(error: sqlx::Error) -> T {
    panic!("the PostgreSQL of the tests: {error}");
}

/// Differs between two builds of the program.
fn build(program: &Path) -> String {
    let file = fs::metadata(program)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", program.display()));
    let modified = file.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    short_hash(&format!("{} {modified:?}", file.len()))
}

fn short_hash(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..6])
}
