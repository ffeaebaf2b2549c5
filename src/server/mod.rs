//! The server: sets up the actix application, its middleware and the background jobs, and starts and stops
//! them in order.

pub mod jobs;
mod membership;
pub mod metrics;
pub mod routes;

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_identity::IdentityMiddleware;
use actix_session::SessionMiddleware;
use actix_session::config::CookieContentSecurity;
use actix_web::cookie::{Key, SameSite};
use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App as Site, HttpServer, web};
use anyhow::Context as _;
use serde_json::json;
use tera::Tera;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::app::App;
use crate::auth::known_device;
use crate::background::JobRunner;
use crate::config::Config;
use crate::db::migrations::{self, Schema};
use crate::db::{self, Database, PRIVATE_IN_PRODUCTION, PrivateCluster};
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

/// Deadline for receiving the request headers.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// How long requests in flight may run after the stop signal, in seconds.
const DRAIN_SECONDS: u64 = 10;
/// Maximum duration of the shutdown, so that a hanging database does not prevent the process from exiting.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Serves until SIGTERM or SIGINT. Then finishes requests in flight, writes pending data, and stops the
/// private PostgreSQL. A second signal stops without waiting. If the private PostgreSQL exits, it is
/// restarted; if restarts fail for some minutes, the server stops with that error.
pub async fn run(config: Config) -> anyhow::Result<()> {
    // A log file that reaches RLIMIT_FSIZE raises SIGXFSZ, whose default action ends the process. With a
    // handler, the write fails instead, and lines are dropped.
    let _file_too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    // Installed first, so that a signal during startup also causes an orderly shutdown.
    let mut signals = StopSignals::new()?;
    let database = tokio::select! {
        database = db::connect(&config, PrivateCluster::Own) => database?,
        () = signals.received() => return Ok(()),
    };
    let served = serve(&config, &database, &mut signals).await;
    let closed = database.close().await;
    served?;
    closed?;
    tracing::info!("stopped");
    Ok(())
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns at the next signal.
    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts everything, serves until a signal or an error, and stops everything in order.
async fn serve(
    config: &Config,
    database: &Database,
    signals: &mut StopSignals,
) -> anyhow::Result<()> {
    let (server, address, background) = start(config, database).await?;
    print_summary(config, database, address);
    if config.public_url.is_https() && config.trusted_proxies.is_empty() {
        tracing::warn!(
            "all visitors appear to have the IP address of the proxy and share its rate limits: set FRONTDESK_TRUSTED_PROXIES"
        );
    }
    if config.public_url.is_https() && database.cluster().is_some() {
        tracing::warn!("{PRIVATE_IN_PRODUCTION}");
    }
    let handle = server.handle();
    let mut server = tokio::spawn(server);
    let mut database_error = None;
    let is_serving = tokio::select! {
        ended = &mut server => { ended??; false }
        () = signals.received() => true,
        error = database.supervise() => { database_error = Some(error); true }
    };
    let stopping = async {
        if is_serving {
            stop_server(handle, &mut server).await;
        }
        background.stop(database).await;
    };
    let is_complete = tokio::select! {
        stopped = timeout(STOP_DEADLINE, stopping) => stopped.is_ok(),
        () = signals.received() => false,
    };
    if !is_complete {
        tracing::warn!("stopping immediately: requests in flight and pending writes are dropped");
    }
    database_error.map_or(Ok(()), |error| Err(error.into()))
}

async fn stop_server(handle: ServerHandle, server: &mut JoinHandle<io::Result<()>>) {
    tracing::info!("stopping: finishing requests in flight");
    handle.stop(true).await;
    if let Err(error) = server.await {
        tracing::error!(%error, "the server did not stop cleanly");
    }
}

/// The background jobs that run alongside the HTTP server.
struct Background {
    app: web::Data<App>,
    engine: Engine,
    delivery: Delivery,
    runner: JobRunner,
    metrics: JobRunner,
}

impl Background {
    /// The engine is stopped last, because it writes pending data of the other jobs.
    async fn stop(self, database: &Database) {
        self.metrics.stop().await;
        self.delivery.stop().await;
        self.runner.stop().await;
        let pool = database.new_pool(1);
        self.engine.stop(&pool).await;
        membership::stop(&self.app, &pool).await;
        pool.close().await;
    }
}

/// Checks the schema, listens, and starts the background jobs. The HTTP server runs once it is polled.
async fn start(
    config: &Config,
    database: &Database,
) -> anyhow::Result<(Server, SocketAddr, Background)> {
    if config.migrate {
        migrations::run(&database.pool).await?;
    }
    if let newer @ Schema::Newer { .. } = migrations::check(&database.pool).await?? {
        tracing::warn!("{newer}");
    }
    let secrets = config.secret_keys()?;
    let keys =
        secrets.as_slice().iter().map(|key| Key::derive_from(key.reveal().as_bytes())).collect();
    let app = web::Data::new(App::new(config.clone(), &secrets, database.pool.clone())?);
    let listener = TcpListener::bind(config.bind)
        .with_context(|| format!("cannot listen on {}", config.bind))?;
    let address = listener.local_addr()?;
    let listen = database.listen_options(config)?;
    let engine = Engine::start(&app.sessions, listen, config.purge_interval, &app.jobs);
    let server = http_server(app.clone(), keys, listener)?;
    let delivery = start_delivery(&app, database)?;
    let mut runner = start_jobs(&app, database);
    membership::start(&mut runner, app.clone().into_inner()).await;
    let metrics = metrics::start(app.clone())?;
    Ok((server, address, Background { app, engine, delivery, runner, metrics }))
}

fn start_jobs(app: &web::Data<App>, database: &Database) -> JobRunner {
    let mut runner = JobRunner::new(app.jobs.clone());
    let (pool, sealer) = (database.pool.clone(), app.sealer.clone());
    runner.run_every_or_notified(
        "pending_mail",
        pending_mail::POLL_INTERVAL,
        app.pending_mail.clone(),
        move || {
            let (pool, sealer) = (pool.clone(), sealer.clone());
            async move { pending_mail::run_once(&pool, &sealer).await }
        },
    );
    jobs::start(&mut runner, app.clone().into_inner());
    runner
}

/// Starts the mail delivery job, with a separate connection pool.
fn start_delivery(app: &App, database: &Database) -> anyhow::Result<Delivery> {
    let (settings, host) = (&app.config.mail, app.config.public_url.host());
    let mailer = mail::delivery::Mailer {
        pool: database.new_pool(2),
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
fn http_server(
    app: web::Data<App>,
    keys: Vec<Key>,
    listener: TcpListener,
) -> anyhow::Result<Server> {
    let public_url = &app.config.public_url;
    let https = public_url.is_https();
    let first_key = keys.first().cloned().context("at least one secret key is set")?;
    let flash = web::Data::new(Flash::new(https, first_key.clone()));
    let other_cookies =
        [flash.name(), known_device::cookie_name(https), registration_cookie::cookie_name(https)];
    let other_cookies = other_cookies.map(str::to_owned).to_vec();
    let cookie = web::Data::new(SessionCookie::new(https, keys, other_cookies));
    let proxies = web::Data::new(TrustedProxies(app.config.trusted_proxies.clone()));
    let sealer = web::Data::new(app.sealer.clone());
    let assets = web::Data::new(Assets::load()?);
    let tera = web::Data::new(page_templates(&assets, &app.config)?);
    let own_origin = web::Data::new(OwnOrigin(public_url.origin().origin().ascii_serialization()));
    let outer = web::Data::new(Outer { https, log_client_ip: app.config.log_client_ip });
    let workers = app.config.workers;
    let server = HttpServer::new(move || {
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
            .app_data(app.clone())
            .app_data(sealer.clone())
            .app_data(flash.clone())
            .app_data(cookie.clone())
            .app_data(assets.clone())
            .app_data(tera.clone())
            .app_data(own_origin.clone())
            .app_data(outer.clone())
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

/// The templates of pages, with the variables that all of them share.
fn page_templates(assets: &Assets, config: &Config) -> anyhow::Result<Tera> {
    let mut tera = templates::load()?;
    let globals = tera.global_context();
    globals.insert("site", &json!({ "name": config.site_name }));
    globals.insert("assets", assets.urls());
    Ok(tera)
}

/// Prints the URL of the site and the location of its data. On a separate thread, because standard output may
/// be a pipe that is not read.
fn print_summary(config: &Config, database: &Database, address: SocketAddr) {
    let url = if config.bind.port() == 0 {
        format!("http://{address}/")
    } else {
        config.public_url.origin().to_string()
    };
    let data = match database.cluster() {
        Some(cluster) => cluster.data_dir().display().to_string(),
        None => "in the database above".to_owned(),
    };
    let described = database.description();
    let text = format!("Site      {url}\nDatabase  {described}\nData      {data}\n");
    let write = move || {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
    };
    if let Err(error) = std::thread::Builder::new().name("summary".to_owned()).spawn(write) {
        tracing::warn!(%error, "the URL of the site could not be printed");
    }
}
