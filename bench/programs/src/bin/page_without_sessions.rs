//! The profile page of the real program, with its HTTP server, outermost middleware, templates and headers, but
//! without sessions: the baseline for the cost of a signed-in page. Listens on 127.0.0.1 and the port in PORT.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use frontdesk::config::{ColorScheme, Config};
use frontdesk::look::Look;
use frontdesk::templates::{Folder, Layers, Templates};
use frontdesk::web::assets::Assets;
use frontdesk::web::error::HttpError;
use frontdesk::web::form::FormView;
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
    let workers: usize = std::env::var("WORKERS").map_or(Ok(2), |text| text.parse())?;
    let assets = Assets::load(&Folder::new(), ColorScheme::Auto)?;
    let mut globals = PageTemplates::globals();
    globals.insert("site", &Config::from_map(&BTreeMap::new())?.site());
    globals.insert("look", &Look::default());
    let templates = Templates::load(Layers::default(), assets.urls(), globals);
    let templates = Arc::new(templates.map_err(|problems| anyhow::anyhow!("{problems:?}"))?);
    let templates = web::Data::new(PageTemplates::new(templates, Vec::new(), false));
    frontdesk_bench::serve_without_sessions(templates, workers, |config| {
        config.route("/account/profile", web::get().to(show));
    })
    .await
}
