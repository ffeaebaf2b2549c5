//! The bounded buffer of log lines, and the thread that writes them.

use std::io::{self, ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::format;
use crate::config::LogFormat;

/// Maximum number of buffered bytes: about 10,000 lines. Enough to lose no line if the log thread gets no CPU
/// time for 100 ms at 60,000 requests/s.
const CAPACITY: usize = 2 * 1024 * 1024;
/// Number of buffered bytes that are written without waiting for [`MIN_INTERVAL`].
const FLUSH_THRESHOLD: usize = CAPACITY / 8;
/// Minimum time between two writes.
const MIN_INTERVAL: Duration = Duration::from_millis(20);
/// How often a write is retried if lines were dropped and no new line arrives.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The lines that are not yet written.
#[derive(Default)]
pub(super) struct Buffer {
    state: Mutex<State>,
    /// Wakes the log thread.
    wake: Condvar,
    /// Signaled after each write.
    write_ended: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// The number of bytes appended since the start.
    appended: u64,
    /// How many of them were written, or dropped because their write failed.
    processed: u64,
    /// The log thread waits for the first line.
    is_idle: bool,
    /// A thread waits in [`Buffer::flush`].
    is_flush_requested: bool,
    /// When the current write started; `None` between writes.
    write_started: Option<Instant>,
    /// The number of lines dropped since the start.
    dropped: u64,
    /// How many of them are not yet reported in the log.
    unreported: u64,
}

impl State {
    fn count_dropped(&mut self, count: u64) {
        self.dropped += count;
        self.unreported += count;
    }
}

impl Buffer {
    /// The number of lines dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent after every statement that may panic, so a poisoned lock is used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds complete lines. Drops and counts them if the buffer is full.
    pub(super) fn append(&self, line: &[u8]) {
        let mut state = self.lock();
        let before = state.lines.len();
        if before + line.len() > CAPACITY {
            state.count_dropped(1);
            return;
        }
        state.lines.extend_from_slice(line);
        state.appended += line.len() as u64;
        let reached_threshold = before < FLUSH_THRESHOLD && state.lines.len() >= FLUSH_THRESHOLD;
        let must_wake = std::mem::take(&mut state.is_idle) || reached_threshold;
        drop(state);
        if must_wake {
            self.wake.notify_one();
        }
    }

    /// Waits until the lines appended so far are written or their write failed, for `timeout` at most.
    /// Returns immediately if the current write has already taken longer than that.
    pub(super) fn flush(&self, timeout: Duration) {
        let mut state = self.lock();
        if state.write_started.is_some_and(|started_at| started_at.elapsed() >= timeout) {
            return;
        }
        let appended = state.appended;
        state.is_flush_requested = true;
        self.wake.notify_one();
        drop(
            self.write_ended.wait_timeout_while(state, timeout, |state| state.processed < appended),
        );
    }

    /// The main loop of the log thread: writes lines to `output`. Never returns.
    pub(super) fn run(&self, mut output: impl Write, format: LogFormat) {
        let mut chunk = Vec::new();
        let mut is_torn = false;
        loop {
            let unreported = self.take(&mut chunk);
            self.write(&mut output, &mut chunk, &mut is_torn, unreported, format);
        }
    }

    /// Waits for lines and moves all of them to `chunk`. Returns the number of dropped lines to report.
    fn take(&self, chunk: &mut Vec<u8>) -> u64 {
        let is_below_threshold =
            |state: &mut State| state.lines.len() < FLUSH_THRESHOLD && !state.is_flush_requested;
        let is_empty = |state: &mut State| state.lines.is_empty() && !state.is_flush_requested;
        let mut state = self.lock();
        (state, _) = self
            .wake
            .wait_timeout_while(state, MIN_INTERVAL, is_below_threshold)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_idle = true;
        if state.unreported == 0 {
            state = self.wake.wait_while(state, is_empty).unwrap_or_else(PoisonError::into_inner);
        } else {
            (state, _) = self
                .wake
                .wait_timeout_while(state, RETRY_INTERVAL, is_empty)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.is_idle = false;
        state.is_flush_requested = false;
        state.write_started = Some(Instant::now());
        chunk.clear();
        // Release the memory that a burst of lines has used.
        chunk.shrink_to(FLUSH_THRESHOLD);
        std::mem::swap(chunk, &mut state.lines);
        state.unreported
    }

    /// Writes `chunk`. `is_torn`: the previous write ended in the middle of a line.
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
            chunk.extend_from_slice(format::notice(unreported, format).as_bytes());
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
        state.count_dropped(lost as u64);
        state.processed += lines as u64;
        state.write_started = None;
        drop(state);
        self.write_ended.notify_all();
    }
}

/// `tracing` writes each line with one call.
impl Write for &Buffer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes `bytes`. Returns how many of them were written before the first error.
fn write(output: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match output.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another process that shares the pipe may have set it to non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(MIN_INTERVAL),
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Accepts `free` bytes, then fails like a full disk.
    struct Disk {
        content: Vec<u8>,
        free: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.free);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.free -= count;
            self.content.extend_from_slice(&bytes[..count]);
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
    fn lines_lost_to_a_full_disk_are_counted_and_reported_once_it_has_space() {
        let buffer = Buffer::default();
        let mut disk = Disk { content: Vec::new(), free: 10 };
        let mut is_torn = false;
        buffer.append(b"first\nsecond\nthird\n");
        write_once(&buffer, &mut disk, &mut is_torn);
        assert_eq!(disk.content, b"first\nseco");
        buffer.append(b"fourth\n");
        write_once(&buffer, &mut disk, &mut is_torn);
        assert_eq!(buffer.lock().dropped, 3);
        // Not enough space for the report, so it has to be repeated.
        disk.free = 10;
        buffer.append(b"fifth\n");
        write_once(&buffer, &mut disk, &mut is_torn);
        disk.free = 1_000;
        write_once(&buffer, &mut disk, &mut is_torn);
        assert_eq!(buffer.lock().unreported, 0);
        let text = String::from_utf8(disk.content).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(&lines[..3], ["first", "seco", "fifth"], "{text}");
        let report = "WARN frontdesk::log: 3 log lines were dropped";
        assert_eq!(lines.iter().filter(|line| line.contains(report)).count(), 1, "{text}");
        assert!(text.ends_with("could not be written\n"), "{text}");
    }

    /// Blocks in every write until a message arrives.
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
    fn a_blocked_write_does_not_block_logging_and_every_line_is_written_or_counted() {
        let buffer = Arc::new(Buffer::default());
        let (unblock, blocked) = channel();
        let read = Arc::new(Mutex::new(Vec::new()));
        let (writer, pipe) = (Arc::clone(&buffer), Pipe(blocked, Arc::clone(&read)));
        thread::spawn(move || writer.run(pipe, LogFormat::Json));
        let line = [b'x'; 99];
        let lines = 3 * CAPACITY / 100;
        for _ in 0..lines {
            buffer.append(&[&line[..], b"\n"].concat());
        }
        buffer.flush(Duration::from_millis(1));
        let dropped = buffer.lock().dropped;
        assert!(dropped > 0 && buffer.lock().lines.len() <= CAPACITY, "{dropped}");
        drop(unblock);
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
