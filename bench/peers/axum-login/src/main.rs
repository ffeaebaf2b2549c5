//! axum with axum-login over tower-sessions; the sessions and the users are in PostgreSQL.

use std::env;

use askama::Template;
use axum::{
    Form, Router,
    http::StatusCode,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend, UserId};
use serde::Deserialize;
use sqlx::PgPool;
use time::Duration;
use tokio::{net::TcpListener, signal};
use tower_sessions::{Expiry, SessionManagerLayer, cookie::Key};
use tower_sessions_sqlx_store::PostgresStore;

#[derive(Clone, Debug, sqlx::FromRow)]
struct User {
    id: i64,
    email: String,
    display_name: String,
    password: String,
}

impl AuthUser for User {
    type Id = i64;

    fn id(&self) -> i64 {
        self.id
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.password.as_bytes()
    }
}

#[derive(Clone, Deserialize)]
struct Credentials {
    email: String,
    password: String,
}

#[derive(Clone, Debug)]
struct Backend {
    pool: PgPool,
}

impl AuthnBackend for Backend {
    type User = User;
    type Credentials = Credentials;
    type Error = sqlx::Error;

    async fn authenticate(&self, credentials: Credentials) -> Result<Option<User>, sqlx::Error> {
        let user: Option<User> =
            sqlx::query_as("SELECT id, email, display_name, password FROM users WHERE email = $1")
                .bind(credentials.email)
                .fetch_optional(&self.pool)
                .await?;
        Ok(user.filter(|user| user.password == credentials.password))
    }

    async fn get_user(&self, id: &UserId<Self>) -> Result<Option<User>, sqlx::Error> {
        sqlx::query_as("SELECT id, email, display_name, password FROM users WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
    }
}

type AuthSession = axum_login::AuthSession<Backend>;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    user: User,
}

fn render(page: impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn login_form() -> Response {
    render(LoginPage)
}

async fn login(mut auth: AuthSession, Form(credentials): Form<Credentials>) -> Response {
    let user = match auth.authenticate(credentials).await {
        Ok(Some(user)) => user,
        Ok(None) => {
            return (StatusCode::UNAUTHORIZED, "Unknown email or wrong password.").into_response();
        }
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    match auth.login(&user).await {
        Ok(()) => Redirect::to("/account").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn logout(mut auth: AuthSession) -> Response {
    match auth.logout().await {
        Ok(_) => Redirect::to("/login").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn account(auth: AuthSession) -> Response {
    match auth.user {
        Some(user) => render(AccountPage { user }),
        None => Redirect::to("/login").into_response(),
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = env::var("PORT")?.parse()?;
    let users: i64 = env::var("USERS").unwrap_or("1000".into()).parse()?;
    let pool = PgPool::connect(&env::var("DATABASE_URL")?).await?;
    sqlx::raw_sql(include_str!("../schema.sql")).execute(&pool).await?;
    sqlx::query(include_str!("../seed.sql")).bind(users).execute(&pool).await?;

    let store = PostgresStore::new(pool.clone());
    store.migrate().await?;
    // Fixed, so that a restart keeps the sessions. An application would read it from its configuration.
    let sessions = SessionManagerLayer::new(store)
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(Duration::days(1)))
        .with_signed(Key::from(&[7; 64]));
    let auth = AuthManagerLayerBuilder::new(Backend { pool }, sessions).build();

    let app = Router::new()
        .route("/login", get(login_form).post(login))
        .route("/logout", post(logout))
        .route("/account", get(account))
        .layer(auth);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _ = signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
