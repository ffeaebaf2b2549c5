//! The profile page from actix-web and tera alone: the same HTML, byte for byte, without any middleware, header
//! or session of Frontdesk. The hidden field of the forms is always the same. The baseline for the
//! cost of Frontdesk's own layers. Listens on 127.0.0.1 and the
//! port in PORT.

use std::collections::BTreeMap;

use actix_web::error::ErrorInternalServerError;
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, web};
use frontdesk::config::{ColorScheme, Config};
use frontdesk::language::Catalog;
use frontdesk::look::Look;
use frontdesk::templates::{self, Folder, Layers};
use frontdesk::web::assets::Assets;
use frontdesk::web::form::FormView;
use tera::{Context, Tera};

frontdesk::use_mimalloc!();

#[derive(serde::Serialize)]
struct Viewer {
    display_name: String,
    email: String,
}

#[derive(serde::Serialize)]
struct Data<'a> {
    form: FormView,
    email: String,
    path: &'a str,
    viewer: Viewer,
    notice: Option<()>,
}

async fn show(request: HttpRequest, tera: web::Data<Tera>) -> Result<HttpResponse, Error> {
    let viewer =
        Viewer { display_name: "User 0".to_owned(), email: "user0@example.com".to_owned() };
    let data = Data {
        form: FormView::with_values([("display_name", "User 0")]),
        email: viewer.email.clone(),
        path: request.path(),
        viewer,
        notice: None,
    };
    let context = Context::from_serialize(&data).map_err(ErrorInternalServerError)?;
    let html = tera.render("account/profile.html", &context).map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(html))
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let workers: usize = std::env::var("WORKERS").map_or(Ok(2), |text| text.parse())?;
    let assets = Assets::load(&Folder::new(), ColorScheme::Auto)?;
    let mut tera = templates::load(&Layers::default(), assets.urls(), Catalog::own())
        .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    tera.global_context().insert("site", &Config::from_map(&BTreeMap::new())?.site());
    tera.global_context().insert("look", &Look::default());
    tera.global_context().insert("navigation", &[(); 0]);
    tera.global_context().insert("section", "/account/profile");
    tera.global_context().insert("form_token", &frontdesk_bench::form_token()?);
    tera.global_context().insert("is_site_page", &false);
    tera.global_context().insert("lang", "en");
    let tera = web::Data::new(tera);
    HttpServer::new(move || {
        App::new()
            .app_data(tera.clone())
            .route("/account/profile", web::get().to(show))
            .route("/login", web::get().to(HttpResponse::Ok))
    })
    .workers(workers)
    .bind(("127.0.0.1", port))?
    .run()
    .await?;
    Ok(())
}
