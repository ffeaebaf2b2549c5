//! Servers under test.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;

use super::accounts;
use super::browser::Browser;
use super::mail::{self, Mail};
use super::postgres::block_on;
use super::process::{self, CommandOutput, Process};
use super::site::Site;

/// A running server of the site. Dropping it kills the server. Its database is deleted with the last server and
/// browser that use it.
///
/// ```no_run
/// # use frontdesk::testing::TestServer;
/// # let program = "";
/// let server = TestServer::start(program);
/// assert_eq!(server.browser().get("/").status(), 200);
/// assert_eq!(server.stop(), Some(0));
/// ```
pub struct TestServer {
    // The server ends before its database is deleted.
    process: Process,
    site: Arc<Site>,
}

impl TestServer {
    /// Starts `program` on a database of its own: `env!("CARGO_BIN_EXE_notes")` for a package named `notes`.
    #[track_caller]
    pub fn start(program: &str) -> Self {
        Self::start_with(program, [])
    }

    /// Starts `program` with settings, ours and those of the site.
    ///
    /// ```no_run
    /// # use frontdesk::testing::TestServer;
    /// # let program = "";
    /// let server = TestServer::start_with(program, [("FRONTDESK_REGISTRATION", "verified")]);
    /// ```
    #[track_caller]
    pub fn start_with<'a>(program: &str, settings: impl AsRef<[(&'a str, &'a str)]>) -> Self {
        Self::on(Arc::new(Site::new(program, settings.as_ref())))
    }

    /// Another server on the same database, with the same settings. What ends at one server has to end at the other.
    #[track_caller]
    pub fn another(&self) -> Self {
        Self::on(Arc::clone(&self.site))
    }

    #[track_caller]
    fn on(site: Arc<Site>) -> Self {
        let process = Process::start(&site.program, &site.settings);
        let process = process.unwrap_or_else(|log| panic!("the server did not start:\n{log}"));
        Self { process, site }
    }

    /// A browser without cookies.
    pub fn browser(&self) -> Browser {
        Browser::new(self.url(), Arc::clone(&self.site))
    }

    /// A browser with the cookies of another one, which may have used another server of the test.
    pub fn browser_with_cookies_of(&self, other: &Browser) -> Browser {
        let browser = self.browser();
        browser.copy_cookies(other);
        browser
    }

    /// The URL of the server, without a slash at its end: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.process.url
    }

    /// Runs a command of the program on the same database, to its end.
    ///
    /// ```no_run
    /// # let server = frontdesk::testing::TestServer::start("");
    /// let output = server.command(["user", "promote", "ada@example.com"]);
    /// assert_eq!(output.code, Some(0), "{}", output.stderr);
    /// ```
    pub fn command<'a>(&self, arguments: impl AsRef<[&'a str]>) -> CommandOutput {
        process::run(&self.site.program, &self.site.settings, arguments.as_ref())
    }

    /// Connections to the database, which find the tables of the site first and then Frontdesk's. Wait for a query
    /// with [`TestServer::block_on`].
    pub fn pool(&self) -> &PgPool {
        &self.site.database.pool
    }

    /// Waits for a future, such as a query.
    ///
    /// ```no_run
    /// # use frontdesk::{sqlx, testing::TestServer};
    /// # let server = TestServer::start("");
    /// let count = sqlx::query_scalar("SELECT count(*) FROM notes").fetch_one(server.pool());
    /// let count: i64 = server.block_on(count).unwrap();
    /// ```
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        block_on(future)
    }

    /// The next mail to `email`: the oldest that no call has returned yet. Waits up to 20 seconds for it. Only for
    /// servers without a mail server, which is the default.
    #[track_caller]
    pub fn mail_to(&self, email: &str) -> Mail {
        let found = mail::next(&self.site, &self.browser(), email);
        found.unwrap_or_else(|problem| panic!("{problem}\n{}", self.log()))
    }

    /// Lets the sessions of a user, and the last time that they entered their password, be older by `age`. Waits
    /// until every server knows it.
    #[track_caller]
    pub fn db_age_session(&self, email: &str, age: Duration) {
        let aged = block_on(accounts::age_sessions(&self.site.database.own_pool, email, age));
        assert!(aged > 0, "{email} has no session");
    }

    /// Everything that the server logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Stops the server as an operator does, with SIGTERM, and waits for its end. Returns the exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.process.stop()
    }
}
