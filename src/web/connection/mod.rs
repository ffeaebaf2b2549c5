//! A client connection. [`Connection`] wraps the socket below actix-http's HTTP/1 dispatcher and enforces
//! what the dispatcher does not:
//!
//! - **Requests are handled one at a time.** The dispatcher reads ahead, and keeps the method and version of
//!   the request that it read last for the response that it writes next. A HEAD that is pipelined after a
//!   POST would remove the body of the POST's response (actix/actix-web#4180 proposed to remove pipelining
//!   and was closed). So bytes after a request are withheld until its response is written.
//! - **Between two requests, bytes and time are limited.** The dispatcher limits the head of the first request
//!   only, and reads the rest of an unread chunked body without a limit.
//! - **A response that the client does not read is given up.** The dispatcher waits forever.
//! - **An idle connection can be closed**, when descriptors run out and at shutdown. See [`OpenConnections`].
//!
//! After an upgrade (status 101) it passes on everything, and the connection serves no other request.
//!
//! No HTTP is parsed here. [`Exchange`], which the outermost middleware holds during a request, passes on
//! what actix-http has parsed. The wrapper only decides when the dispatcher gets bytes, and never changes
//! them. To stop in time it pauses at every empty line, which ends each head and each chunked body.

mod exchange;
mod open;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};

pub use exchange::{Exchange, Upgrade, track};
use exchange::{Phase, State};
pub use open::OpenConnections;
use open::Slot;

/// How long the head of a request may take. Also how long the rest of a body is read after the response:
/// without reading it, the client might not receive the response.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// How many bytes may arrive between two requests. More than the largest head that the dispatcher accepts
/// (128 KiB), so that it can answer 431.
const MAX_BYTES_BETWEEN: usize = 192 * 1024;
/// How many empty lines may arrive before a request (RFC 9112 section 2.2: at least one is ignored). The
/// dispatcher reads all of them again at each pause.
const MAX_EMPTY_LINES: usize = 8;
/// How many empty lines the rest of an unread body may have.
const MAX_EMPTY_LINES_OF_BODY: usize = 1_000;
/// How long a write may make no progress.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// A TCP or unix stream.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Ready when a read would return bytes, the end, or an error.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()>;

    /// The address of the peer. A program that connects to a unix socket runs on this machine, like one that
    /// connects to 127.0.0.1.
    fn peer(&self) -> Option<SocketAddr>;

    /// Sets the options of an accepted stream.
    fn prepare(&self) {}
}

impl Transport for TcpStream {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(context).map(drop)
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }

    fn prepare(&self) {
        // Otherwise small responses may be delayed (Nagle's algorithm).
        self.set_nodelay(true).ok();
    }
}

impl Transport for UnixStream {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(context).map(drop)
    }

    fn peer(&self) -> Option<SocketAddr> {
        Some(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// The stream that actix-http reads from and writes to.
pub struct Connection<T> {
    io: T,
    state: Rc<State>,
    open: Arc<OpenConnections>,
    slot: Arc<Slot>,
    /// Bytes that were read after an empty line. Those before `withheld_from` were passed on later.
    withheld: Vec<u8>,
    withheld_from: usize,
    /// The last two bytes that were passed on, to find an empty line that spans two reads.
    tail: [u8; 2],
    /// An empty line was passed on, so the dispatcher must run before it gets more.
    is_paused: bool,
    /// What arrived since the last response; `None`: nothing.
    between: Option<Between>,
    /// Armed when the first byte of a head arrives. It is not disarmed when the request begins: to check the
    /// state when it fires costs less than to arm it for every request.
    head_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

/// Bytes between two requests: an incomplete head, or the rest of an unread body.
struct Between {
    /// The number of requests before.
    requests: u64,
    since: Instant,
    bytes: usize,
    empty_lines: usize,
}

impl Between {
    fn begin(requests: u64) -> Self {
        Self { requests, since: Instant::now(), bytes: 0, empty_lines: 0 }
    }
}

impl<T: Transport> Connection<T> {
    /// Wraps a stream that was accepted.
    pub fn new(io: T, open: &Arc<OpenConnections>) -> Self {
        let slot = open.add();
        Self {
            state: Rc::new(State::new(Arc::clone(open), Arc::clone(&slot))),
            io,
            open: Arc::clone(open),
            slot,
            withheld: Vec::new(),
            withheld_from: 0,
            tail: [0; 2],
            is_paused: false,
            between: None,
            head_timer: None,
            write_timer: None,
        }
    }

    /// Adds the state of the connection to the data of its requests.
    pub fn add_to(&self, extensions: &mut actix_web::dev::Extensions) {
        extensions.insert(Rc::clone(&self.state));
    }

    /// Whether bytes can be passed on. If not, the task is woken when there are some.
    fn has_bytes(&self, context: &mut Context<'_>) -> bool {
        !self.withheld.is_empty() || self.io.poll_readable(context).is_ready()
    }

    /// Returns pending. Reading goes on when the response is written or the handler asks for more.
    fn withhold(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.set_reader(context.waker());
        if self.has_bytes(context) {
            self.state.set_withholding();
        }
        Poll::Pending
    }

    /// Ready when the client has used up the time or the bytes between two requests.
    fn poll_limits(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let requests = self.state.requests();
        let Some(between) = self.between.as_ref().filter(|found| found.requests == requests) else {
            self.between = None;
            return Poll::Pending;
        };
        let empty_lines =
            if self.state.is_last() { MAX_EMPTY_LINES_OF_BODY } else { MAX_EMPTY_LINES };
        if between.bytes > MAX_BYTES_BETWEEN || between.empty_lines > empty_lines {
            return Poll::Ready(());
        }
        let since = between.since;
        let timer = self.head_timer.get_or_insert_with(|| Box::pin(sleep(HEAD_DEADLINE)));
        while timer.as_mut().poll(context).is_ready() {
            let left = HEAD_DEADLINE.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Poll::Ready(());
            }
            // It was armed for an earlier request.
            timer.as_mut().reset(tokio::time::Instant::now() + left);
        }
        Poll::Pending
    }

    /// Reads a head, or the rest of an unread body.
    fn poll_between(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // An empty buffer is the end of the stream.
        const END: Poll<io::Result<()>> = Poll::Ready(Ok(()));
        let requests = self.state.requests();
        // Also if the client sends nothing of the rest of an unread body.
        if self.state.is_last() && self.between.as_ref().is_none_or(|it| it.requests != requests) {
            self.between = Some(Between::begin(requests));
        }
        if self.poll_limits(context).is_ready() {
            return END;
        }
        self.slot.register(context.waker());
        match self.poll_next(context, buffer, usize::MAX, true) {
            Poll::Ready(Ok(0)) => END,
            Poll::Ready(Ok(count)) => {
                let slot = &self.slot;
                let between = self.between.get_or_insert_with(|| {
                    slot.set_idle();
                    Between::begin(requests)
                });
                between.bytes += count;
                between.empty_lines += usize::from(self.is_paused);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if self.slot.is_closing() => END,
            Poll::Pending => Poll::Pending,
        }
    }

    /// Reads up to `limit` bytes, and not beyond an empty line if `stops_at_empty_line`. Returns their number;
    /// 0 at the end.
    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        limit: usize,
        stops_at_empty_line: bool,
    ) -> Poll<io::Result<usize>> {
        let before = buffer.filled().len();
        let is_fresh = self.withheld.is_empty();
        if !is_fresh {
            let waiting = &self.withheld[self.withheld_from..];
            buffer.put_slice(&waiting[..waiting.len().min(limit).min(buffer.remaining())]);
        } else if limit >= buffer.remaining() {
            ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        } else {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(limit));
            ready!(Pin::new(&mut self.io).poll_read(context, &mut part))?;
            let count = part.filled().len();
            buffer.advance(count);
        }
        let read = &buffer.filled()[before..];
        let mut count = read.len();
        if stops_at_empty_line && let Some(end) = end_of_empty_line(self.tail, read) {
            self.is_paused = true;
            if is_fresh {
                self.withheld.extend_from_slice(&read[end..]);
            }
            count = end;
        }
        if !is_fresh {
            self.withheld_from += count;
            if self.withheld_from == self.withheld.len() {
                self.withheld.clear();
                self.withheld_from = 0;
            }
        }
        buffer.set_filled(before + count);
        match &buffer.filled()[before..] {
            [.., first, second] => self.tail = [*first, *second],
            [only] => self.tail = [self.tail[1], *only],
            [] => {}
        }
        Poll::Ready(Ok(count))
    }
}

/// The position after the first empty line of `bytes`, which follow `tail`.
fn end_of_empty_line(tail: [u8; 2], bytes: &[u8]) -> Option<usize> {
    let at = |index: usize| match index.checked_sub(2) {
        Some(index) => bytes[index],
        None => tail[index],
    };
    let mut from = 0;
    while let Some(found) = bytes[from..].iter().position(|byte| *byte == b'\n') {
        let index = from + found;
        // `at` counts from the start of `tail`.
        let (previous, before) = (at(index + 1), at(index));
        if previous == b'\n' || (previous == b'\r' && before == b'\n') {
            return Some(index + 1);
        }
        from = index + 1;
    }
    None
}

impl<T: Transport> AsyncRead for Connection<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.is_paused) {
            if this.has_bytes(context) {
                context.waker().wake_by_ref();
            }
            // Registers the deadline, which the next call checks.
            let _ = this.poll_limits(context);
            return Poll::Pending;
        }
        match this.state.phase() {
            Phase::Between => this.poll_between(context, buffer),
            Phase::Answered if this.state.is_upgraded() => {
                this.poll_next(context, buffer, usize::MAX, false).map_ok(drop)
            }
            Phase::Answered | Phase::Complete => this.withhold(context),
            Phase::Handling if this.state.allowance() == 0 => this.withhold(context),
            Phase::Handling => {
                let (limit, is_chunked) = (this.state.allowance(), this.state.is_chunked());
                let Poll::Ready(count) = this.poll_next(context, buffer, limit, is_chunked) else {
                    this.slot.begin_body_wait(context.waker());
                    // The end of the stream, which the handler answers with 400.
                    let is_aborted = this.slot.is_body_aborted();
                    return if is_aborted { Poll::Ready(Ok(())) } else { Poll::Pending };
                };
                this.state.consume(count?, this.is_paused);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<T: Transport> AsyncWrite for Connection<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_write(context, bytes) {
            Poll::Pending => {
                let timer = this.write_timer.get_or_insert_with(|| Box::pin(sleep(WRITE_DEADLINE)));
                ready!(timer.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            written => {
                this.write_timer = None;
                written
            }
        }
    }

    /// actix-http calls this when all bytes of a response, or of a part of a streamed one, are written.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.state.set_written() {
            context.waker().wake_by_ref();
        }
        Pin::new(&mut this.io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

impl<T> Drop for Connection<T> {
    fn drop(&mut self) {
        self.open.remove(&self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_line_is_found_wherever_reads_split_it() {
        for (text, end) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nrest", 27),
            ("a\n\nrest", 3),
            ("a\r\n\nrest", 4),
            ("\r\n\r\nGET", 4),
            ("0\r\n\r\n", 5),
        ] {
            for split in 0..text.len() {
                let (first, second) = text.as_bytes().split_at(split);
                let mut tail = [0; 2];
                let found = end_of_empty_line(tail, first).or_else(|| {
                    for byte in first {
                        tail = [tail[1], *byte];
                    }
                    end_of_empty_line(tail, second).map(|end| split + end)
                });
                assert_eq!(found, Some(end), "{text:?} split at {split}");
            }
        }
        assert_eq!(end_of_empty_line([0; 2], b"a\r\nb\r\nc"), None);
        assert_eq!(end_of_empty_line([0; 2], b"a\n\rb\r\r\n"), None);
    }
}
