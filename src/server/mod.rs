//! The server: starts and stops the site and the background jobs in order.

pub mod jobs;
pub mod listen;
mod membership;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "no_metrics.rs"]
pub mod metrics;
pub mod routes;
mod site;
mod site_jobs;
mod startup;
mod stop;
mod systemd;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::app::App;
use crate::background::JobRunner;
use crate::config::{BindAddress, Config};
use crate::db::foreign_keys::ForeignKey;
use crate::db::migrations::Schema;
use crate::db::{self, Database, PRIVATE_IN_PRODUCTION, PrivateCluster};
use crate::mail::{self, Delivery};
use crate::session::Engine;
use crate::site::{Schemas, Site, installation};
use crate::user::sign_up::pending_mail;
use crate::web::connection::OpenConnections;
use listen::{Listeners, ServerOptions};
use metrics::JobMetrics;
pub use site::PageData;
use stop::{RunningSite, Stop, StopSignals};

/// How long requests in flight may run after the site has stopped accepting connections.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// Maximum duration of the shutdown, so that a hanging database does not prevent the process from exiting.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Serves until SIGTERM, SIGHUP or SIGINT. Then finishes requests in flight, writes pending data, and stops the
/// private PostgreSQL. A second signal ends the drain; the next one stops without waiting. If the private
/// PostgreSQL exits, it is restarted; if restarts fail for some minutes, the server stops with that error.
pub async fn run(config: Config, website: Arc<Site>) -> anyhow::Result<()> {
    // A log file that reaches RLIMIT_FSIZE raises SIGXFSZ, whose default action ends the process. With a
    // handler, the write fails instead, and lines are dropped.
    let _file_too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    #[cfg(feature = "testing")]
    stop::end_with_input();
    // Installed first, so that a signal during startup also causes an orderly shutdown.
    let mut signals = StopSignals::new()?;
    // Before the first connection, which sends the password.
    for (setting, host) in config.unverified_databases() {
        tracing::warn!("{}", db::unverified(setting, host));
    }
    let database = tokio::select! {
        database = db::connect(&config, PrivateCluster::Own) => database?,
        _ = signals.received() => return Ok(()),
    };
    let served = serve(&config, &database, &website, &mut signals).await;
    let closed = database.close().await;
    served?;
    closed?;
    tracing::info!("stopped");
    Ok(())
}

/// Starts everything, serves until a signal or an error, and stops everything in order.
async fn serve(
    config: &Config,
    database: &Database,
    website: &Arc<Site>,
    signals: &mut StopSignals,
) -> anyhow::Result<()> {
    let (mut server, open, background) = tokio::select! {
        started = start(config, database, website) => started?,
        _ = signals.received() => return Ok(()),
    };
    print_summary(config, database, server.listeners.address());
    warn_about_settings(config, database);
    systemd::notify_ready();
    let mut database_error = None;
    let stop = tokio::select! {
        ended = &mut server.task => { ended??; None }
        stop = signals.received() => Some(stop),
        error = database.supervise() => { database_error = Some(error); Some(Stop::Immediately) }
    };
    let pause = if stop == Some(Stop::Drain) { config.drain } else { Duration::ZERO };
    let sessions = &background.app.sessions;
    // Browsers connect again, to another server once load balancers have noticed.
    sessions.end_watched(false);
    stop::drain(&open, pause, signals).await;
    sessions.end_watched(true);
    let stopping = async {
        if stop.is_some() {
            stop::stop_accepting(server, &open, pause).await;
        }
        background.stop(database).await;
    };
    let is_complete = tokio::select! {
        stopped = timeout(STOP_DEADLINE, stopping) => stopped.is_ok(),
        _ = signals.received() => false,
    };
    if !is_complete {
        tracing::warn!("stopping immediately: requests in flight and pending writes are dropped");
    }
    database_error.map_or(Ok(()), |error| Err(error.into()))
}

/// Warns about settings that are valid and hardly intended for a public site. `doctor` has the same warnings.
fn warn_about_settings(config: &Config, database: &Database) {
    if config.public_url.is_https() && config.trusted_proxies.is_empty() {
        tracing::warn!(
            "all visitors appear to have the IP address of the proxy and share its rate limits: set FRONTDESK_TRUSTED_PROXIES"
        );
    }
    if config.public_url.is_https() && database.cluster().is_some() {
        tracing::warn!("{PRIVATE_IN_PRODUCTION}");
    }
}

/// Warns about foreign keys that prevent or slow down deletions. `doctor` has the same warnings.
async fn warn_about_foreign_keys(schemas: &Schemas) {
    match schemas.foreign_keys().await {
        Ok(keys) => {
            for warning in keys.iter().flat_map(ForeignKey::warnings) {
                tracing::warn!("{warning}");
            }
        }
        Err(error) => db::log_failure("foreign keys could not be checked", &error.into()),
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

/// Listens, applies migrations, and starts the site and the background jobs.
async fn start(
    config: &Config,
    database: &Database,
    website: &Arc<Site>,
) -> anyhow::Result<(RunningSite, Arc<OpenConnections>, Background)> {
    let listeners = Listeners::open(config)?;
    let pages = site::PageData::new(config, website)?;
    let mail_templates = pages.mails.clone();
    let schemas = Schemas::new(config, database, website)?;
    schemas.require_search_paths().await?;
    if config.migrate {
        startup::migrate(&schemas, &listeners, &pages).await?;
    }
    if let newer @ Schema::Newer { .. } = schemas.check().await?? {
        tracing::warn!("{newer}");
    }
    installation::record(&database.pool, &config.site_name, &website.hook_names()).await??;
    warn_about_foreign_keys(&schemas).await;
    let secrets = config.secret_keys()?;
    let (pool, look) = (database.pool.clone(), pages.look.clone());
    let of_site = (&website.hooks, &website.templates());
    let app = App::new(config.clone(), &secrets, pool, mail_templates, look, of_site)?;
    let app = web::Data::new(app);
    let listen = database.listen_options(config)?;
    let engine = Engine::start(&app.sessions, listen, config.purge_interval, &app.jobs);
    // For connections to the database, for the workers, for metrics and for files.
    let reserved = u64::from(config.pool_size) + 4 * config.workers as u64 + 16;
    let open = OpenConnections::within_descriptor_limit(reserved);
    let options = ServerOptions {
        workers: config.workers,
        keep_alive: config.keep_alive,
        stop_deadline: REQUEST_DEADLINE,
        open: Arc::clone(&open),
    };
    let website_parts = (Arc::clone(website), web::Data::new(schemas));
    let server = site::serve(app.clone(), &secrets, pages, &listeners, &options, website_parts)?;
    let delivery = start_delivery(&app, database)?;
    let mut runner = start_jobs(&app, database);
    let job_metrics = JobMetrics::of(website);
    if let Some(metrics) = &job_metrics {
        site_jobs::start(
            &mut runner,
            website,
            (&database.new_site_job_pool(config), &app.mailer),
            metrics,
        );
    }
    app.hooks.start_delivery(
        &mut runner,
        |size| database.new_pool(size),
        || database.new_site_hook_pool(config),
    );
    membership::start(&mut runner, app.clone().into_inner()).await;
    let metrics = metrics::start(app.clone(), job_metrics)?;
    let handle = server.handle();
    let server = RunningSite { handle, task: tokio::spawn(server), listeners };
    Ok((server, open, Background { app, engine, delivery, runner, metrics }))
}

fn start_jobs(app: &web::Data<App>, database: &Database) -> JobRunner {
    let mut runner = JobRunner::new(app.jobs.clone());
    let (interval, wake) = (pending_mail::POLL_INTERVAL, &app.pending_mail);
    let (pool, sealer) = (database.pool.clone(), app.sealer.clone());
    let registrations = move || pending_mail::send_for_registrations(pool.clone(), sealer.clone());
    let notify = Arc::clone(&wake.registrations);
    runner.run_every_or_notified("registration_mail", interval, notify, registrations);
    let (pool, sealer) = (database.pool.clone(), app.sealer.clone());
    let requests = move || pending_mail::process_reset_requests(pool.clone(), sealer.clone());
    let notify = Arc::clone(&wake.recovery_requests);
    runner.run_every_or_notified("recovery_mail", interval, notify, requests);
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
        preferred_transports: settings
            .transport
            .preferred_transports()
            .iter()
            .map(ToString::to_string)
            .collect(),
        sender: mail::Sender {
            from: settings.from.clone(),
            reply_to: settings.reply_to.clone(),
            host: host.to_owned(),
        },
        counters: app.mail_counters.clone(),
    };
    Ok(Delivery::start(mailer, &app.jobs))
}

/// Prints the URL of the site and the location of its data. On a separate thread, because standard output may
/// be a pipe that is not read.
fn print_summary(config: &Config, database: &Database, address: Option<SocketAddr>) {
    let is_free_port =
        matches!(config.bind.first(), Some(BindAddress::Tcp(address)) if address.port() == 0);
    let url = match address {
        Some(address) if is_free_port => format!("http://{address}/"),
        _ => config.public_url.origin().to_string(),
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
