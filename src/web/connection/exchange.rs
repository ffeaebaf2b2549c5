//! One request and its response, seen from the connection.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use actix_http::ConnectionType;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ResponseHead, ServiceRequest, ServiceResponse};
use actix_web::error::{InternalError, PayloadError};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage as _, HttpRequest};
use futures_util::Stream;

use super::open::{OpenConnections, Slot};

/// Where the connection is in the sequence of requests and responses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// A head arrives, or the rest of a body that was not read, or nothing.
    Between,
    /// A handler runs.
    Handling,
    /// The response is there. Its body is not complete.
    Answered,
    /// The dispatcher has all of the response. It is not yet written.
    Complete,
}

/// The state of a connection, shared with its requests.
pub(super) struct State {
    phase: Cell<Phase>,
    requests: Cell<u64>,
    /// How many bytes of the body the dispatcher may get now.
    allowance: Cell<usize>,
    is_chunked: Cell<bool>,
    /// The response closes the connection.
    is_last: Cell<bool>,
    /// The response is 101: until it is complete, what arrives is not HTTP.
    is_upgraded: Cell<bool>,
    /// Bytes are available that may not be passed on yet.
    is_withholding: Cell<bool>,
    /// Wakes the dispatcher to read again.
    reader: RefCell<Option<Waker>>,
    open: Arc<OpenConnections>,
    slot: Arc<Slot>,
}

impl State {
    pub(super) fn new(open: Arc<OpenConnections>, slot: Arc<Slot>) -> Self {
        Self {
            phase: Cell::new(Phase::Between),
            requests: Cell::new(0),
            allowance: Cell::new(0),
            is_chunked: Cell::new(false),
            is_last: Cell::new(false),
            is_upgraded: Cell::new(false),
            is_withholding: Cell::new(false),
            reader: RefCell::new(None),
            open,
            slot,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.get()
    }

    pub(super) fn allowance(&self) -> usize {
        self.allowance.get()
    }

    pub(super) fn is_chunked(&self) -> bool {
        self.is_chunked.get()
    }

    pub(super) fn is_last(&self) -> bool {
        self.is_last.get()
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.is_upgraded.get()
    }

    pub(super) fn set_withholding(&self) {
        self.is_withholding.set(true);
    }

    pub(super) fn set_reader(&self, waker: &Waker) {
        let mut reader = self.reader.borrow_mut();
        if !reader.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *reader = Some(waker.clone());
        }
    }

    /// Deducts bytes of the body that were passed on. Where a chunked body may end, nothing more is passed on
    /// until the handler asks for it.
    pub(super) fn consume(&self, count: usize, may_have_ended: bool) {
        match (self.is_chunked.get(), may_have_ended) {
            (false, _) => self.allowance.set(self.allowance.get().saturating_sub(count)),
            (true, true) => self.allowance.set(0),
            (true, false) => {}
        }
        if self.allowance.get() == 0 {
            self.slot.end_body_wait();
        }
    }

    fn begin(&self, body: Body) {
        self.phase.set(Phase::Handling);
        self.requests.set(self.requests.get() + 1);
        self.slot.set_busy();
        self.is_chunked.set(body == Body::Chunked);
        self.allowance.set(match body {
            Body::None => 0,
            Body::Length(length) => length,
            Body::Chunked => usize::MAX,
        });
    }

    fn want_more(&self) {
        if self.is_chunked.get() && self.allowance.get() == 0 && self.phase.get() == Phase::Handling
        {
            self.allowance.set(usize::MAX);
            self.wake_reader();
        }
    }

    /// The connection is not used for HTTP again: a proxy in front passes bytes on without parsing them, so they
    /// must not be taken for a request.
    fn upgrade(&self) {
        self.is_upgraded.set(true);
        self.is_last.set(true);
        self.wake_reader();
    }

    fn wake_reader(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Must be called when all bytes that the dispatcher has are written. Returns whether the dispatcher must
    /// read again: bytes of the next request are waiting, or the connection is to be closed.
    pub(super) fn set_written(&self) -> bool {
        if self.phase.get() != Phase::Complete {
            return false;
        }
        self.phase.set(Phase::Between);
        self.slot.set_idle();
        // The rest of a body that was not read has a deadline, which the next read arms.
        self.is_withholding.take() || self.slot.is_closing() || self.is_last.get()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Length(usize),
    Chunked,
}

impl Body {
    /// Must be called with headers that actix-http has accepted.
    fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(TRANSFER_ENCODING) {
            return Body::Chunked;
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        match length.and_then(|length| length.trim().parse().ok()) {
            None | Some(0) => Body::None,
            Some(length) => Body::Length(length),
        }
    }
}

/// A request that is being handled. Does nothing for a request without a connection, as in unit tests.
pub struct Exchange {
    state: Option<Rc<State>>,
    /// Whether the handler has read the body to its end. `None`: there is none.
    body_is_read: Option<Rc<Cell<bool>>>,
    /// The dispatcher passes on everything that follows the head, until the connection ends. Only a request for a
    /// WebSocket is like that.
    is_open_ended: bool,
}

impl Exchange {
    /// Must be called by the outermost middleware, before the first `await`.
    pub fn begin(request: &mut ServiceRequest) -> Self {
        let Some(state) = request.request().conn_data::<Rc<State>>().cloned() else {
            return Self { state: None, body_is_read: None, is_open_ended: false };
        };
        let body = Body::of(request.headers());
        state.begin(body);
        let payload = request.take_payload();
        if body == Body::None {
            let is_open_ended = !matches!(payload, Payload::None);
            request.set_payload(payload);
            return Self { state: Some(state), body_is_read: None, is_open_ended };
        }
        let is_read = Rc::new(Cell::new(false));
        let tracked =
            TrackedBody { payload, state: Rc::clone(&state), is_read: Rc::clone(&is_read) };
        request.set_payload(Payload::Stream { payload: Box::pin(tracked) });
        Self { state: Some(state), body_is_read: Some(is_read), is_open_ended: false }
    }

    /// Must be called when the response is there. Returns its body, for [`ServiceResponse::map_body`]. The
    /// connection will be closed if a part of the request's body was not read, if the server is stopping, and
    /// if there are too many connections. After a 101 it is closed when the body of the response is complete.
    pub fn end(self, response: &mut ResponseHead, body: BoxBody) -> BoxBody {
        let Some(state) = self.state else { return body };
        state.slot.end_body_wait();
        let is_unread = self.body_is_read.is_some_and(|is_read| !is_read.get());
        let is_switching = response.status == StatusCode::SWITCHING_PROTOCOLS;
        if is_switching && self.is_open_ended && body.size() == BodySize::Stream {
            state.upgrade();
        } else if is_unread || is_switching || state.open.is_draining() || state.open.is_crowded() {
            response.set_connection_type(ConnectionType::Close);
            state.is_last.set(true);
        }
        if body.size() == BodySize::None {
            state.phase.set(Phase::Complete);
            return body;
        }
        match body.try_into_bytes() {
            // The dispatcher takes a body in memory as a whole.
            Ok(bytes) => {
                state.phase.set(Phase::Complete);
                BoxBody::new(bytes)
            }
            Err(body) => {
                state.phase.set(Phase::Answered);
                BoxBody::new(StreamedBody { body, state })
            }
        }
    }
}

/// Whether a request has become a connection of another protocol.
#[derive(Clone)]
pub struct Upgrade(Option<Rc<State>>);

impl Upgrade {
    /// That of `request`, which has no response yet.
    pub fn of(request: &HttpRequest) -> Self {
        Self(request.conn_data::<Rc<State>>().cloned())
    }

    /// `false` until the response 101 is there. The headers of the request do not matter.
    pub fn is_done(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.is_upgraded())
    }
}

/// A middleware with only an [`Exchange`], for sites without [`super::super::outer`].
pub async fn track(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let exchange = Exchange::begin(&mut request);
    match next.call(request).await {
        Ok(response) => {
            Ok(response.map_into_boxed_body().map_body(|head, body| exchange.end(head, body)))
        }
        Err(error) => {
            let response = error.error_response().map_body(|head, body| exchange.end(head, body));
            Err(InternalError::from_response(error, response).into())
        }
    }
}

/// The body of a request. Notes its end, and lets the dispatcher read on when the handler wants more.
struct TrackedBody {
    payload: Payload,
    state: Rc<State>,
    is_read: Rc<Cell<bool>>,
}

impl Stream for TrackedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = Pin::new(&mut this.payload).poll_next(context);
        if next.is_pending() {
            this.state.want_more();
        }
        let next = ready!(next);
        if next.is_none() {
            this.is_read.set(true);
        }
        Poll::Ready(next)
    }
}

/// The body of a response that is not in memory. The dispatcher drops it at its end. Before that, it also
/// flushes after each part.
struct StreamedBody {
    body: BoxBody,
    state: Rc<State>,
}

impl MessageBody for StreamedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}

impl Drop for StreamedBody {
    fn drop(&mut self) {
        self.state.phase.set(Phase::Complete);
    }
}
