//! The notes site on axum with axum-login: users, sessions and notes are in PostgreSQL.

use std::env;
use std::time::Duration;

use askama::Template;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::{StatusCode, request::Parts};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend, UserId, login_required};
use axum_messages::{Messages, MessagesManagerLayer};
use serde::Deserialize;
use sqlx::{FromRow, PgPool};
use tokio::{net::TcpListener, signal, task};
use tower_sessions::{ExpiredDeletion, Expiry, SessionManagerLayer};
use tower_sessions_sqlx_store::PostgresStore;

#[derive(Clone, Debug, FromRow)]
struct User {
    id: i64,
    display_name: String,
    password_hash: String,
}

impl AuthUser for User {
    type Id = i64;

    fn id(&self) -> i64 {
        self.id
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.password_hash.as_bytes()
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

#[derive(Debug, thiserror::Error)]
enum BackendError {
    #[error(transparent)]
    Sqlx(#[from] sqlx::Error),
    #[error(transparent)]
    Join(#[from] task::JoinError),
}

impl AuthnBackend for Backend {
    type User = User;
    type Credentials = Credentials;
    type Error = BackendError;

    async fn authenticate(&self, form: Credentials) -> Result<Option<User>, BackendError> {
        let select = "SELECT id, display_name, password_hash FROM users WHERE email = $1";
        let user: Option<User> = sqlx::query_as(select)
            .bind(form.email.trim().to_lowercase())
            .fetch_optional(&self.pool)
            .await?;
        let verify = move || {
            user.filter(|user| {
                password_auth::verify_password(form.password, &user.password_hash).is_ok()
            })
        };
        // A hash takes a while, and would block other requests.
        Ok(task::spawn_blocking(verify).await?)
    }

    async fn get_user(&self, id: &UserId<Self>) -> Result<Option<User>, BackendError> {
        let select = "SELECT id, display_name, password_hash FROM users WHERE id = $1";
        Ok(sqlx::query_as(select).bind(id).fetch_optional(&self.pool).await?)
    }
}

type AuthSession = axum_login::AuthSession<Backend>;

/// 500, with the cause in the log.
struct Error(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        eprintln!("{:#}", self.0);
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

type PageResult = Result<Response, Error>;

/// What every page shows.
struct Page {
    viewer: Option<User>,
    notices: Vec<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let auth = AuthSession::from_request_parts(parts, state).await;
        let messages = Messages::from_request_parts(parts, state).await;
        let viewer = auth.map_err(IntoResponse::into_response)?.user;
        let messages = messages.map_err(IntoResponse::into_response)?;
        Ok(Self { viewer, notices: messages.into_iter().map(|each| each.message).collect() })
    }
}

/// 422 if there is an error, otherwise 200.
fn render(template: &impl Template, error: Option<&str>) -> PageResult {
    let status = error.map_or(StatusCode::OK, |_| StatusCode::UNPROCESSABLE_ENTITY);
    Ok((status, Html(template.render()?)).into_response())
}

#[derive(Template)]
#[template(path = "start.html")]
struct StartPage {
    page: Page,
}

async fn start(page: Page) -> PageResult {
    render(&StartPage { page }, None)
}

#[derive(Template)]
#[template(path = "register.html")]
struct RegisterPage {
    page: Page,
    email: String,
    display_name: String,
    error: Option<&'static str>,
}

#[derive(Deserialize)]
struct Registration {
    email: String,
    display_name: String,
    password: String,
}

async fn register_form(page: Page) -> PageResult {
    let (email, display_name) = (String::new(), String::new());
    render(&RegisterPage { page, email, display_name, error: None }, None)
}

async fn register(
    mut auth: AuthSession,
    page: Page,
    State(pool): State<PgPool>,
    Form(form): Form<Registration>,
) -> PageResult {
    let email = form.email.trim().to_lowercase();
    let display_name = form.display_name.trim().to_owned();
    let mut error = if !email.contains('@') || email.len() > 254 {
        Some("Enter an email, such as name@example.com.")
    } else if !(1..=100).contains(&display_name.chars().count()) {
        Some("Enter a name of at most 100 characters.")
    } else if !(8..=1000).contains(&form.password.chars().count()) {
        Some("Choose a password of at least 8 characters.")
    } else {
        None
    };
    if error.is_none() {
        let hash = task::spawn_blocking(|| password_auth::generate_hash(form.password)).await?;
        let insert = "INSERT INTO users (email, display_name, password_hash) VALUES ($1, $2, $3)
                      ON CONFLICT (email) DO NOTHING RETURNING id, display_name, password_hash";
        let mut transaction = pool.begin().await?;
        let user: Option<User> = sqlx::query_as(insert)
            .bind(&email)
            .bind(&display_name)
            .bind(hash)
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some(user) = user {
            let insert = "INSERT INTO notes (owner_id, body) VALUES ($1, 'Welcome!')";
            sqlx::query(insert).bind(user.id).execute(&mut *transaction).await?;
            transaction.commit().await?;
            auth.login(&user).await?;
            return Ok(Redirect::to("/notes").into_response());
        }
        error = Some("This email has an account already.");
    }
    render(&RegisterPage { page, email, display_name, error }, error)
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    page: Page,
    email: String,
    error: Option<&'static str>,
}

async fn login_form(page: Page) -> PageResult {
    render(&LoginPage { page, email: String::new(), error: None }, None)
}

async fn login(mut auth: AuthSession, page: Page, Form(form): Form<Credentials>) -> PageResult {
    let email = form.email.clone();
    match auth.authenticate(form).await? {
        Some(user) => {
            auth.login(&user).await?;
            Ok(Redirect::to("/notes").into_response())
        }
        None => {
            let error = Some("Email or password is wrong.");
            render(&LoginPage { page, email, error }, error)
        }
    }
}

async fn logout(mut auth: AuthSession) -> PageResult {
    auth.logout().await?;
    Ok(Redirect::to("/login").into_response())
}

#[derive(FromRow)]
struct Note {
    id: i64,
    body: String,
}

#[derive(Template)]
#[template(path = "notes.html")]
struct NotesPage {
    page: Page,
    notes: Vec<Note>,
    body: String,
    error: Option<&'static str>,
}

#[derive(Deserialize)]
struct NewNote {
    body: String,
}

/// The user of a route with `login_required!`.
struct CurrentUser(User);

impl<S: Send + Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        let auth = AuthSession::from_request_parts(parts, state).await.map_err(|error| error.0)?;
        auth.user.map(Self).ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

async fn list(user: CurrentUser, page: Page, State(pool): State<PgPool>) -> PageResult {
    show(user, page, pool, String::new(), None).await
}

async fn show(
    CurrentUser(user): CurrentUser,
    page: Page,
    pool: PgPool,
    body: String,
    error: Option<&'static str>,
) -> PageResult {
    let select = "SELECT id, body FROM notes WHERE owner_id = $1 ORDER BY id DESC LIMIT 200";
    let notes = sqlx::query_as(select).bind(user.id).fetch_all(&pool).await?;
    render(&NotesPage { page, notes, body, error }, error)
}

async fn add(
    user: CurrentUser,
    page: Page,
    messages: Messages,
    State(pool): State<PgPool>,
    Form(note): Form<NewNote>,
) -> PageResult {
    if !(1..=2000).contains(&note.body.trim().chars().count()) {
        return show(user, page, pool, note.body, Some("Write 1 to 2,000 characters.")).await;
    }
    let insert = sqlx::query("INSERT INTO notes (owner_id, body) VALUES ($1, $2)");
    insert.bind(user.0.id).bind(note.body.trim()).execute(&pool).await?;
    messages.success("Note added.");
    Ok(Redirect::to("/notes").into_response())
}

async fn delete(
    CurrentUser(user): CurrentUser,
    messages: Messages,
    State(pool): State<PgPool>,
    Path(id): Path<i64>,
) -> PageResult {
    let delete = sqlx::query("DELETE FROM notes WHERE id = $1 AND owner_id = $2");
    if delete.bind(id).bind(user.id).execute(&pool).await?.rows_affected() == 0 {
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    messages.success("Note deleted.");
    Ok(Redirect::to("/notes").into_response())
}

/// Refuses forms of other sites. `SameSite=Strict`, the default of tower-sessions, does not keep out those of other hosts
/// of the same domain.
async fn same_origin(request: Request, next: Next) -> Response {
    let site = request.headers().get("sec-fetch-site");
    if request.method().is_safe() || site.is_none_or(|site| site == "same-origin") {
        next.run(request).await
    } else {
        StatusCode::FORBIDDEN.into_response()
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = env::var("PORT")?.parse()?;
    let pool = PgPool::connect(&env::var("DATABASE_URL")?).await?;
    sqlx::migrate!().run(&pool).await?;
    let store = PostgresStore::new(pool.clone());
    store.migrate().await?;
    let purge = task::spawn(store.clone().continuously_delete_expired(Duration::from_secs(60)));
    let sessions = SessionManagerLayer::new(store)
        .with_secure(env::var_os("INSECURE").is_none())
        .with_expiry(Expiry::OnInactivity(time::Duration::days(14)));
    let auth = AuthManagerLayerBuilder::new(Backend { pool: pool.clone() }, sessions).build();
    let app = Router::new()
        .route("/notes", get(list).post(add))
        .route("/notes/{id}/delete", post(delete))
        .route_layer(login_required!(Backend, login_url = "/login"))
        .route("/", get(start))
        .route("/register", get(register_form).post(register))
        .route("/login", get(login_form).post(login))
        .route("/logout", post(logout))
        .layer(MessagesManagerLayer)
        .layer(auth)
        .layer(middleware::from_fn(same_origin))
        .with_state(pool);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _ = signal::ctrl_c().await;
        })
        .await?;
    purge.abort();
    Ok(())
}
