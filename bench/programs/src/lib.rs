//! What several programs need to show pages without sessions.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use actix_web::cookie::Key;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpResponse};
use frontdesk::config::{Config, SecretKeys};
use frontdesk::crypto::seal::Sealer;
use frontdesk::folder;
use frontdesk::server::listen::{Listeners, ServerOptions};
use frontdesk::site::{Embedded, NavigationEntry, Site};
use frontdesk::web::connection::OpenConnections;
use frontdesk::web::flash::Flash;
use frontdesk::web::form_token::{Client, FormToken};
use frontdesk::web::outer::{self, Outer};
use frontdesk::web::page_templates::PageTemplates;
use uuid::Uuid;

/// Seals the hidden fields of forms.
pub fn sealer() -> anyhow::Result<Sealer> {
    Ok(Sealer::new(
        SecretKeys::parse("tK8vQ2mZx7Lr4Wc9Ns1Bp6Hd3Yg5Jf0aEuViOoTbXkRlPzM")?.as_slice(),
    ))
}

/// The hidden field of a signed-in user's form.
pub fn form_token() -> anyhow::Result<String> {
    let client = Client::Session { account: Uuid::nil(), session: Uuid::nil() };
    Ok(FormToken::new(client).seal(&sealer()?))
}

/// Serves pages with the HTTP server, outermost middleware, templates and headers of the real program, but without
/// sessions, on 127.0.0.1 and the port in PORT.
pub async fn serve_without_sessions(
    templates: web::Data<PageTemplates>,
    workers: usize,
    pages: fn(&mut ServiceConfig),
) -> anyhow::Result<()> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let flash = web::Data::new(Flash::new(false, Key::from(&[7; 64])));
    let outer = web::Data::new(Outer::default());
    let sealer = web::Data::new(sealer()?);
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
            .configure(pages)
            .route("/login", web::get().to(HttpResponse::Ok))
    })?;
    server.await?;
    Ok(())
}

/// The settings and the files of `examples/notes`, whose folder is in SITE.
pub fn notes() -> anyhow::Result<(Config, Site)> {
    let folder = std::env::var("SITE")?;
    let read = |name: &str| {
        let found = folder::read(&Path::new(&folder).join(name));
        found.map_err(|problems| anyhow::anyhow!("{problems:?}"))
    };
    let embedded = Embedded::new(read("templates")?, read("static")?, read("migrations")?);
    let site = Site {
        embedded: embedded.with_locales(read("locales")?),
        navigation: vec![NavigationEntry { label: "Notes".to_owned(), path: "/notes".to_owned() }],
        ..Site::default()
    };
    let settings = [("FRONTDESK_SITE_NAME".to_owned(), "Notes".to_owned())];
    Ok((Config::from_map(&BTreeMap::from(settings))?, site))
}
