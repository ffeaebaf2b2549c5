//! The start page of `examples/notes` with the HTTP server, outermost middleware, templates and headers of the real
//! program, but without sessions: the baseline for the cost of the page when nobody is signed in. Listens on
//! 127.0.0.1 and the port in PORT. With the memory allocator of the site.

use actix_web::{HttpResponse, web};
use frontdesk::server::PageData;
use frontdesk::web::error::HttpError;
use frontdesk::web::page::Page;

async fn show(page: Page) -> Result<HttpResponse, HttpError> {
    page.of_site().show("start.html", &serde_json::json!({}))
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let (config, site) = frontdesk_bench::notes()?;
    let templates = PageData::new(&config, &site)?.templates;
    frontdesk_bench::serve_without_sessions(templates, 2, |config| {
        config.route("/", web::get().to(show));
    })
    .await
}
