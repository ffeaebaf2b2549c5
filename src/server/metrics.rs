//! `GET /metrics` in Prometheus' text format, on a listener of its own (`FRONTDESK_METRICS_BIND`): figures are for
//! operators, not for visitors. Says nothing about anybody.

use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::{App as Site, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use crate::app::App;
use crate::background::{Loops, StopSignal};
use crate::log;
use crate::mail::outbox;
use crate::session::cache::invalidation::{self, CacheState};
use crate::user::rate_limit::{self, Action};

/// Starts to listen, if the setting is set.
pub fn begin(app: web::Data<App>) -> anyhow::Result<Loops> {
    let mut loops = Loops::new(app.jobs.clone());
    let Some(bind) = app.config.metrics_bind else {
        return Ok(loops);
    };
    let listener = TcpListener::bind(bind)
        .with_context(|| format!("the address {bind} for metrics cannot be listened on"))?;
    let listener = Arc::new(listener);
    loops.run("metrics", move |stop| {
        let (app, listener) = (app.clone(), Arc::clone(&listener));
        async move {
            if let Err(error) = serve(app, &listener, stop).await {
                tracing::error!(%error, "the server of the metrics failed");
            }
        }
    });
    Ok(loops)
}

/// Serves until the stop signal. The listener stays open when a server fails, for the next one.
async fn serve(
    app: web::Data<App>,
    listener: &TcpListener,
    mut stop: StopSignal,
) -> std::io::Result<()> {
    let server = HttpServer::new(move || {
        Site::new().app_data(app.clone()).route("/metrics", web::get().to(show))
    })
    .workers(1)
    .disable_signals()
    .listen(listener.try_clone()?)?
    .run();
    let handle = server.handle();
    let mut server = pin!(server);
    tokio::select! {
        ended = &mut server => ended,
        () = stop.received() => tokio::join!(handle.stop(false), server).1,
    }
}

async fn show(app: web::Data<App>) -> HttpResponse {
    let mut text = String::new();
    let (mail, queue) = tokio::join!(
        outbox::count_waiting(&app.pool),
        invalidation::notification_queue_usage(&app.pool)
    );
    let asked = Asked { mail_waiting: mail.ok(), notification_queue: queue.ok() };
    match encode(&mut text, &registry(&app, &asked)) {
        Ok(()) => HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// Figures that the database is asked for; `None` while it is away.
struct Asked {
    mail_waiting: Option<i64>,
    /// From 0 to 1.
    notification_queue: Option<f64>,
}

/// The figures as they are now; without those of the database while it is away.
fn registry(app: &App, asked: &Asked) -> Registry {
    let mut registry = Registry::with_prefix("frontdesk");
    let sessions = &app.sessions;
    let now = sessions.cache_state();
    let state = Family::<[(&str, &str); 1], Gauge>::default();
    for each in [CacheState::Off, CacheState::Disconnected, CacheState::Stale, CacheState::Live] {
        state.get_or_create(&[("state", each.as_str())]).set(i64::from(each == now));
    }
    registry.register(
        "session_cache_state",
        "1 for what the cache is: off, disconnected, doubtful, trusted; only trusted serves from memory",
        state,
    );
    let status = sessions.listener_status();
    registry.register(
        "session_cache_entries",
        "Sessions in memory, readable or not",
        ConstGauge::new(sessions.cached_count() as i64),
    );
    registry.register(
        "session_feed_connections",
        "Connections that the feed has made",
        ConstCounter::new(status.connections.load(Ordering::Relaxed)),
    );
    registry.register(
        "session_feed_notifications",
        "Notifications that the feed has processed",
        ConstCounter::new(status.notifications.load(Ordering::Relaxed)),
    );
    registry.register(
        "session_lookups",
        "Sessions that were asked of the database",
        ConstCounter::new(sessions.lookups().0),
    );
    registry.register(
        "session_lookup_statements",
        "Statements that it took",
        ConstCounter::new(sessions.lookups().1),
    );
    registry.register(
        "session_activities_waiting",
        "Sessions whose last activity is not yet written",
        ConstGauge::new(sessions.last_seen().pending_count() as i64),
    );
    let purged = sessions.purge_counters();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    for (name, help, counter) in [
        ("purge_deleted", "Expired sessions deleted by this server", &purged.rows),
        ("purge_runs", "Purges that came to their end", &purged.runs),
        ("purge_failures", "Purges that failed and will be tried again", &purged.failures),
    ] {
        registry.register(name, help, ConstCounter::new(count(counter)));
    }
    registry.register_with_unit(
        "purge_duration",
        "Time that the purges took",
        Unit::Seconds,
        ConstCounter::new(count(&purged.milliseconds) as f64 / 1000.0),
    );
    if let Some(usage) = asked.notification_queue {
        registry.register(
            "notification_queue_usage",
            "How full PostgreSQL's notification queue is, from 0 to 1; sessions are not served from memory when it is full",
            ConstGauge::new(usage),
        );
    }
    if let Some(waiting) = asked.mail_waiting {
        registry.register(
            "mail_waiting",
            "Mails that wait to be sent, by any server",
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
        "Mails that this server gave up",
        ConstCounter::new(app.mail_counters.failed()),
    );
    registry.register(
        "password_hashes",
        "Passwords that were compared or hashed",
        ConstCounter::new(app.hasher.runs()),
    );
    let throttled = Family::<[(&str, &str); 1], Counter>::default();
    for action in Action::ALL {
        throttled.get_or_create(&[("action", action.as_str())]).inc_by(rate_limit::refused(action));
    }
    registry.register("throttled", "Tries that were refused, by what was tried", throttled);
    let (running, restarts) = (
        Family::<[(&str, &str); 1], Gauge>::default(),
        Family::<[(&str, &str); 1], Counter>::default(),
    );
    for (name, job) in app.jobs.all() {
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
    registry.register_with_unit(
        "session_cache_trusted",
        "How long memory may still be believed without a word from PostgreSQL",
        Unit::Seconds,
        ConstGauge::new(sessions.lease_remaining().as_secs_f64()),
    );
    registry
}
