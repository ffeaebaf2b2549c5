//! Accounts and sessions, written to the database without a password and without a request.

use std::time::Duration;

use actix_web::cookie::{Cookie, CookieJar};
use sqlx::PgPool;

use super::settings::Settings;
use crate::app;
use crate::audit::Origin;
use crate::db;
use crate::events::Hooks;
use crate::mail::address::EmailAddress;
use crate::role::Role;
use crate::session::{NewSession, PgSessionStore, await_invalidation};
use crate::user::User;
use crate::user::display_name::DisplayName;
use crate::user::email::verification;
use crate::user::password::hasher::{HashFormat, PasswordHash};
use crate::user::users::{self, FirstPassword};
use crate::web::cookie_guard::SessionCookie;

/// A hash of [`super::PASSWORD`].
const HASH: &str = "$argon2id$v=19$m=8192,t=2,p=2$mtLuAG8dHod9vcBhliU6AQ$14BzUxVTx5M35MZDI7+xRSPPIWFWqLdqrD36YfXVshY";

/// Creates a session of the account with `email`, and the account if there is none. Returns name and value of the
/// session cookie.
pub(super) async fn sign_in(
    pool: &PgPool,
    settings: &Settings,
    email: &str,
) -> anyhow::Result<(String, String)> {
    let config = settings.config();
    let email = EmailAddress::parse(email)?;
    let user = match users::find_by_email(pool, &email).await? {
        Some(user) => user,
        None => create_user(pool, email).await?,
    };
    let store = PgSessionStore::new(pool.clone(), config.session, None);
    let new_session = NewSession {
        auth_methods: vec!["pwd".to_owned()],
        password_changed_at: user.password_changed_at,
        ..NewSession::default()
    };
    let created = db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        let (store, new_session) = (store.clone(), new_session.clone());
        Box::pin(async move { store.create(connection, user.id, new_session, None).await })
    });
    let created = created.await?;
    let created = created.ok_or_else(|| anyhow::anyhow!("the account is disabled"))?;
    let keys = app::cookie_keys(&config.secret_keys()?);
    let cookie = SessionCookie::new(config.public_url.is_https(), keys.clone());
    let mut jar = CookieJar::new();
    jar.private_mut(&keys[0]).add(Cookie::new(cookie.name().to_owned(), created.secret.reveal()));
    let sealed = jar.get(cookie.name()).map(|cookie| cookie.encoded().stripped().to_string());
    let sealed = sealed.and_then(|pair| pair.split_once('=').map(|(_, value)| value.to_owned()));
    let sealed = sealed.ok_or_else(|| anyhow::anyhow!("the cookie was not sealed"))?;
    Ok((cookie.name().to_owned(), sealed))
}

/// An account with a verified email and [`super::PASSWORD`]. Its display name is the part of the email before the
/// `@`.
async fn create_user(pool: &PgPool, email: EmailAddress) -> anyhow::Result<User> {
    let name = email.as_typed().split('@').next().unwrap_or_default().to_owned();
    let name = DisplayName::parse(&name)?;
    let password = FirstPassword::Chosen(PasswordHash::adopt(HASH, HashFormat::Named)?);
    let hooks = Hooks::default();
    let origin = Origin::system();
    let (role, by) = (Role::User, origin.clone());
    let created = users::insert(pool, &hooks, email, name, role, password, origin).await?;
    let user = created.ok_or_else(|| anyhow::anyhow!("the account was created meanwhile"))?.user;
    verification::verify_by_operator(pool, user.id, by).await?;
    Ok(user)
}

/// Lets the sessions of a user be older by `age`. Returns how many there are.
pub(super) async fn age_sessions(pool: &PgPool, email: &str, age: Duration) -> u64 {
    let update = sqlx::query(
        "UPDATE sessions AS s
            SET created_at = s.created_at - age, authenticated_at = s.authenticated_at - age,
                last_seen_at = s.last_seen_at - age, expires_at = s.expires_at - age,
                absolute_expires_at = s.absolute_expires_at - age
           FROM users, make_interval(secs => $2) AS age
          WHERE s.user_id = users.id AND lower(users.email) = lower($1)",
    );
    let updated = update.bind(email).bind(age.as_secs_f64()).execute(db::on(pool)).await;
    let updated = updated.unwrap_or_else(|error| panic!("the sessions of {email}: {error}"));
    await_invalidation(pool, None).await;
    updated.rows_affected()
}
