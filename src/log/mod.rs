//! Writes the events of `tracing` to standard error, in a separate thread. Guarantees:
//!
//! - **A request never waits for the log.** A line is appended to a buffer of at most 2 MiB. Only the log
//!   thread writes to the file descriptor, because a write may block forever (a pipe that is not read) or
//!   fail (its reader exited, the disk is full).
//! - **No line is lost silently.** If the buffer is full or a write fails, lines are dropped and counted. The
//!   next successful write reports how many lines were dropped, and `/metrics` has the total.
//! - **Lines are not delayed.** The first line after a pause is written immediately. Lines that follow it
//!   within 20 ms share one write, which reduces the cost of a line under load.
//! - **Every line of a request has its id**, and the client's IP address if `FRONTDESK_LOG_CLIENT_IP` is on.
//!   They are kept in a task-local variable ([`in_request`]), because a span costs more than the line.
//! - **Clients cannot fill the log.** What any client can cause with every request is logged below `INFO`
//!   or limited to ten lines a minute ([`WarningLimit`]), except the line that each request has. See
//!   `QUIET_LIBRARIES`.
//! - **A panic is a log line** with its message and location. The buffer is flushed after a panic and at
//!   exit, for a bounded time.
//!
//! The server never writes through `std::io::stderr()`: its lock is held as long as a write blocks, and
//! `eprintln!` panics if a write fails.

mod buffer;
mod format;
mod limit;
mod request;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{DefaultFields, JsonFields};
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::LogFormat;
use buffer::Buffer;
use format::{JsonLine, TextLine};
pub use limit::WarningLimit;
pub use request::{LoggedRequest, in_request, spawn, spawn_local};

/// How long a thread that panicked waits until its log line is written.
const PANIC_FLUSH_TIMEOUT: Duration = Duration::from_millis(100);
/// How long the process waits at exit until the last lines are written.
const EXIT_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// These libraries log warnings and errors that any client can cause without limit: a session cookie that
/// cannot be opened, an invalid request. To see them, name their targets in `RUST_LOG`.
const QUIET_LIBRARIES: &str = "actix_session=off,actix_http::h1=off";

static LOG: OnceLock<Arc<Buffer>> = OnceLock::new();

/// Starts the log of this process. `default` is the filter if `RUST_LOG` is not set. Also logs panics.
pub fn start(format: LogFormat, default: &str) -> io::Result<()> {
    let stderr = io::stderr();
    let output = File::from(stderr.as_fd().try_clone_to_owned()?);
    let buffer = Arc::new(Buffer::default());
    let writer = Arc::clone(&buffer);
    thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(output, format))?;
    let filter = filter(default);
    // Frontdesk's own spans have the level DEBUG.
    let has_span_list = filter.max_level_hint().is_none_or(|level| level >= LevelFilter::DEBUG);
    let log = fmt()
        .with_env_filter(filter)
        .with_writer(Arc::clone(&buffer))
        .with_ansi(stderr.is_terminal())
        // tracing-subscriber would report them with `eprintln!`.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => log.fmt_fields(DefaultFields::new()).event_format(TextLine).init(),
        LogFormat::Json => {
            log.fmt_fields(JsonFields::new()).event_format(JsonLine { has_span_list }).init()
        }
    }
    LOG.get_or_init(|| buffer);
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// The filter in `RUST_LOG`, or else `default`. Of two directives with the same target the last one applies.
fn filter(default: &str) -> EnvFilter {
    let chosen = EnvFilter::try_from_default_env();
    let chosen = chosen.map_or_else(|_| default.to_owned(), |filter| filter.to_string());
    EnvFilter::try_new(format!("{QUIET_LIBRARIES},{chosen}"))
        .unwrap_or_else(|_| EnvFilter::new(default))
}

/// The number of lines dropped since the start of the process.
pub fn lines_dropped() -> u64 {
    LOG.get().map_or(0, |log| log.dropped())
}

/// Writes a line that is not a tracing event. Used for the error with which the server exits.
pub fn print(text: &str) {
    if let Some(log) = LOG.get() {
        log.append(format!("{text}\n").as_bytes());
    }
}

/// Waits until everything logged so far is written, for one second at most.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.flush(EXIT_FLUSH_TIMEOUT);
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let reason = panic.payload_as_str().unwrap_or("(no message)");
    let location = panic.location().map(ToString::to_string);
    // Captured only if RUST_BACKTRACE is set.
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let thread = thread::current();
    tracing::error!(reason, location, thread = thread.name(), backtrace, "panicked");
    if let Some(log) = LOG.get() {
        log.flush(PANIC_FLUSH_TIMEOUT);
    }
}
