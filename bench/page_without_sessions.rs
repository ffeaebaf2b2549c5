//! The profile page of the real program, with its outermost middleware, templates and headers, but without
//! sessions: the baseline for the cost of a signed-in page. Listens on 127.0.0.1 and the port in PORT.

use actix_web::middleware::from_fn;
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, HttpServer, web};
use frontdesk::templates;
use frontdesk::web::assets::Assets;
use frontdesk::web::error::HttpError;
use frontdesk::web::flash::Flash;
use frontdesk::web::form::FormView;
use frontdesk::web::outer;
use frontdesk::web::outer::Outer;
use frontdesk::web::page::Page;
use frontdesk::web::page::Viewer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(serde::Serialize)]
struct Data {
    form: FormView,
    email: String,
}

async fn show(request: HttpRequest, page: Page) -> Result<HttpResponse, HttpError> {
    let email = "user0@example.com".to_owned();
    let viewer = Viewer { display_name: "User 0".to_owned(), email: email.clone() };
    request.extensions_mut().insert(viewer);
    let form = FormView::with_values([("display_name", "User 0")]);
    page.show("account/profile.html", &Data { form, email })
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let workers: usize = std::env::var("WORKERS").map_or(Ok(2), |text| text.parse())?;
    let assets = Assets::load()?;
    let mut tera = templates::load()?;
    tera.global_context().insert("site", &serde_json::json!({ "name": "Frontdesk" }));
    tera.global_context().insert("assets", assets.urls());
    let tera = web::Data::new(tera);
    let key = actix_web::cookie::Key::from(&[7; 64]);
    let flash = web::Data::new(Flash::new(false, key));
    let outer = web::Data::new(Outer::default());
    HttpServer::new(move || {
        App::new()
            .app_data(tera.clone())
            .app_data(flash.clone())
            .app_data(outer.clone())
            .wrap(from_fn(outer::wrap))
            .route("/account/profile", web::get().to(show))
            .route("/login", web::get().to(HttpResponse::Ok))
    })
    .workers(workers)
    .bind(("127.0.0.1", port))?
    .run()
    .await?;
    Ok(())
}
