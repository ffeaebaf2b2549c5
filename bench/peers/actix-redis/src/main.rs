//! actix-web with actix-identity over actix-session; the sessions are in Redis, the users in PostgreSQL.

use std::env;

use actix_identity::{Identity, IdentityMiddleware};
use actix_session::{SessionMiddleware, storage::RedisSessionStore};
use actix_web::{
    App, HttpMessage, HttpRequest, HttpResponse, HttpServer, Responder, Result, cookie::Key, error,
    get, post, web,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tera::{Context, Tera};

#[derive(Serialize, sqlx::FromRow)]
struct User {
    id: i64,
    email: String,
    display_name: String,
}

#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: String,
}

fn render(tera: &Tera, name: &str, context: &Context) -> Result<web::Html> {
    let html = tera.render(name, context).map_err(error::ErrorInternalServerError)?;
    Ok(web::Html::new(html))
}

#[get("/login")]
async fn login_form(tera: web::Data<Tera>) -> Result<impl Responder> {
    render(&tera, "login.html", &Context::new())
}

#[post("/login")]
async fn login(
    request: HttpRequest,
    pool: web::Data<PgPool>,
    form: web::Form<Credentials>,
) -> Result<impl Responder> {
    let found: Option<(i64, String)> =
        sqlx::query_as("SELECT id, password FROM users WHERE email = $1")
            .bind(&form.email)
            .fetch_optional(pool.get_ref())
            .await
            .map_err(error::ErrorInternalServerError)?;
    match found {
        Some((id, password)) if password == form.password => {
            Identity::login(&request.extensions(), id.to_string())?;
            Ok(web::Redirect::to("/account").see_other())
        }
        _ => Err(error::ErrorUnauthorized("Unknown email or wrong password.")),
    }
}

#[post("/logout")]
async fn logout(identity: Option<Identity>) -> impl Responder {
    if let Some(identity) = identity {
        identity.logout();
    }
    web::Redirect::to("/login").see_other()
}

#[get("/account")]
async fn account(
    request: HttpRequest,
    identity: Option<Identity>,
    pool: web::Data<PgPool>,
    tera: web::Data<Tera>,
) -> Result<HttpResponse> {
    let Some(identity) = identity else {
        return Ok(web::Redirect::to("/login")
            .see_other()
            .respond_to(&request)
            .map_into_boxed_body());
    };
    let id: i64 = identity.id()?.parse().map_err(error::ErrorInternalServerError)?;
    let user: User = sqlx::query_as("SELECT id, email, display_name FROM users WHERE id = $1")
        .bind(id)
        .fetch_one(pool.get_ref())
        .await
        .map_err(error::ErrorInternalServerError)?;
    let mut context = Context::new();
    context.insert("user", &user);
    Ok(render(&tera, "account.html", &context)?.respond_to(&request).map_into_boxed_body())
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = env::var("PORT")?.parse()?;
    let users: i64 = env::var("USERS").unwrap_or("1000".into()).parse()?;
    let pool = PgPool::connect(&env::var("DATABASE_URL")?).await?;
    sqlx::raw_sql(include_str!("../schema.sql")).execute(&pool).await?;
    sqlx::query(include_str!("../seed.sql")).bind(users).execute(&pool).await?;

    let mut tera = Tera::default();
    tera.add_raw_templates([
        ("account.html", include_str!("../templates/account.html")),
        ("login.html", include_str!("../templates/login.html")),
    ])?;

    let sessions = RedisSessionStore::new(env::var("REDIS_URL")?).await?;
    // Fixed, so that a restart keeps the sessions. An application would read it from its configuration.
    let key = Key::from(&[7; 64]);
    let (pool, tera) = (web::Data::new(pool), web::Data::new(tera));
    HttpServer::new(move || {
        App::new()
            .wrap(IdentityMiddleware::default())
            .wrap(
                SessionMiddleware::builder(sessions.clone(), key.clone())
                    .cookie_secure(false)
                    .build(),
            )
            .app_data(pool.clone())
            .app_data(tera.clone())
            .service(login_form)
            .service(login)
            .service(logout)
            .service(account)
    })
    .workers(2)
    .bind(("127.0.0.1", port))?
    .run()
    .await?;
    Ok(())
}
