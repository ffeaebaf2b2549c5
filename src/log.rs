//! The log: events of `tracing`, written to standard error by a thread of its own. What it guarantees:
//!
//! - **A request never waits for the log.** A line is appended to a buffer of at most 2 MiB. Only the thread
//!   writes to the file descriptor, where a write may block forever (a pipe that is not read) or fail (its reader
//!   exited, the disk is full).
//! - **No line is lost silently.** A line that finds the buffer full, or whose write fails, is dropped and counted. The
//!   next write that succeeds says how many lines were dropped, and `/metrics` has the total.
//! - **A line is not held back.** The first line after a pause is written immediately. Lines that follow it within
//!   20 ms share a write, which is what makes a line cheap under load.
//! - **A panic is a log line** with its message and location. The buffer is flushed after a panic and at exit, for a
//!   bounded time.
//!
//! Neither this module nor anything else that runs in the server writes through `std::io::stderr()`: its lock is held as
//! long as a write blocks, and `eprintln!` panics when a write fails.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use crate::config::LogFormat;

/// Bytes that wait to be written: about 10,000 lines, so that none is dropped when the thread that writes has to wait for a
/// processor for 100 ms at 60,000 requests/s.
const CAPACITY: usize = 2 * 1024 * 1024;
/// Bytes that are written without waiting for the end of the pause.
const ENOUGH: usize = CAPACITY / 8;
/// The shortest time between two writes.
const PAUSE: Duration = Duration::from_millis(20);
/// How often the log is tried again when lines were dropped and no new line comes.
const RETRY: Duration = Duration::from_secs(1);
/// How long a thread that panicked waits for its line to be written.
const FLUSH_AFTER_PANIC: Duration = Duration::from_millis(100);
/// How long the end of the process waits for the last lines.
const FLUSH_AT_EXIT: Duration = Duration::from_secs(1);

static LOG: OnceLock<Arc<Buffer>> = OnceLock::new();

/// Starts the log of this process. `default` is the filter when `RUST_LOG` is not set.
pub fn start(format: LogFormat, default: &str) -> io::Result<()> {
    let stderr = io::stderr();
    let output = File::from(stderr.as_fd().try_clone_to_owned()?);
    let buffer = Arc::new(Buffer::default());
    let writer = Arc::clone(&buffer);
    thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_to(output, format))?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Arc::clone(&buffer))
        .with_ansi(stderr.is_terminal())
        // They would be reported with `eprintln!`.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => log.init(),
        // The list would only repeat the current span.
        LogFormat::Json => log.json().with_span_list(false).init(),
    }
    LOG.get_or_init(|| buffer);
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Lines that were dropped since the start.
pub fn lines_dropped() -> u64 {
    LOG.get().map_or(0, |log| log.lock().dropped)
}

/// Adds a line that is not an event: the error that ends the server.
pub fn print(text: &str) {
    if let Some(log) = LOG.get() {
        log.append(format!("{text}\n").as_bytes());
    }
}

/// Waits until everything logged so far is written, for at most a second.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.flush(FLUSH_AT_EXIT);
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let reason = panic.payload_as_str().unwrap_or("(no message)");
    let location = panic.location().map(ToString::to_string);
    // Captured if RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let thread = thread::current();
    tracing::error!(reason, location, thread = thread.name(), backtrace, "panicked");
    if let Some(log) = LOG.get() {
        log.flush(FLUSH_AFTER_PANIC);
    }
}

/// Lines that are not yet written.
#[derive(Default)]
struct Buffer {
    state: Mutex<State>,
    /// Wakes the thread that writes.
    wake: Condvar,
    /// A write has ended.
    settled: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// Bytes that were ever appended, and of those the ones that were written or whose write failed.
    appended: u64,
    settled: u64,
    /// The thread that writes waits for a first line.
    is_idle: bool,
    /// A thread waits in [`Buffer::flush`].
    is_urgent: bool,
    /// When the write that is under way began.
    write_began: Option<Instant>,
    /// Lines dropped since the start, and of those the ones that the log does not mention yet.
    dropped: u64,
    unreported: u64,
}

impl State {
    fn drop_lines(&mut self, count: u64) {
        self.dropped += count;
        self.unreported += count;
    }
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent after every statement that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, line: &[u8]) {
        let mut state = self.lock();
        let before = state.lines.len();
        if before + line.len() > CAPACITY {
            state.drop_lines(1);
            return;
        }
        state.lines.extend_from_slice(line);
        state.appended += line.len() as u64;
        let is_enough = before < ENOUGH && state.lines.len() >= ENOUGH;
        let wakes = std::mem::take(&mut state.is_idle) || is_enough;
        drop(state);
        if wakes {
            self.wake.notify_one();
        }
    }

    /// Waits until the lines appended so far are written or their write failed, for `deadline` at most. Does not wait if the
    /// current write is already older than that.
    fn flush(&self, deadline: Duration) {
        let mut state = self.lock();
        if state.write_began.is_some_and(|began| began.elapsed() >= deadline) {
            return;
        }
        let appended = state.appended;
        state.is_urgent = true;
        self.wake.notify_one();
        drop(self.settled.wait_timeout_while(state, deadline, |state| state.settled < appended));
    }

    /// The thread: writes what comes to `output`, for as long as the process lives.
    fn write_to(&self, mut output: impl Write, format: LogFormat) {
        let mut chunk = Vec::new();
        let mut is_torn = false;
        loop {
            let unreported = self.take(&mut chunk);
            self.write(&mut output, &mut chunk, &mut is_torn, unreported, format);
        }
    }

    /// Takes all lines, as soon as there are some; returns how many dropped lines to report.
    fn take(&self, chunk: &mut Vec<u8>) -> u64 {
        let pauses = |state: &mut State| state.lines.len() < ENOUGH && !state.is_urgent;
        let idles = |state: &mut State| state.lines.is_empty() && !state.is_urgent;
        let mut state = self.lock();
        (state, _) = self
            .wake
            .wait_timeout_while(state, PAUSE, pauses)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_idle = true;
        if state.unreported == 0 {
            state = self.wake.wait_while(state, idles).unwrap_or_else(PoisonError::into_inner);
        } else {
            (state, _) = self
                .wake
                .wait_timeout_while(state, RETRY, idles)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.is_idle = false;
        state.is_urgent = false;
        state.write_began = Some(Instant::now());
        chunk.clear();
        // Release the memory of a burst.
        chunk.shrink_to(ENOUGH);
        std::mem::swap(chunk, &mut state.lines);
        state.unreported
    }

    /// One write. `is_torn`: the last one ended inside a line.
    fn write(
        &self,
        output: &mut impl Write,
        chunk: &mut Vec<u8>,
        is_torn: &mut bool,
        unreported: u64,
        format: LogFormat,
    ) {
        let lines = chunk.len();
        if unreported > 0 {
            chunk.extend_from_slice(notice(unreported, format).as_bytes());
        }
        if *is_torn && write(output, b"\n") == 1 {
            *is_torn = false;
        }
        let written = if *is_torn { 0 } else { write(output, chunk) };
        if let Some(last) = written.checked_sub(1) {
            *is_torn = chunk[last] != b'\n';
        }
        let lost = chunk[written.min(lines)..lines].iter().filter(|byte| **byte == b'\n').count();

        let mut state = self.lock();
        if written == chunk.len() {
            state.unreported -= unreported;
        }
        state.drop_lines(lost as u64);
        state.settled += lines as u64;
        state.write_began = None;
        drop(state);
        self.settled.notify_all();
    }
}

/// A line of `tracing`, which writes each with one call.
impl Write for &Buffer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes `bytes`; returns how many were written before the first error.
fn write(output: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match output.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another process that shares the pipe may have made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(_) => break,
        }
    }
    written
}

/// The line that reports dropped lines. Not an event, because a filter must not suppress it, and because it has to be part
/// of the write that shows whether the log can be written again.
fn notice(dropped: u64, format: LogFormat) -> String {
    let mut time = String::new();
    SystemTime.format_time(&mut Writer::new(&mut time)).ok();
    let were = if dropped == 1 { "line was" } else { "lines were" };
    let message = format!("{dropped} log {were} dropped because the log could not be written");
    let target = module_path!();
    match format {
        LogFormat::Text => format!("{time}  WARN {target}: {message}\n"),
        LogFormat::Json => {
            let fields = json!({ "message": message, "lines": dropped });
            let line =
                json!({ "timestamp": time, "level": "WARN", "fields": fields, "target": target });
            format!("{line}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Takes `room` bytes, then fails like a full disk.
    struct Disk {
        holds: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.holds.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn write_once(buffer: &Buffer, disk: &mut Disk, is_torn: &mut bool) {
        let mut chunk = Vec::new();
        let unreported = buffer.take(&mut chunk);
        buffer.write(disk, &mut chunk, is_torn, unreported, LogFormat::Text);
    }

    #[test]
    fn lines_that_a_full_disk_does_not_take_are_counted_and_reported_when_it_has_room() {
        let buffer = Buffer::default();
        let mut disk = Disk { holds: Vec::new(), room: 10 };
        let mut is_torn = false;
        buffer.append(b"first\nsecond\nthird\n");
        write_once(&buffer, &mut disk, &mut is_torn);
        assert_eq!(disk.holds, b"first\nseco");
        buffer.append(b"fourth\n");
        write_once(&buffer, &mut disk, &mut is_torn);
        assert_eq!(buffer.lock().dropped, 3);
        // Too little for the report: it has to come again.
        disk.room = 10;
        buffer.append(b"fifth\n");
        write_once(&buffer, &mut disk, &mut is_torn);
        disk.room = 1_000;
        write_once(&buffer, &mut disk, &mut is_torn);
        assert_eq!(buffer.lock().unreported, 0);
        let text = String::from_utf8(disk.holds).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(&lines[..3], ["first", "seco", "fifth"], "{text}");
        let report = "WARN frontdesk::log: 3 log lines were dropped";
        assert_eq!(lines.iter().filter(|line| line.contains(report)).count(), 1, "{text}");
        assert!(text.ends_with("could not be written\n"), "{text}");
    }

    /// Blocks in every write until a message comes.
    struct Pipe(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().ok();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_write_that_blocks_blocks_no_line_and_every_line_is_written_or_counted() {
        let buffer = Arc::new(Buffer::default());
        let (go_on, stuck) = channel();
        let read = Arc::new(Mutex::new(Vec::new()));
        let (writer, pipe) = (Arc::clone(&buffer), Pipe(stuck, Arc::clone(&read)));
        thread::spawn(move || writer.write_to(pipe, LogFormat::Json));
        let line = [b'x'; 99];
        let lines = 3 * CAPACITY / 100;
        for _ in 0..lines {
            buffer.append(&[&line[..], b"\n"].concat());
        }
        buffer.flush(Duration::from_millis(1));
        let dropped = buffer.lock().dropped;
        assert!(dropped > 0 && buffer.lock().lines.len() <= CAPACITY, "{dropped}");
        drop(go_on);
        buffer.flush(Duration::from_secs(30));
        let read = String::from_utf8(read.lock().unwrap().clone()).unwrap();
        assert_eq!(read.matches('x').count() / 99, lines - dropped as usize);
        let notices: Vec<serde_json::Value> =
            read.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let reported: u64 = notices.iter().filter_map(|it| it["fields"]["lines"].as_u64()).sum();
        assert_eq!(reported, dropped);
        assert!(notices.iter().all(|it| it["level"] == "WARN"));
    }
}
