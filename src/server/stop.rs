//! The signals that stop the server, and the steps in which it stops accepting requests.

use std::fs;
use std::io;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::listen::Listeners;
use super::systemd;
#[cfg(feature = "testing")]
use crate::config;
use crate::web::connection::OpenConnections;

/// A connection without a request for this long is closed after the drain. A connection that
/// was idle for less may be waiting for a request: a proxy that is told to close a connection opens another for
/// its next request.
const MIN_IDLE: Duration = Duration::from_secs(1);
/// How long the stop waits for connections without a request to close.
const IDLE_DEADLINE: Duration = Duration::from_secs(2);
const IDLE_POLL: Duration = Duration::from_millis(10);

/// SIGTERM, SIGHUP and SIGINT.
pub(super) struct StopSignals {
    terminate: Signal,
    /// `None`: SIGHUP is ignored, because the process was started with `nohup`.
    hangup: Option<Signal>,
    interrupt: Signal,
}

/// How to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// After `FRONTDESK_DRAIN`.
    Drain,
    /// Without a pause, because a person waits at a terminal.
    Immediately,
}

impl StopSignals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hangup: if is_hangup_ignored() { None } else { Some(signal(SignalKind::hangup())?) },
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns at the next signal.
    pub(super) async fn received(&mut self) -> Stop {
        tokio::select! {
            _ = self.terminate.recv() => Stop::Drain,
            _ = next(&mut self.hangup) => Stop::Drain,
            _ = self.interrupt.recv() => Stop::Immediately,
        }
    }
}

/// Never returns without a signal to wait for.
async fn next(signal: &mut Option<Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Ends this process when the process of the tests that started it has ended, by `kill -9` too.
#[cfg(feature = "testing")]
pub(super) fn end_with_input() {
    if config::ends_with_input() {
        std::thread::spawn(|| {
            io::copy(&mut io::stdin(), &mut io::sink()).ok();
            std::process::exit(1);
        });
    }
}

/// Whether this process was started with SIGHUP ignored. A handler would replace that.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The lowest bit is signal 1, SIGHUP.
    mask.is_some_and(|mask| mask & 1 == 1)
}

/// The running HTTP server.
pub(super) struct RunningSite {
    pub(super) handle: ServerHandle,
    pub(super) task: JoinHandle<io::Result<()>>,
    pub(super) listeners: Listeners,
}

/// `/readyz` turns 503 and every response closes its connection. Returns after `pause`, in which load balancers
/// notice that, or at the next signal.
pub(super) async fn drain(open: &OpenConnections, pause: Duration, signals: &mut StopSignals) {
    open.drain();
    systemd::notify_stopping();
    if pause.is_zero() {
        return;
    }
    tracing::info!(
        seconds = pause.as_secs(),
        "stopping: waiting for load balancers (FRONTDESK_DRAIN)"
    );
    tokio::select! {
        () = sleep(pause) => {}
        _ = signals.received() => {}
    }
}

/// Refuses new connections, closes those without a request, and finishes requests in flight.
pub(super) async fn stop_accepting(
    server: RunningSite,
    open: &OpenConnections,
    drained_for: Duration,
) {
    tracing::info!("stopping: finishing requests in flight");
    server.listeners.close().await;
    let deadline = Instant::now() + IDLE_DEADLINE;
    while open.close_idle(MIN_IDLE.min(drained_for)) > 0 && Instant::now() < deadline {
        sleep(IDLE_POLL).await;
    }
    server.handle.stop(true).await;
    match server.task.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the server did not stop cleanly"),
        Err(error) => tracing::error!(%error, "the server did not stop cleanly"),
    }
}
