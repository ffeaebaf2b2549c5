//! The start page of `examples/notes` with the HTTP server, outermost middleware, templates and headers of the real
//! program, but without sessions: the baseline for the cost of the page when nobody is signed in. Listens on
//! 127.0.0.1 and the port in PORT. With the memory allocator of the site.

use std::net::TcpListener;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, web};
use frontdesk::server::PageData;
use frontdesk::server::listen::{Listeners, ServerOptions};
use frontdesk::web::connection::OpenConnections;
use frontdesk::web::error::HttpError;
use frontdesk::web::flash::Flash;
use frontdesk::web::outer;
use frontdesk::web::outer::Outer;
use frontdesk::web::page::Page;

async fn show(page: Page) -> Result<HttpResponse, HttpError> {
    page.of_site().show("start.html", &serde_json::json!({}))
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let (config, site) = frontdesk_bench::notes()?;
    let templates = PageData::new(&config, &site)?.templates;
    let key = actix_web::cookie::Key::from(&[7; 64]);
    let flash = web::Data::new(Flash::new(false, key));
    let outer = web::Data::new(Outer::default());
    let sealer = web::Data::new(frontdesk_bench::sealer()?);
    let options = ServerOptions {
        workers: 2,
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
            .route("/", web::get().to(show))
            .route("/login", web::get().to(HttpResponse::Ok))
    })?;
    server.await?;
    Ok(())
}
