//! The page `/notes` of `examples/notes` from actix-web, sqlx and tera alone: the same statement through a pool with the
//! same settings, and the same HTML, without any middleware, header or session of Frontdesk. The hidden field of the
//! forms is always the same. Shows the notes of the user OWNER, whose address is EMAIL, in DATABASE_URL. Listens on
//! 127.0.0.1 and the port in PORT. With the memory allocator of the site.

use std::sync::Arc;

use actix_web::error::ErrorInternalServerError;
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use frontdesk::config::Config;
use frontdesk::db;
use frontdesk::language::{self, Catalog};
use frontdesk::look::{Look, Tokens};
use frontdesk::site::Site;
use frontdesk::templates;
use frontdesk::web::assets::Assets;
use frontdesk::web::form::FormView;
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, PgPool};
use tera::{Context, Tera};
use uuid::Uuid;

const LIST: &str = "SELECT id, body FROM notes WHERE owner_id = $1 ORDER BY id DESC LIMIT $2";

#[derive(Serialize, FromRow)]
struct Note {
    id: i64,
    body: String,
}

struct Viewer {
    id: Uuid,
    email: String,
    form_token: String,
}

async fn list(
    request: HttpRequest,
    pool: web::Data<PgPool>,
    site: web::Data<Loaded>,
    viewer: web::Data<Viewer>,
) -> Result<HttpResponse, Error> {
    let select = sqlx::query_as(LIST).bind(viewer.id).bind(200_i64);
    let notes: Vec<Note> =
        select.fetch_all(pool.get_ref()).await.map_err(ErrorInternalServerError)?;
    let data = json!({
        "notes": notes,
        "form": FormView::default(),
        "path": request.path(),
        "section": "",
        "viewer": { "display_name": "User 0", "email": viewer.email, "groups": [] },
        "notice": null,
        "navigation": [{ "label": "Notes", "path": "/notes", "is_current": true }],
        "is_site_page": true,
        "form_token": viewer.form_token,
    });
    let context = Context::from_serialize(&data).map_err(ErrorInternalServerError)?;
    let _language = language::enter(&site.catalog);
    let html = site.tera.render("notes.html", &context).map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(html))
}

/// The templates and messages of the site.
struct Loaded {
    tera: Tera,
    catalog: Arc<Catalog>,
}

fn load(config: &Config, site: &Site) -> anyhow::Result<Loaded> {
    let assets = Assets::load(&site.embedded.assets, config.color_scheme)?;
    let layers = site.templates();
    let catalog = Arc::new(Catalog::load(&layers.messages));
    let tera = templates::load(&layers, assets.urls(), &catalog);
    let mut tera = tera.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let url = |name: &str| assets.urls().get(name).cloned();
    let look = Look::new(&Tokens::read(&site.style_sheets(config)), config.color_scheme, url);
    let globals = tera.global_context();
    globals.insert("site", &config.site());
    globals.insert("look", &look);
    globals.insert("lang", "en");
    Ok(Loaded { tera, catalog })
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let url = std::env::var("DATABASE_URL")?;
    let owner: Uuid = std::env::var("OWNER")?.parse()?;
    let (config, site) = frontdesk_bench::notes()?;
    let email = std::env::var("EMAIL")?;
    let viewer = Viewer { id: owner, email, form_token: frontdesk_bench::form_token()? };
    let (viewer, site) = (web::Data::new(viewer), web::Data::new(load(&config, &site)?));
    let pool = web::Data::new(db::pool(url.parse().context("DATABASE_URL")?, 10));
    HttpServer::new(move || {
        App::new()
            .app_data(viewer.clone())
            .app_data(site.clone())
            .app_data(pool.clone())
            .route("/notes", web::get().to(list))
            .route("/login", web::get().to(HttpResponse::Ok))
    })
    .workers(2)
    .bind(("127.0.0.1", port))?
    .run()
    .await?;
    Ok(())
}
