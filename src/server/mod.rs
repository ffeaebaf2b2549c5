//! The running site: the actix App and the order of its layers, the background loops, and how it stops.

pub mod jobs;
pub mod metrics;
pub mod routes;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_identity::IdentityMiddleware;
use actix_session::SessionMiddleware;
use actix_session::config::CookieContentSecurity;
use actix_web::cookie::{Key, SameSite};
use actix_web::middleware::from_fn;
use actix_web::{App as Site, HttpServer, web};
use anyhow::Context as _;
use serde_json::json;
use tera::Tera;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::app::App;
use crate::auth::known_device;
use crate::background::Loops;
use crate::config::Config;
use crate::db::{self, Database, migrations};
use crate::mail::{self, Delivery};
use crate::pages::sign_in::registration_cookie;
use crate::session::Engine;
use crate::templates;
use crate::user::sign_up::pending_mail;
use crate::web::assets::Assets;
use crate::web::client::TrustedProxies;
use crate::web::cookie_guard::SessionCookie;
use crate::web::cross_site::OwnOrigin;
use crate::web::flash::Flash;
use crate::web::outer::{self, Outer};

/// Head of a request: nobody honest needs longer.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// How long requests in flight may take once we are told to stop, in seconds.
const DRAIN_SECONDS: u64 = 10;
/// How long all of it may take: requests, mail, the last writes. A database that hangs must not keep us.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Serves until SIGTERM or SIGINT, then finishes what is in flight, writes what is still to be written
/// and stops the private PostgreSQL. A second signal ends the waiting. A private PostgreSQL that ends is restarted;
/// when that has failed for some minutes, serving ends with that error.
pub async fn run(config: Config) -> anyhow::Result<()> {
    // A log file that reaches RLIMIT_FSIZE raises SIGXFSZ, which ends the process unless it is handled; then the write
    // fails, and lines are dropped.
    let _file_too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    // Listened to from the very start, so that an early signal stops in order too.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let database = tokio::select! {
        database = db::connect(&config, false) => database?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let served = async {
        let (server, address, engine, app) = start(&config, &database).await?;
        let delivery = deliver(&app, &database)?;
        let mut loops = Loops::new(app.jobs.clone());
        let (pool, sealer) = (database.pool.clone(), app.sealer.clone());
        loops.spawn_woken(
            "pending_mail",
            pending_mail::EVERY,
            app.pending_mail.clone(),
            move || {
                let (pool, sealer) = (pool.clone(), sealer.clone());
                async move { pending_mail::run_once(&pool, &sealer).await }
            },
        );
        jobs::start(&mut loops, app.clone().into_inner());
        let metrics = metrics::start(app)?;
        announce(&config, &database, address);
        if config.public_url.is_https() && config.trusted_proxies.is_empty() {
            tracing::warn!(
                "all visitors appear to have the IP address of the proxy and share its rate limits: set FRONTDESK_TRUSTED_PROXIES"
            );
        }
        let handle = server.handle();
        let mut running = tokio::spawn(server);
        let mut lost = None;
        let is_told = tokio::select! {
            ended = &mut running => { ended??; false }
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            error = database.supervise() => { lost = Some(error); true }
        };
        let in_order = async {
            if is_told {
                stop(handle, &mut running).await;
            }
            metrics.stop().await;
            delivery.stop().await;
            loops.stop().await;
            let pool = database.fresh_pool();
            engine.stop(&pool).await;
            pool.close().await;
        };
        let is_done = tokio::select! {
            done = timeout(STOP_DEADLINE, in_order) => done.is_ok(),
            _ = terminate.recv() => false,
            _ = interrupt.recv() => false,
        };
        if !is_done {
            tracing::warn!(
                "stopping immediately: requests in flight and pending writes are dropped"
            );
        }
        lost.map_or(Ok(()), |error| Err(anyhow::Error::from(error)))
    };
    let served = served.await;
    let closed = database.close().await;
    served?;
    closed?;
    tracing::info!("stopped");
    Ok(())
}

async fn stop(
    handle: actix_web::dev::ServerHandle,
    running: &mut tokio::task::JoinHandle<std::io::Result<()>>,
) {
    tracing::info!("stopping: finishing requests in flight");
    handle.stop(true).await;
    if let Err(error) = running.await {
        tracing::error!(%error, "the server did not stop cleanly");
    }
}

async fn start(
    config: &Config,
    database: &Database,
) -> anyhow::Result<(actix_web::dev::Server, SocketAddr, Engine, web::Data<App>)> {
    if config.migrate {
        migrations::run(&database.pool).await?;
    }
    migrations::check(&database.pool).await??;
    let secrets = config.secret_keys()?;
    let keys =
        secrets.as_slice().iter().map(|key| Key::derive_from(key.reveal().as_bytes())).collect();
    let app = web::Data::new(App::new(config.clone(), &secrets, database.pool.clone())?);
    let listener = TcpListener::bind(config.bind)
        .with_context(|| format!("cannot listen on {}", config.bind))?;
    let address = listener.local_addr()?;
    let listen = database.listen_options(config)?;
    let engine = Engine::start(&app.sessions, listen, config.purge_interval, &app.jobs);
    Ok((server(app.clone(), keys, listener)?, address, engine, app))
}

/// The loop that sends mail, on connections of its own.
fn deliver(app: &App, database: &Database) -> anyhow::Result<Delivery> {
    let (settings, host) = (&app.config.mail, app.config.public_url.host());
    let mailer = mail::delivery::Mailer {
        pool: database.pool_of(2),
        sealer: app.sealer.clone(),
        renderer: app.mail_renderer.clone(),
        transport: mail::Transport::new(settings, host)?,
        from: settings.from.clone(),
        host: host.to_owned(),
        counters: app.mail_counters.clone(),
    };
    Ok(Delivery::start(mailer, &app.jobs))
}

/// The HTTP server on `listener`, not yet polled.
fn server(
    app: web::Data<App>,
    keys: Vec<Key>,
    listener: TcpListener,
) -> anyhow::Result<actix_web::dev::Server> {
    let public = &app.config.public_url;
    let https = public.is_https();
    let first = keys.first().cloned().context("at least one secret key is set")?;
    let flash = web::Data::new(Flash::new(https, first.clone()));
    let others =
        [flash.name(), known_device::cookie_name(https), registration_cookie::cookie_name(https)];
    let others = others.map(str::to_owned).to_vec();
    let cookie = web::Data::new(SessionCookie::new(https, keys, others));
    let proxies = web::Data::new(TrustedProxies(app.config.trusted_proxies.clone()));
    let sealer = web::Data::new(app.sealer.clone());
    let assets = web::Data::new(Assets::load()?);
    let tera = web::Data::new(pages(&assets, &app.config)?);
    let own = web::Data::new(OwnOrigin(public.origin().origin().ascii_serialization()));
    let envelope = web::Data::new(Outer { https });
    let workers = app.config.workers;
    let server = HttpServer::new(move || {
        let sessions = SessionMiddleware::builder(app.sessions.clone(), first.clone())
            .cookie_name(cookie.name().to_owned())
            .cookie_secure(cookie.is_secure())
            .cookie_http_only(true)
            .cookie_same_site(SameSite::Lax)
            .cookie_path("/".to_owned())
            .cookie_content_security(CookieContentSecurity::Private)
            .build();
        // No deadlines of its own: they would rewrite the session on every request; ours are on the row.
        let identity = IdentityMiddleware::default();
        Site::new()
            .app_data(app.clone())
            .app_data(sealer.clone())
            .app_data(flash.clone())
            .app_data(cookie.clone())
            .app_data(assets.clone())
            .app_data(tera.clone())
            .app_data(own.clone())
            .app_data(envelope.clone())
            .app_data(proxies.clone())
            .wrap(from_fn(outer::wrap))
            .configure(|config| routes::configure(config, sessions, identity))
    })
    .workers(workers)
    .client_request_timeout(HEAD_DEADLINE)
    .shutdown_timeout(DRAIN_SECONDS)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(server)
}

/// The templates with what all of them know.
fn pages(assets: &Assets, config: &Config) -> anyhow::Result<Tera> {
    let mut tera = templates::load()?;
    let globals = tera.global_context();
    globals.insert("site", &json!({ "name": config.site_name }));
    globals.insert("assets", assets.urls());
    Ok(tera)
}

/// Three calm lines, for the person who started it. A thread writes them, because standard output may be a pipe that is
/// not read.
fn announce(config: &Config, database: &Database, address: SocketAddr) {
    let url = if config.bind.port() == 0 {
        format!("http://{address}/")
    } else {
        config.public_url.origin().to_string()
    };
    let data = match database.cluster() {
        Some(cluster) => cluster.data_dir().display().to_string(),
        None => "in the database above".to_owned(),
    };
    let described = database.described();
    let text = format!("Site      {url}\nDatabase  {described}\nData      {data}\n");
    let write = move || {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
    };
    if let Err(error) = std::thread::Builder::new().name("announce".to_owned()).spawn(write) {
        tracing::warn!(%error, "the URL of the site could not be printed");
    }
}
