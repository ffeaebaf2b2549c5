//! One PostgreSQL for the whole run, one database per test. The names of helpers that access tables begin
//! with `db_`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use actix_web::cookie::{Cookie, CookieJar, Key};
use frontdesk::crypto::secret::Secret;
use frontdesk::db::migrations;
use frontdesk::db::private_cluster::Cluster;
use frontdesk::session::await_invalidation;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio::runtime::Runtime;

use super::proxy::Proxy;
use super::server::KEY;

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A database of one test.
pub struct Database {
    pub url: String,
    /// The URL for servers. If the database has tables, it connects as the application role, which has only
    /// the privileges that servers need.
    pub server_url: String,
    pub pool: PgPool,
    pub runtime: Runtime,
}

fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres");
        // The folder has a fixed name, so that killed runs leave at most one cluster behind.
        let runtime = runtime();
        runtime.block_on(async {
            let settings = [
                ("fsync", "off"),
                ("max_connections", "300"),
                ("shared_preload_libraries", "pg_stat_statements"),
                ("pg_stat_statements.track", "all"),
                // More than all statements of the suite: the least used ones would be dropped, with their counts.
                ("pg_stat_statements.max", "100000"),
                ("log_min_messages", "warning"),
            ];
            let cluster =
                Cluster::start_with(&folder, &settings).await.expect("a PostgreSQL for the tests");
            let admin = connect(&cluster.url_for("postgres"));
            for sql in [
                "DROP DATABASE IF EXISTS template_frontdesk WITH (FORCE)",
                "DROP ROLE IF EXISTS desk",
                "CREATE DATABASE template_frontdesk",
            ] {
                sqlx::query(sql).execute(&admin).await.expect("a template database");
            }
            let template = connect(&cluster.url_for("template_frontdesk"));
            migrations::run(&template).await.expect("migrations run");
            sqlx::query("CREATE EXTENSION pg_stat_statements")
                .execute(&template)
                .await
                .expect("pg_stat_statements is part of PostgreSQL's package");
            migrations::grant_roles(&template, None).await.expect("roles");
            sqlx::query("CREATE ROLE desk LOGIN IN ROLE frontdesk_app")
                .execute(&template)
                .await
                .expect("a role");
            template.close().await;
            admin.close().await;
            cluster
        })
    })
}

/// The value of the session cookie with this secret, sealed as servers seal it.
pub fn session_cookie(secret: &Secret) -> String {
    static SEALING_KEY: OnceLock<Key> = OnceLock::new();
    let key = SEALING_KEY.get_or_init(|| Key::derive_from(KEY.as_bytes()));
    let mut jar = CookieJar::new();
    jar.private_mut(key).add(Cookie::new("session", secret.reveal()));
    let sealed = jar.get("session").expect("sealed").encoded().stripped().to_string();
    sealed.split_once('=').expect("name=value").1.to_owned()
}

fn connect(url: &str) -> PgPool {
    PgPoolOptions::new().max_connections(4).connect_lazy(url).expect("a valid database URL")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A transaction that stays open until it is rolled back or dropped, like a forgotten one in psql.
pub struct OpenTransaction<'d> {
    connection: PgConnection,
    runtime: &'d Runtime,
}

impl OpenTransaction<'_> {
    /// Runs another statement in the transaction.
    pub fn db_execute(&mut self, sql: &str) {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection);
        self.runtime.block_on(done).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Commits and closes the connection.
    pub fn commit(mut self) {
        self.db_execute("COMMIT");
    }

    /// Rolls back and closes the connection.
    pub fn rollback(mut self) {
        self.db_execute("ROLLBACK");
    }
}

impl Database {
    /// A migrated database.
    pub fn new() -> Self {
        let mut database = Self::from_template("template_frontdesk");
        let options: PgConnectOptions = database.url.parse().expect("a valid database URL");
        let owner = format!("{}@", options.get_username());
        database.server_url = database.url.replacen(&owner, "desk@", 1);
        database
    }

    /// A database without tables.
    pub fn empty() -> Self {
        Self::from_template("template0")
    }

    /// An existing database.
    pub fn connect(url: &str) -> Self {
        let runtime = runtime();
        let pool = runtime.block_on(async { connect(url) });
        Self { url: url.to_owned(), server_url: url.to_owned(), pool, runtime }
    }

    fn from_template(template: &str) -> Self {
        let cluster = cluster();
        let runtime = runtime();
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (url, pool) = runtime.block_on(async {
            let admin = connect(&cluster.url_for("postgres"));
            for sql in [
                format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
                format!("CREATE DATABASE {name} TEMPLATE {template}"),
            ] {
                sqlx::query(AssertSqlSafe(sql))
                    .execute(&admin)
                    .await
                    .expect("a database for the test");
            }
            admin.close().await;
            let url = cluster.url_for(&name);
            let pool = connect(&url);
            (url, pool)
        });
        Self { server_url: url.clone(), url, pool, runtime }
    }

    /// Runs a statement. Returns the number of affected rows.
    pub fn db_execute(&self, sql: &str) -> u64 {
        let done = self.runtime.block_on(sqlx::query(AssertSqlSafe(sql)).execute(&self.pool));
        if ["sessions", "users", "group"].iter().any(|table| sql.contains(table)) {
            // Servers learn of a manual change some milliseconds later: wait, so that the test does not race
            // with it.
            self.runtime.block_on(await_invalidation(&self.pool, None));
        }
        done.unwrap_or_else(|error| panic!("{sql}: {error}")).rows_affected()
    }

    /// Runs a statement and leaves its transaction open.
    pub fn db_begin(&self, sql: &str) -> OpenTransaction<'_> {
        let connection =
            self.runtime.block_on(PgConnection::connect(&self.url)).expect("a connection");
        let mut held = OpenTransaction { connection, runtime: &self.runtime };
        held.db_execute("BEGIN");
        held.db_execute(sql);
        held
    }

    /// Creates `user0@example.com` and so on, with the password of `email`.
    pub fn db_create_users(&self, email: &str, count: usize) {
        let created = self.db_execute(&format!(
            "INSERT INTO users (id, email, email_canonical, display_name, password_hash, password_changed_at)
             SELECT gen_random_uuid(), new_email, new_email, 'User', password_hash, password_changed_at
               FROM users, generate_series(0, {count} - 1) AS number,
                    LATERAL (SELECT 'user' || number || '@example.com' AS new_email) AS named
              WHERE email = '{email}'"
        ));
        assert_eq!(created, count as u64);
    }

    /// Creates `count` sessions of `email`. Returns their cookies.
    pub fn db_create_sessions(&self, email: &str, count: usize) -> Vec<String> {
        self.db_create_sessions_seen(email, count, "0 s")
    }

    /// Like [`Self::db_create_sessions`], last seen `ago`, an SQL interval.
    pub fn db_create_sessions_seen(&self, email: &str, count: usize, ago: &str) -> Vec<String> {
        let secrets: Vec<Secret> = (0..count).map(|_| Secret::generate()).collect();
        let digests: Vec<Vec<u8>> =
            secrets.iter().map(|secret| secret.digest().as_bytes().to_vec()).collect();
        let insert = sqlx::query(
            "INSERT INTO sessions (token_digest, id, user_id, authenticated_at, auth_methods, last_seen_at,
                                   idle_timeout, expires_at, absolute_expires_at)
             SELECT digest, gen_random_uuid(), u.id, now(), '{pwd}', now() - $3::text::interval,
                    interval '2 hours', now() + interval '2 hours' - $3::text::interval, now() + interval '24 hours'
               FROM unnest($1::bytea[]) AS digest, users u
              WHERE u.email = $2",
        )
        .bind(&digests)
        .bind(email)
        .bind(ago);
        let done = self.runtime.block_on(insert.execute(&self.pool)).expect("rows");
        assert_eq!(done.rows_affected(), count as u64);
        secrets.iter().map(session_cookie).collect()
    }

    /// The Unix socket of the PostgreSQL server of this database.
    pub fn socket(&self) -> PathBuf {
        let options: PgConnectOptions = self.url.parse().expect("a valid database URL");
        options.get_socket().expect("a Unix socket").join(".s.PGSQL.5432")
    }

    /// The URL of this database through a proxy.
    pub fn url_through(&self, proxy: &Proxy) -> String {
        let options: PgConnectOptions = self.server_url.parse().expect("a valid database URL");
        format!(
            "postgres://{}@127.0.0.1:{}/{}?sslmode=disable",
            options.get_username(),
            proxy.port,
            options.get_database().expect("a database"),
        )
    }

    /// Runs a query that returns one number.
    pub fn db_count(&self, sql: &str) -> i64 {
        let found =
            self.runtime.block_on(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.pool));
        found.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs a query that returns one text column.
    pub fn db_texts(&self, sql: &str) -> Vec<String> {
        let found =
            self.runtime.block_on(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&self.pool));
        found.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}
