//! The profile page of the real program, with its HTTP server, outermost middleware, templates and headers, but
//! without sessions: the baseline for the cost of a signed-in page. Listens on 127.0.0.1 and the port in PORT.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, web};
use frontdesk::config::{ColorScheme, Config};
use frontdesk::look::Look;
use frontdesk::server::listen::{Listeners, ServerOptions};
use frontdesk::templates::{Folder, Layers, Templates};
use frontdesk::web::assets::Assets;
use frontdesk::web::connection::OpenConnections;
use frontdesk::web::error::HttpError;
use frontdesk::web::flash::Flash;
use frontdesk::web::form::FormView;
use frontdesk::web::outer;
use frontdesk::web::outer::Outer;
use frontdesk::web::page::Page;
use frontdesk::web::page_templates::{PageTemplates, Viewer};
use uuid::Uuid;

frontdesk::use_mimalloc!();

#[derive(serde::Serialize)]
struct Data {
    form: FormView,
    email: String,
}

async fn show(request: HttpRequest, page: Page) -> Result<HttpResponse, HttpError> {
    let email = "user0@example.com".to_owned();
    let viewer = Viewer {
        account: Uuid::nil(),
        session: Uuid::nil(),
        display_name: "User 0".to_owned(),
        email: email.clone(),
        groups: Vec::new(),
    };
    request.extensions_mut().insert(viewer);
    let form = FormView::with_values([("display_name", "User 0")]);
    page.show("account/profile.html", &Data { form, email })
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let workers: usize = std::env::var("WORKERS").map_or(Ok(2), |text| text.parse())?;
    let assets = Assets::load(&Folder::new(), ColorScheme::Auto)?;
    let mut globals = PageTemplates::globals();
    globals.insert("site", &Config::from_map(&BTreeMap::new())?.site());
    globals.insert("look", &Look::default());
    let templates = Templates::load(Layers::default(), assets.urls(), globals);
    let templates = Arc::new(templates.map_err(|problems| anyhow::anyhow!("{problems:?}"))?);
    let templates = web::Data::new(PageTemplates::new(templates, Vec::new(), false));
    let key = actix_web::cookie::Key::from(&[7; 64]);
    let flash = web::Data::new(Flash::new(false, key));
    let outer = web::Data::new(Outer::default());
    let sealer = web::Data::new(frontdesk_bench::sealer()?);
    let options = ServerOptions {
        workers,
        keep_alive: Duration::from_secs(75),
        stop_deadline: Duration::from_secs(1),
        open: OpenConnections::within_descriptor_limit(64),
    };
    let open: web::Data<OpenConnections> = web::Data::from(options.open.clone());
    let listeners = Listeners::of(TcpListener::bind(("127.0.0.1", port))?);
    let server = listeners.serve(&options, move || {
        App::new()
            .app_data(templates.clone())
            .app_data(flash.clone())
            .app_data(sealer.clone())
            .app_data(outer.clone())
            .app_data(open.clone())
            .wrap(from_fn(outer::wrap))
            .route("/account/profile", web::get().to(show))
            .route("/login", web::get().to(HttpResponse::Ok))
    })?;
    server.await?;
    Ok(())
}
