//! How large a body may be, and how long a response may take to start. The usual limits apply to every request; a
//! resource of a site may have others, which its middleware ([`ResourceLimits::apply`]) puts in force. So the router
//! decides which limits a request has.

use std::cell::Cell;
use std::future::Future;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use actix_http::BoxedPayloadStream;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::Method;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage as _, HttpRequest};
use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::connection::Upgrade;
use super::error::HttpError;

/// How long a GET may take, so that requests do not hang when the database hangs.
const PAGE_DEADLINE: Duration = Duration::from_secs(5);
/// The deadline of other methods. It is longer, because form bodies may arrive slowly, password hashes wait
/// in a queue, and an export takes long. A transaction that is open at the deadline still completes in its
/// own task.
const FORM_DEADLINE: Duration = Duration::from_secs(30);
/// How long a body may take to arrive. actix-web has no such deadline, so a slow client could otherwise
/// occupy a handler indefinitely.
pub const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// In bytes. All forms of Frontdesk are smaller.
pub const MAX_BODY: usize = 64 * 1024;

/// The limits of a request.
///
/// ```
/// use std::time::Duration;
///
/// use frontdesk::actix_web::web::Bytes;
/// use frontdesk::{Limits, Page, Routes, actix_web::HttpResponse};
///
/// async fn upload(page: Page, picture: Bytes) -> HttpResponse {
///     page.redirect(&format!("/pictures/{}", picture.len()))
/// }
///
/// fn routes(routes: &mut Routes) {
///     let limits = Limits { body: 8 * 1024 * 1024, deadline: Duration::from_secs(60) };
///     routes.limits(limits, |routes| {
///         routes.post("/pictures", upload);
///     });
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of the body in bytes, whatever reads it; a larger one is 413.
    pub body: usize,
    /// How long until the response starts; then it is 503. A body has to arrive within nine tenths of it, otherwise
    /// the response is 408. Between a millisecond and a day.
    pub deadline: Duration,
}

impl Limits {
    /// The deadlines that a route may have. Longer ones could exceed what an [`Instant`] can represent.
    pub(crate) const DEADLINES: RangeInclusive<Duration> =
        Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);

    /// The usual deadline of requests with this method.
    pub(super) fn usual_deadline(method: &Method) -> Duration {
        if method.is_safe() { PAGE_DEADLINE } else { FORM_DEADLINE }
    }
}

/// The limits of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    /// In bytes.
    pub(super) length: usize,
    /// How long it may take to arrive.
    pub(super) deadline: Duration,
}

impl BodyLimits {
    const USUAL: Self = Self { length: MAX_BODY, deadline: BODY_DEADLINE };

    /// Those of the resource of `request`, if the router has found it already.
    pub(super) fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().copied().unwrap_or(Self::USUAL)
    }
}

impl From<Limits> for BodyLimits {
    /// A tenth of the time remains for the handler. The response to a slow body is therefore 408 and not 503.
    fn from(limits: Limits) -> Self {
        Self { length: limits.body, deadline: limits.deadline * 9 / 10 }
    }
}

/// When the response to a request has to start. The outermost middleware waits for it; the middleware of a resource
/// moves it.
#[derive(Clone)]
pub(super) struct Deadline(Rc<DeadlineState>);

struct DeadlineState {
    started_at: Instant,
    at: Cell<Instant>,
    has_moved: Notify,
}

impl Deadline {
    /// In `after`, from now.
    pub(super) fn new(after: Duration) -> Self {
        let started_at = Instant::now();
        let at = Cell::new(started_at + after);
        Self(Rc::new(DeadlineState { started_at, at, has_moved: Notify::new() }))
    }

    fn move_to(&self, after: Duration) {
        self.0.at.set(self.0.started_at + after);
        self.0.has_moved.notify_one();
    }

    /// How long after the start of the request it is.
    pub(super) fn after(&self) -> Duration {
        self.0.at.get() - self.0.started_at
    }

    /// The output of `work`, or `None` once the deadline has passed.
    pub(super) async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let passed = async {
            loop {
                tokio::select! {
                    () = sleep_until(self.0.at.get()) => return,
                    () = self.0.has_moved.notified() => {}
                }
            }
        };
        tokio::select! {
            biased;
            output = work => Some(output),
            () = passed => None,
        }
    }
}

/// The limits of the methods of a resource. Methods that are not listed have the usual ones.
#[derive(Clone, Default)]
pub struct ResourceLimits(Rc<[(Method, Limits)]>);

impl FromIterator<(Method, Limits)> for ResourceLimits {
    fn from_iter<I: IntoIterator<Item = (Method, Limits)>>(limits: I) -> Self {
        Self(limits.into_iter().collect())
    }
}

impl ResourceLimits {
    /// The size of the largest body that any method accepts.
    pub fn max_body(&self) -> usize {
        self.0.iter().map(|(_, limits)| limits.body).chain([MAX_BODY]).max().unwrap_or(MAX_BODY)
    }

    fn of(&self, method: &Method) -> Option<Limits> {
        let counts_as = if *method == Method::HEAD { &Method::GET } else { method };
        let found = self.0.iter().find(|(of, _)| of == counts_as);
        found.map(|(_, limits)| *limits)
    }

    /// The outermost middleware of a resource: limits its body and moves the deadline of its response.
    pub async fn apply(
        self,
        mut request: ServiceRequest,
        next: Next<impl MessageBody + 'static>,
    ) -> Result<ServiceResponse<BoxBody>, Error> {
        let own = self.of(request.method());
        if let (Some(own), Some(deadline)) = (own, request.extensions().get::<Deadline>()) {
            deadline.move_to(own.deadline);
        }
        let limits = own.map_or(BodyLimits::USUAL, BodyLimits::from);
        request.extensions_mut().insert(limits);
        let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let length = length.and_then(|value| value.parse::<u64>().ok());
        if length.is_some_and(|length| length > limits.length as u64) {
            return Ok(request.error_response(HttpError::PayloadTooLarge));
        }
        let refusal = Rc::new(Cell::new(None));
        match request.take_payload() {
            Payload::None => {}
            payload => {
                let upgrade = Upgrade::of(request.request());
                request.set_payload(limited(payload, limits, upgrade, Rc::clone(&refusal)));
            }
        }
        let response = next.call(request).await?;
        // What an extractor or a handler makes of the error of the payload is often a plain 400.
        Ok(match refusal.take() {
            Some(refusal) if response.status().as_u16() >= 400 => {
                ServiceResponse::from_err(HttpError::from(refusal), response.into_parts().0)
            }
            _ => response.map_into_boxed_body(),
        })
    }
}

/// Why the rest of a body is not read.
#[derive(Clone, Copy)]
enum Refusal {
    TooLarge,
    TooSlow,
}

impl From<Refusal> for HttpError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLarge => Self::PayloadTooLarge,
            Refusal::TooSlow => Self::RequestTimeout,
        }
    }
}

/// `payload`, which fails at the limits, and then sets `refusal`. After an upgrade it is no longer a body and has no
/// limits.
fn limited(
    payload: Payload,
    limits: BodyLimits,
    upgrade: Upgrade,
    refusal: Rc<Cell<Option<Refusal>>>,
) -> Payload {
    let ends_at = Instant::now() + limits.deadline;
    let chunks = stream::unfold((payload, 0), move |(mut payload, read)| {
        let (refusal, upgrade) = (Rc::clone(&refusal), upgrade.clone());
        async move {
            let arrived = timeout_at(ends_at, payload.next()).await;
            if upgrade.is_done() {
                // The upgrade may have happened while this waited.
                let chunk = match arrived {
                    Ok(chunk) => chunk,
                    Err(_) => payload.next().await,
                };
                return Some((chunk?, (payload, read)));
            }
            let chunk: Result<Bytes, PayloadError> = match arrived {
                Ok(chunk) => chunk?,
                Err(_) => {
                    refusal.set(Some(Refusal::TooSlow));
                    Err(PayloadError::Io(ErrorKind::TimedOut.into()))
                }
            };
            let read = read + chunk.as_ref().map_or(0, Bytes::len);
            let is_too_large = read > limits.length;
            if is_too_large {
                refusal.set(Some(Refusal::TooLarge));
            }
            let chunk = if is_too_large { Err(PayloadError::Overflow) } else { chunk };
            Some((chunk, (payload, read)))
        }
    });
    // Readers such as actix-multipart ask again after the end.
    let chunks: BoxedPayloadStream = Box::pin(chunks.fuse());
    Payload::from(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_methods_of_a_resource_have_other_limits() {
        let large = Limits { body: 1 << 20, deadline: Duration::from_secs(60) };
        let limits: ResourceLimits =
            [(Method::POST, large), (Method::GET, large)].into_iter().collect();
        for method in [Method::POST, Method::GET, Method::HEAD] {
            assert_eq!(limits.of(&method), Some(large), "{method}");
        }
        assert_eq!(limits.of(&Method::PUT), None);
        assert_eq!((limits.max_body(), ResourceLimits::default().max_body()), (1 << 20, MAX_BODY));
    }

    #[tokio::test]
    async fn a_deadline_can_be_moved_while_the_work_runs() {
        let deadline = Deadline::new(Duration::from_secs(3600));
        let shorter = async {
            deadline.move_to(Duration::ZERO);
            std::future::pending::<()>().await;
        };
        assert_eq!(deadline.within(shorter).await, None);
        let deadline = Deadline::new(Duration::ZERO);
        let longer = async {
            deadline.move_to(Duration::from_secs(3600));
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(deadline.within(longer).await, Some(()));
    }
}
