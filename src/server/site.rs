//! The actix application: its data and middleware.

use std::sync::Arc;

use actix_identity::IdentityMiddleware;
use actix_session::SessionMiddleware;
use actix_session::config::CookieContentSecurity;
use actix_web::cookie::SameSite;
use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App as Site, web};
use anyhow::Context as _;

use super::listen::{Listeners, ServerOptions};
use super::routes;
use crate::app::{App, cookie_keys};
use crate::config::{Config, SecretKeys};
use crate::look::{Look, Tokens};
use crate::site::{Schemas, Site as Website};
use crate::templates::{MailTemplates, Templates};
use crate::web::assets::Assets;
use crate::web::client::TrustedProxies;
use crate::web::connection::OpenConnections;
use crate::web::cookie_guard::SessionCookie;
use crate::web::cross_site::OwnOrigin;
use crate::web::flash::Flash;
use crate::web::headers::ForeignHome;
use crate::web::outer::{self, Outer};
use crate::web::page_templates::PageTemplates;
use crate::web::request_data::KeptApart;

/// What every page needs, error pages included.
pub struct PageData {
    pub(super) assets: web::Data<Assets>,
    /// The templates of pages.
    pub templates: web::Data<PageTemplates>,
    /// Those of mails.
    pub mails: MailTemplates,
    pub(super) outer: web::Data<Outer>,
    pub(super) look: Look,
}

impl PageData {
    /// Loads the templates and static files.
    pub fn new(config: &Config, website: &Website) -> anyhow::Result<Self> {
        let assets = web::Data::new(Assets::load(&website.embedded.assets, config.color_scheme)?);
        let tokens = Tokens::read(&website.style_sheets(config));
        for warning in &tokens.warnings {
            tracing::warn!("{warning}");
        }
        let url = |name: &str| assets.urls().get(name).cloned();
        let look = Look::new(&tokens, config.color_scheme, url);
        let templates = Arc::new(templates(&assets, &look, config, website)?);
        let mails = MailTemplates::new(Arc::clone(&templates));
        let is_development = config.public_url.is_loopback();
        let pages = PageTemplates::new(templates, website.navigation.clone(), is_development);
        let hsts = config.public_url.is_https().then_some(config.hsts);
        let outer = Outer { hsts, log_client_ip: config.log_client_ip };
        let (templates, outer) = (web::Data::new(pages), web::Data::new(outer));
        Ok(Self { assets, templates, mails, outer, look })
    }
}

/// The site on `listeners`, not yet polled.
pub(super) fn serve(
    app: web::Data<App>,
    secrets: &SecretKeys,
    pages: PageData,
    listeners: &Listeners,
    options: &ServerOptions,
    (website, schemas): (Arc<Website>, web::Data<Schemas>),
) -> anyhow::Result<Server> {
    let keys = cookie_keys(secrets);
    let PageData { assets, templates, outer, .. } = pages;
    let open: web::Data<OpenConnections> = web::Data::from(options.open.clone());
    let public_url = &app.config.public_url;
    let https = public_url.is_https();
    let first_key = keys.first().cloned().context("at least one secret key is set")?;
    let flash = web::Data::new(Flash::new(https, first_key.clone()));
    let cookie = web::Data::new(SessionCookie::new(https, keys));
    let proxies = web::Data::new(TrustedProxies(app.config.trusted_proxies.clone()));
    let sealer = web::Data::new(app.sealer.clone());
    let database = schemas.site_database().map(web::Data::new);
    let home = web::Data::new(ForeignHome(app.config.links.foreign_home(public_url)));
    let policy = web::Data::new(website.content_security_policy.clone());
    let own_origin = web::Data::new(OwnOrigin(public_url.origin().origin().ascii_serialization()));
    let server = listeners.serve(options, move || {
        let sessions = SessionMiddleware::builder(app.sessions.clone(), first_key.clone())
            .cookie_name(cookie.name().to_owned())
            .cookie_secure(cookie.is_secure())
            .cookie_http_only(true)
            .cookie_same_site(SameSite::Lax)
            .cookie_path("/".to_owned())
            .cookie_content_security(CookieContentSecurity::Private)
            .build();
        // Without actix-identity's deadlines, which would write the session at every request. Expiry is
        // stored in the session row.
        let identity = IdentityMiddleware::default();
        Site::new()
            // First, so that it cannot replace what Frontdesk's own pages use.
            .configure(|config| website.data.iter().for_each(|add| add(config)))
            .app_data(app.clone())
            .app_data(sealer.clone())
            .app_data(flash.clone())
            .app_data(cookie.clone())
            .app_data(assets.clone())
            .app_data(templates.clone())
            .app_data(own_origin.clone())
            .app_data(outer.clone())
            .app_data(open.clone())
            .app_data(proxies.clone())
            .app_data(schemas.clone())
            .app_data(home.clone())
            .app_data(policy.clone())
            .app_data(app.mailer.clone())
            .configure(|config| {
                for data in database.iter().cloned() {
                    config.app_data(data).app_data(KeptApart);
                }
            })
            .wrap(from_fn(outer::wrap))
            .configure(|config| routes::configure(config, sessions, identity, &website, &assets))
    })?;
    Ok(server)
}

/// All templates, with the values that pages share.
fn templates(
    assets: &Assets,
    look: &Look,
    config: &Config,
    website: &Website,
) -> anyhow::Result<Templates> {
    let mut globals = PageTemplates::globals();
    globals.insert("site", &config.site());
    globals.insert("look", look);
    // `Site::check` and `Site::add_folders` have found the same before.
    let templates = Templates::load(website.templates(), assets.urls(), globals);
    let templates = templates.map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", problems.join("\n"))
    })?;
    let templates = templates.of_process();
    let is_development = config.public_url.is_loopback();
    Ok(if is_development { templates.reloading() } else { templates })
}
