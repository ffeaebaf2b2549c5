//! The notes site on actix-web with actix-session: users, sessions and notes are in PostgreSQL.

mod store;

use std::env;
use std::fmt::{self, Display, Formatter};
use std::pin::Pin;

use actix_session::config::PersistentSession;
use actix_session::{Session, SessionExt as _, SessionMiddleware};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::cookie::{Key, time::Duration};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Data, Form, Path, Redirect};
use actix_web::{App, FromRequest, HttpRequest, HttpResponse, HttpServer, Responder as _};
use actix_web::{ResponseError, get, post, rt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{FromRow, PgPool};
use tera::{Context, Tera};

use crate::store::PgSessionStore;

const USER: &str = "user_id";
const NOTICE: &str = "notice";

/// 500, with the cause in the log.
#[derive(Debug)]
struct Error(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl Display for Error {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str("internal server error")
    }
}

impl ResponseError for Error {
    fn error_response(&self) -> HttpResponse {
        eprintln!("{:#}", self.0);
        HttpResponse::InternalServerError().finish()
    }
}

type PageResult = Result<HttpResponse, Error>;

#[derive(Serialize, FromRow)]
struct User {
    id: i64,
    display_name: String,
}

/// A request with its session and user, and the templates for its response.
struct Page {
    request: HttpRequest,
    session: Session,
    viewer: Option<User>,
}

impl FromRequest for Page {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let (request, session) = (request.clone(), request.get_session());
        Box::pin(async move {
            let viewer = match session.get::<i64>(USER)? {
                Some(id) => {
                    let pool = request.app_data::<Data<PgPool>>().expect("a pool");
                    let select = "SELECT id, display_name FROM users WHERE id = $1";
                    sqlx::query_as(select).bind(id).fetch_optional(pool.get_ref()).await?
                }
                None => None,
            };
            Ok(Self { request, session, viewer })
        })
    }
}

impl Page {
    /// 422 if there is an error, otherwise 200.
    fn render(&self, name: &str, error: Option<&str>, values: &Value) -> PageResult {
        let mut context = Context::from_serialize(values)?;
        context.insert("viewer", &self.viewer);
        context.insert("error", &error);
        if let Some(notice) = self.session.get::<String>(NOTICE)? {
            self.session.remove(NOTICE);
            context.insert("notice", &notice);
        } else {
            context.insert("notice", &());
        }
        let html =
            self.request.app_data::<Data<Tera>>().expect("templates").render(name, &context)?;
        let mut response = match error {
            Some(_) => HttpResponse::UnprocessableEntity(),
            None => HttpResponse::Ok(),
        };
        Ok(response.content_type("text/html; charset=utf-8").body(html))
    }

    fn redirect(&self, path: &'static str) -> PageResult {
        Ok(Redirect::to(path).see_other().respond_to(&self.request).map_into_boxed_body())
    }

    fn redirect_with(&self, path: &'static str, notice: &str) -> PageResult {
        self.session.insert(NOTICE, notice)?;
        self.redirect(path)
    }

    fn sign_in(&self, id: i64) -> PageResult {
        self.session.renew();
        self.session.insert(USER, id)?;
        self.redirect("/notes")
    }
}

#[get("/")]
async fn start(page: Page) -> PageResult {
    page.render("start.html", None, &json!({}))
}

#[derive(Deserialize)]
struct Registration {
    email: String,
    display_name: String,
    password: String,
}

#[get("/register")]
async fn register_form(page: Page) -> PageResult {
    page.render("register.html", None, &json!({ "email": "", "display_name": "" }))
}

#[post("/register")]
async fn register(page: Page, pool: Data<PgPool>, form: Form<Registration>) -> PageResult {
    let Registration { email, display_name, password } = form.into_inner();
    let (email, display_name) = (email.trim().to_lowercase(), display_name.trim());
    let mut error = if !email.contains('@') || email.len() > 254 {
        Some("Enter an email, such as name@example.com.")
    } else if !(1..=100).contains(&display_name.chars().count()) {
        Some("Enter a name of at most 100 characters.")
    } else if !(8..=1000).contains(&password.chars().count()) {
        Some("Choose a password of at least 8 characters.")
    } else {
        None
    };
    if error.is_none() {
        let hash = web::block(|| password_auth::generate_hash(password)).await?;
        let mut transaction = pool.begin().await?;
        let insert = "INSERT INTO users (email, display_name, password_hash) VALUES ($1, $2, $3)
                      ON CONFLICT (email) DO NOTHING RETURNING id";
        let id: Option<i64> = sqlx::query_scalar(insert)
            .bind(&email)
            .bind(display_name)
            .bind(hash)
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some(id) = id {
            let insert = "INSERT INTO notes (owner_id, body) VALUES ($1, 'Welcome!')";
            sqlx::query(insert).bind(id).execute(&mut *transaction).await?;
            transaction.commit().await?;
            return page.sign_in(id);
        }
        error = Some("This email has an account already.");
    }
    page.render("register.html", error, &json!({ "email": email, "display_name": display_name }))
}

#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: String,
}

#[get("/login")]
async fn login_form(page: Page) -> PageResult {
    page.render("login.html", None, &json!({ "email": "" }))
}

#[post("/login")]
async fn login(page: Page, pool: Data<PgPool>, form: Form<Credentials>) -> PageResult {
    let Credentials { email, password } = form.into_inner();
    let select = "SELECT id, password_hash FROM users WHERE email = $1";
    let found: Option<(i64, String)> = sqlx::query_as(select)
        .bind(email.trim().to_lowercase())
        .fetch_optional(pool.get_ref())
        .await?;
    // A hash takes a while, and would block other requests.
    let verify =
        || found.filter(|(_, hash)| password_auth::verify_password(password, hash).is_ok());
    match web::block(verify).await? {
        Some((id, _)) => page.sign_in(id),
        None => {
            let error = Some("Email or password is wrong.");
            page.render("login.html", error, &json!({ "email": email }))
        }
    }
}

#[post("/logout")]
async fn logout(page: Page) -> PageResult {
    page.session.purge();
    page.redirect("/login")
}

#[derive(Serialize, FromRow)]
struct Note {
    id: i64,
    body: String,
}

#[derive(Deserialize)]
struct NewNote {
    body: String,
}

#[get("/notes")]
async fn list(page: Page, pool: Data<PgPool>) -> PageResult {
    let Some(user) = &page.viewer else { return page.redirect("/login") };
    show(user, &page, &pool, "", None).await
}

async fn show(
    user: &User,
    page: &Page,
    pool: &PgPool,
    body: &str,
    error: Option<&str>,
) -> PageResult {
    let select = "SELECT id, body FROM notes WHERE owner_id = $1 ORDER BY id DESC LIMIT 200";
    let notes: Vec<Note> = sqlx::query_as(select).bind(user.id).fetch_all(pool).await?;
    page.render("notes.html", error, &json!({ "notes": notes, "body": body }))
}

#[post("/notes")]
async fn add(page: Page, pool: Data<PgPool>, note: Form<NewNote>) -> PageResult {
    let Some(user) = &page.viewer else { return page.redirect("/login") };
    if !(1..=2000).contains(&note.body.trim().chars().count()) {
        return show(user, &page, &pool, &note.body, Some("Write 1 to 2,000 characters.")).await;
    }
    let insert = sqlx::query("INSERT INTO notes (owner_id, body) VALUES ($1, $2)");
    insert.bind(user.id).bind(note.body.trim()).execute(pool.get_ref()).await?;
    page.redirect_with("/notes", "Note added.")
}

#[post("/notes/{id}/delete")]
async fn delete(page: Page, pool: Data<PgPool>, id: Path<i64>) -> PageResult {
    let Some(user) = &page.viewer else { return page.redirect("/login") };
    let delete = sqlx::query("DELETE FROM notes WHERE id = $1 AND owner_id = $2");
    match delete.bind(*id).bind(user.id).execute(pool.get_ref()).await?.rows_affected() {
        0 => Ok(HttpResponse::NotFound().finish()),
        _ => page.redirect_with("/notes", "Note deleted."),
    }
}

/// Refuses forms of other sites. `SameSite` does not keep out those of other hosts of the same domain.
async fn same_origin(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let site = request.headers().get("sec-fetch-site");
    if request.method().is_safe() || site.is_none_or(|site| site == "same-origin") {
        Ok(next.call(request).await?.map_into_boxed_body())
    } else {
        Ok(request.into_response(HttpResponse::Forbidden().finish()))
    }
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = env::var("PORT")?.parse()?;
    let key = Key::derive_from(env::var("SECRET_KEY")?.as_bytes());
    let is_secure = env::var_os("INSECURE").is_none();
    let pool = PgPool::connect(&env::var("DATABASE_URL")?).await?;
    sqlx::migrate!().run(&pool).await?;
    let mut tera = Tera::default();
    tera.add_raw_templates([
        ("layout.html", include_str!("../templates/layout.html")),
        ("login.html", include_str!("../templates/login.html")),
        ("notes.html", include_str!("../templates/notes.html")),
        ("register.html", include_str!("../templates/register.html")),
        ("start.html", include_str!("../templates/start.html")),
    ])?;
    let store = PgSessionStore::new(pool.clone());
    rt::spawn(store.clone().purge());
    let (pool, tera) = (Data::new(pool), Data::new(tera));
    HttpServer::new(move || {
        let lifecycle = PersistentSession::default().session_ttl(Duration::days(14));
        let sessions = SessionMiddleware::builder(store.clone(), key.clone())
            .cookie_secure(is_secure)
            .session_lifecycle(lifecycle)
            .build();
        App::new()
            .app_data(pool.clone())
            .app_data(tera.clone())
            .wrap(sessions)
            .wrap(from_fn(same_origin))
            .service(start)
            .service(register_form)
            .service(register)
            .service(login_form)
            .service(login)
            .service(logout)
            .service(list)
            .service(add)
            .service(delete)
    })
    .bind(("127.0.0.1", port))?
    .run()
    .await?;
    Ok(())
}
