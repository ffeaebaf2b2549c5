//! What a handler may reach. Made once, shared by every worker.

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::Notify;

use crate::background::Jobs;
use crate::config::{Config, MailTransport, Registration, SecretKeys};
use crate::crypto::seal::Sealer;
use crate::mail;
use crate::session::{PgSessionStore, SessionEnded};
use crate::user::password::hasher::{HashParameters, Hasher, HasherError};
use crate::user::password::policy::{PasswordContext, PasswordPolicy};
use crate::user::password::verify::AuthenticateError;
use crate::user::rate_limit::Refusal;
use crate::web::error::HttpError;
use crate::web::page::Page;

/// The parts of the running program.
pub struct App {
    /// Connections.
    pub pool: PgPool,
    /// The queue for password hashes.
    pub hasher: Hasher,
    /// What a new password must be.
    pub passwords: PasswordPolicy,
    /// The store behind the session middleware; settle here after a commit that ends sessions.
    pub sessions: PgSessionStore,
    /// Seals what is stored and read again.
    pub sealer: Sealer,
    /// Writes mail.
    pub writer: Arc<mail::MailRenderer>,
    /// Mail that this server sent.
    pub mail_counters: mail::Counters,
    /// Rung when somebody registered or forgot a password: a loop answers at once, beside the page.
    pub answers: Arc<Notify>,
    /// The background jobs of this process.
    pub jobs: Jobs,
    /// Settings.
    pub config: Config,
}

impl App {
    /// Puts the parts together.
    pub fn new(config: Config, keys: &SecretKeys, pool: PgPool) -> anyhow::Result<Self> {
        let sealer = Sealer::new(keys.as_slice());
        Ok(Self {
            hasher: Hasher::new(hash_parameters(&config)?),
            passwords: PasswordPolicy { min_length: config.password_min_length },
            sessions: PgSessionStore::new(pool.clone(), config.session, config.session_cache)
                .with_sign_in_notices(sealer.clone()),
            pool,
            sealer,
            writer: Arc::new(mail::MailRenderer::new(&config.site_name, &config.public_url)?),
            mail_counters: mail::Counters::default(),
            answers: Arc::default(),
            jobs: Jobs::default(),
            config,
        })
    }

    /// Whether strangers may register.
    pub fn registration_is_open(&self) -> bool {
        self.config.registration != Registration::Closed
    }

    /// Whether what we write to people can reach them: it is sent, or shown on this very machine.
    pub fn mail_is_on(&self) -> bool {
        !matches!(self.config.mail.transport, MailTransport::Kept)
            || self.config.public_url.is_loopback()
    }

    /// What a password must not be made of.
    pub fn password_context<'a>(
        &'a self,
        email: &'a str,
        display_name: &'a str,
    ) -> PasswordContext<'a> {
        PasswordContext { email, display_name, host: self.config.public_url.host() }
    }
}

/// The hash parameters of the settings.
pub fn hash_parameters(config: &Config) -> anyhow::Result<HashParameters> {
    HashParameters::new(
        config.argon2_memory_kib,
        config.argon2_iterations,
        config.argon2_parallelism,
    )
    .map_err(anyhow::Error::msg)
}

/// Where a handler's page goes after what it did: `next` when it is ours, else `otherwise`.
pub fn redirect_to_next(
    page: &Page,
    app: &App,
    next: &str,
    otherwise: &str,
) -> actix_web::HttpResponse {
    let to = crate::web::return_to::checked(next, app.config.public_url.origin());
    page.redirect(to.as_deref().unwrap_or(otherwise))
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
            Refusal::TooMany { retry_after } => HttpError::SlowDown { retry_after },
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
