//! `GET /metrics` in the OpenMetrics text format, on a separate listener (`FRONTDESK_METRICS_BIND`), because
//! metrics must not be public. Contains no personal data.

mod job_runs;

use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App as Site, HttpResponse, web};
use anyhow::Context as _;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use tokio_util::sync::CancellationToken;

use super::listen::{Listeners, ServerOptions};
use crate::app::App;
use crate::background::{JobRunner, Jobs};
use crate::db;
use crate::log;
use crate::mail::outbox;
use crate::session::cache::invalidation::{self, CacheState};
use crate::session::{PgSessionStore, purge};
use crate::user::rate_limit::{self, Action};
use crate::web::connection::{self, OpenConnections};
pub use job_runs::JobMetrics;

/// Few programs read metrics.
const MAX_CONNECTIONS: usize = 64;

/// Starts the metrics server if `FRONTDESK_METRICS_BIND` is set.
pub fn start(app: web::Data<App>, site_jobs: Option<JobMetrics>) -> anyhow::Result<JobRunner> {
    let mut runner = JobRunner::new(app.jobs.clone());
    let Some(bind) = app.config.metrics_bind else {
        return Ok(runner);
    };
    let listener =
        TcpListener::bind(bind).with_context(|| format!("cannot listen on {bind} for metrics"))?;
    let listener = Arc::new(listener);
    runner.run("metrics", move |stop| {
        let (app, listener) = (app.clone(), Arc::clone(&listener));
        let site_jobs = web::Data::new(site_jobs.clone());
        async move {
            if let Err(error) = serve((app, site_jobs), &listener, stop).await {
                tracing::error!(%error, "the metrics server failed");
            }
        }
    });
    Ok(runner)
}

/// Serves until the stop signal. The listener stays open when the server fails, so that a restarted job can
/// use it.
async fn serve(
    (app, site_jobs): (web::Data<App>, web::Data<Option<JobMetrics>>),
    listener: &TcpListener,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let options = ServerOptions {
        workers: 1,
        keep_alive: app.config.keep_alive,
        stop_deadline: Duration::from_secs(1),
        open: OpenConnections::with_capacity(MAX_CONNECTIONS),
    };
    let listeners = Listeners::of(listener.try_clone()?);
    let server = listeners.serve(&options, move || {
        Site::new()
            .app_data(app.clone())
            .app_data(site_jobs.clone())
            .wrap(from_fn(connection::track))
            .route("/metrics", web::get().to(show))
    })?;
    let handle = server.handle();
    let mut server = pin!(server);
    tokio::select! {
        ended = &mut server => ended,
        () = stop.cancelled() => tokio::join!(handle.stop(false), server).1,
    }
}

async fn show(app: web::Data<App>, site_jobs: web::Data<Option<JobMetrics>>) -> HttpResponse {
    let mut text = String::new();
    let (mail, queue) = tokio::join!(
        outbox::count_waiting(&app.pool),
        invalidation::notification_queue_usage(db::on(&app.pool))
    );
    let queried = QueriedMetrics { mail_waiting: mail.ok(), notification_queue_usage: queue.ok() };
    let mut registry = registry(&app, &queried);
    if let Some(jobs) = &**site_jobs {
        jobs.register(&mut registry);
    }
    match encode(&mut text, &registry) {
        Ok(()) => HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

type Label = [(&'static str, &'static str); 1];

/// Metrics that are queried from the database; `None` while it is unavailable.
struct QueriedMetrics {
    mail_waiting: Option<i64>,
    /// From 0 to 1.
    notification_queue_usage: Option<f64>,
}

/// All metrics, with their current values.
fn registry(app: &App, queried: &QueriedMetrics) -> Registry {
    let mut registry = Registry::with_prefix("frontdesk");
    register_sessions(&mut registry, &app.sessions);
    register_purge(&mut registry, app.sessions.purge_counters());
    if let Some(usage) = queried.notification_queue_usage {
        registry.register(
            "notification_queue_usage",
            "How full PostgreSQL's notification queue is, from 0 to 1; sessions are not served from the cache when it is full",
            ConstGauge::new(usage),
        );
    }
    register_mail(&mut registry, app, queried.mail_waiting);
    registry.register(
        "password_hashes",
        "Passwords that were verified or hashed",
        ConstCounter::new(app.hasher.runs()),
    );
    let rate_limited = Family::<Label, Counter>::default();
    for action in Action::ALL {
        rate_limited
            .get_or_create(&[("action", action.as_str())])
            .inc_by(rate_limit::refused(action));
    }
    registry.register("throttled", "Attempts that were refused, by action", rate_limited);
    register_jobs(&mut registry, &app.jobs);
    registry.register(
        "log_lines_dropped",
        "Log lines that could not be written",
        ConstCounter::new(log::lines_dropped()),
    );
    registry.register(
        "database_connections",
        "Connections of the pool",
        ConstGauge::new(i64::from(app.pool.size())),
    );
    registry
}

fn register_sessions(registry: &mut Registry, sessions: &PgSessionStore) {
    let now = sessions.cache_state();
    let state = Family::<Label, Gauge>::default();
    for each in [CacheState::Off, CacheState::Disconnected, CacheState::Stale, CacheState::Live] {
        state.get_or_create(&[("state", each.as_str())]).set(i64::from(each == now));
    }
    registry.register(
        "session_cache_state",
        "1 for the state of the cache: off, disconnected, doubtful, trusted; only in trusted are sessions served from the cache",
        state,
    );
    registry.register_with_unit(
        "session_cache_trusted",
        "How long the cache stays trusted without another message from PostgreSQL",
        Unit::Seconds,
        ConstGauge::new(sessions.lease_remaining().as_secs_f64()),
    );
    registry.register(
        "session_cache_entries",
        "Cached sessions, valid or not",
        ConstGauge::new(sessions.cached_count() as i64),
    );
    let status = sessions.listener_status();
    registry.register(
        "session_feed_connections",
        "Connections that were opened to listen for notifications",
        ConstCounter::new(status.connections.load(Ordering::Relaxed)),
    );
    registry.register(
        "session_feed_notifications",
        "Notifications that were processed",
        ConstCounter::new(status.notifications.load(Ordering::Relaxed)),
    );
    registry.register(
        "watched_sessions",
        "Connections, such as event streams, that end with their session",
        ConstGauge::new(sessions.watched_count() as i64),
    );
    registry.register(
        "session_lookups",
        "Sessions that were looked up in the database",
        ConstCounter::new(sessions.lookups().0),
    );
    registry.register(
        "session_lookup_statements",
        "Statements of these lookups",
        ConstCounter::new(sessions.lookups().1),
    );
    registry.register(
        "session_activities_waiting",
        "Sessions whose last activity is not yet written",
        ConstGauge::new(sessions.last_seen().pending_count() as i64),
    );
}

fn register_purge(registry: &mut Registry, purged: &purge::Counters) {
    for (name, help, counter) in [
        ("purge_deleted", "Expired sessions deleted by this server", &purged.rows),
        ("purge_runs", "Purges that were completed", &purged.runs),
        ("purge_failures", "Purges that failed and will be retried", &purged.failures),
    ] {
        registry.register(name, help, ConstCounter::new(counter.load(Ordering::Relaxed)));
    }
    registry.register_with_unit(
        "purge_duration",
        "Total duration of the purges",
        Unit::Seconds,
        ConstCounter::new(purged.milliseconds.load(Ordering::Relaxed) as f64 / 1000.0),
    );
}

fn register_mail(registry: &mut Registry, app: &App, waiting: Option<i64>) {
    if let Some(waiting) = waiting {
        registry.register(
            "mail_waiting",
            "Mails waiting to be sent, on all servers",
            ConstGauge::new(waiting),
        );
    }
    registry.register(
        "mail_sent",
        "Mails that this server sent",
        ConstCounter::new(app.mail_counters.sent()),
    );
    registry.register(
        "mail_failed",
        "Mails that failed permanently on this server",
        ConstCounter::new(app.mail_counters.failed()),
    );
}

fn register_jobs(registry: &mut Registry, jobs: &Jobs) {
    let running = Family::<Label, Gauge>::default();
    let restarts = Family::<Label, Counter>::default();
    for (name, job) in jobs.all() {
        running.get_or_create(&[("job", name)]).set(i64::from(job.is_running));
        restarts.get_or_create(&[("job", name)]).inc_by(job.restarts);
    }
    registry.register(
        "background_job_running",
        "1 while a background job runs, 0 while it waits to be restarted",
        running,
    );
    registry.register(
        "background_job_restarts",
        "Restarts of background jobs that panicked or ended",
        restarts,
    );
}
