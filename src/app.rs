//! The application state that handlers use. Created once and shared by all workers.

use std::sync::Arc;

use actix_web::cookie::Key;
use sqlx::PgPool;
use tokio::sync::Notify;

use crate::background::Jobs;
use crate::config::{Config, Registration, SecretKeys};
use crate::crypto::seal::Sealer;
use crate::events::{Hooks, Mailer, RegisteredHooks};
use crate::look::Look;
use crate::mail::{self, SiteMail};
use crate::peers::ThisServer;
use crate::session::{PgSessionStore, SessionEnded};
use crate::templates::{Layers, MailTemplates};
use crate::user::export::Exports;
use crate::user::password::context::PasswordContext;
use crate::user::password::hasher::{HashParameters, Hasher, HasherError};
use crate::user::password::policy::PasswordPolicy;
use crate::user::password::verify::AuthenticateError;
use crate::user::rate_limit::Refusal;
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::page::Page;

/// The application state.
pub struct App {
    /// The connection pool of the request handlers.
    pub pool: PgPool,
    /// Hashes and verifies passwords on its own threads.
    pub hasher: Hasher,
    /// The rules for new passwords.
    pub password_policy: PasswordPolicy,
    /// The store behind the session middleware. After a commit that revokes sessions, call its
    /// `invalidate_user`.
    pub sessions: PgSessionStore,
    /// What this server publishes about itself to the others on the schema.
    pub server: ThisServer,
    /// Encrypts and authenticates data that leaves the server and comes back, and mail in the outbox.
    pub sealer: Sealer,
    /// What the site does when something happens to an account.
    pub hooks: Hooks,
    /// Puts mail of the site into the outbox.
    pub mailer: Mailer,
    /// Renders mail from templates.
    pub mail_renderer: Arc<mail::MailRenderer>,
    /// Counts the mail that this server sent.
    pub mail_counters: mail::Counters,
    /// The slots for exports of accounts.
    pub exports: Exports,
    /// Wakes the background jobs that send registration and password-reset mail, so that it is sent
    /// immediately.
    pub pending_mail: PendingMail,
    /// The background jobs of this process.
    pub jobs: Jobs,
    /// The settings.
    pub config: Config,
}

/// One for each job of `user/sign_up/pending_mail.rs`.
#[derive(Debug, Default)]
pub struct PendingMail {
    /// After a registration, and when another mail for it is requested.
    pub registrations: Arc<Notify>,
    /// After a password-reset request.
    pub recovery_requests: Arc<Notify>,
}

impl App {
    /// Creates the state from the configuration.
    pub fn new(
        config: Config,
        keys: &SecretKeys,
        pool: PgPool,
        mail_templates: MailTemplates,
        look: Look,
        (hooks, layers): (&RegisteredHooks, &Layers),
    ) -> anyhow::Result<Self> {
        let sealer = Sealer::new(keys.as_slice());
        let mailer = Mailer::new(SiteMail::new(sealer.clone(), config.own_search_path(), layers));
        let hooks = Hooks::new(hooks, config.site_search_path(), sealer.clone(), mailer.clone());
        let sessions = PgSessionStore::new(pool.clone(), config.session, config.session_cache)
            .with_sign_in_notices(sealer.clone())
            .with_session_limit(config.sessions_per_user)
            .with_hooks(hooks.clone());
        Ok(Self {
            server: ThisServer {
                id: sessions.server_id(),
                public_url: config.public_url.origin().to_string(),
                key_ids: sealer.key_ids().to_vec(),
                mail: config.mail.transport.name(),
            },
            hasher: Hasher::new(hash_parameters(&config)?),
            password_policy: PasswordPolicy { min_length: config.password_min_length },
            sessions,
            pool,
            sealer,
            hooks,
            mailer,
            mail_renderer: Arc::new(mail::MailRenderer::new(
                mail_templates,
                config.site().for_mail(),
                look,
                &config.public_url,
            )),
            mail_counters: mail::Counters::default(),
            exports: Exports::default(),
            pending_mail: PendingMail::default(),
            jobs: Jobs::default(),
            config,
        })
    }

    /// Whether anyone may register.
    pub fn registration_is_open(&self) -> bool {
        self.config.registration != Registration::Closed
    }

    /// Whether users can read mail: it is sent, or shown in the development mailbox.
    pub fn mail_is_on(&self) -> bool {
        self.config.mail_is_on()
    }

    /// The user's and the site's names, which a new password must not contain.
    pub fn password_context<'a>(
        &'a self,
        email: &'a str,
        display_name: &'a str,
    ) -> PasswordContext<'a> {
        let (site_name, host) = (&self.config.site_name, self.config.public_url.host());
        PasswordContext { email, display_name, site_name, host }
    }
}

/// The keys that seal and open cookies.
pub fn cookie_keys(secrets: &SecretKeys) -> Vec<Key> {
    secrets.as_slice().iter().map(|secret| Key::derive_from(secret.reveal().as_bytes())).collect()
}

/// The configured parameters for password hashes.
pub fn hash_parameters(config: &Config) -> anyhow::Result<HashParameters> {
    HashParameters::new(
        config.argon2_memory_kib,
        config.argon2_iterations,
        config.argon2_parallelism,
    )
    .map_err(anyhow::Error::msg)
}

/// Redirects to `next` if it is a page of this site, otherwise to `otherwise`. The next page shows `notice`.
pub fn redirect_to_next(
    page: &Page,
    app: &App,
    next: &str,
    otherwise: &str,
    notice: Option<&Notice>,
) -> actix_web::HttpResponse {
    let to = crate::web::return_to::checked(next, app.config.public_url.origin());
    // The policy of the sign-in pages allows no form to lead to a home page on another site.
    let leaves = app.config.links.foreign_home(&app.config.public_url).is_some();
    let to = to.as_deref().filter(|to| !leaves || *to != "/").unwrap_or(otherwise);
    match notice {
        Some(notice) => page.redirect_with(to, notice),
        None => page.redirect(to),
    }
}

/// Redirects to the home page of the site after a sign-out, with `notice` unless it is on another site: that one cannot
/// show the notice, and it would appear later, on a page of this one.
pub fn redirect_home(page: &Page, app: &App, notice: &Notice) -> actix_web::HttpResponse {
    let links = &app.config.links;
    match (&links.home, links.foreign_home(&app.config.public_url)) {
        (Some(home), Some(_)) => page.redirect(home),
        (home, _) => page.redirect_with(home.as_deref().unwrap_or("/"), notice),
    }
}

impl From<AuthenticateError> for HttpError {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Hasher(error) => error.into(),
            AuthenticateError::Database(error) => error.into(),
        }
    }
}

impl From<Refusal> for HttpError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooMany { retry_after } => HttpError::TooManyRequests { retry_after },
            Refusal::SessionEnded => SessionEnded.into(),
            Refusal::Database(error) => error.into(),
        }
    }
}

impl From<SessionEnded> for HttpError {
    fn from(SessionEnded: SessionEnded) -> Self {
        HttpError::SignInAgain
    }
}

impl From<HasherError> for HttpError {
    fn from(error: HasherError) -> Self {
        match error {
            HasherError::Busy { retry_after } => {
                HttpError::Unavailable { retry_after, cause: None }
            }
            HasherError::Internal(error) => HttpError::Internal(error),
        }
    }
}
