//! Sessions in PostgreSQL for your own application, in a separate schema beside your tables.
//!
//!     DATABASE_URL=postgres://… cargo run --example minimal

use std::time::Duration;

use actix_session::{Session, SessionMiddleware};
use actix_web::{App, Error, HttpServer, Responder, cookie::Key, web};
use frontdesk::background::Jobs;
use frontdesk::db::{self, migrations};
use frontdesk::session::{Engine, PgSessionStore, Timeouts};

async fn login(session: Session, name: web::Path<String>) -> Result<impl Responder, Error> {
    session.clear(); // discard the state from before the sign-in
    session.renew(); // create a new session with a new secret
    session.insert("name", name.into_inner())?;
    Ok("Signed in.\n")
}

async fn hello(session: Session) -> Result<impl Responder, Error> {
    let name: Option<String> = session.get("name")?;
    Ok(format!("Hello, {}.\n", name.as_deref().unwrap_or("stranger")))
}

async fn logout(session: Session) -> impl Responder {
    session.purge(); // once this is answered, no server accepts the cookie
    "Signed out.\n"
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let options = db::in_schema(std::env::var("DATABASE_URL")?.parse()?, "sessions");
    let pool = db::pool(options.clone(), 10);
    migrations::run_in_schema(&pool, "sessions").await?;
    let store = PgSessionStore::new(pool, Timeouts::default(), Some(100_000));
    let jobs = Jobs::default(); // status of the background jobs
    let engine = Engine::start(&store, options.clone(), Duration::from_secs(300), &jobs);
    let (key, bind) = (Key::generate(), std::env::var("BIND").unwrap_or("127.0.0.1:8081".into()));
    HttpServer::new(move || {
        App::new()
            .wrap(SessionMiddleware::new(store.clone(), key.clone()))
            .route("/", web::get().to(hello))
            .route("/login/{name}", web::post().to(login))
            .route("/logout", web::post().to(logout))
    })
    .bind(bind)?
    .run()
    .await?;
    engine.stop(&db::pool(options, 1)).await;
    Ok(())
}
