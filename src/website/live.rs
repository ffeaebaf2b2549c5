//! Connections that outlive their request: they end with the session of their user.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, HeaderName};
use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, sleep_until};

use super::current_user::CurrentUser;
use crate::session::live::EndReason;

/// A comment is sent after this time without an event, so that proxies keep the connection open and the server
/// notices that the browser has left.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);

impl CurrentUser {
    /// Returns when the session has ended, with the reason: for WebSockets and other connections that outlive
    /// their request. `docs/LIVE.md` shows how to use it.
    ///
    /// Within a second after the commit while PostgreSQL's notifications arrive, otherwise within ten; within half
    /// a minute if the database does not answer at all ([`EndReason::Unverified`]).
    ///
    /// Also when the secret of the session is replaced, at a re-authentication or a new password: the connection
    /// has the former cookie, which may be a stolen copy. The browser connects again with the new one.
    ///
    /// ```
    /// use frontdesk::{CurrentUser, Error};
    ///
    /// async fn wait(user: CurrentUser) -> Result<String, Error> {
    ///     let ended = user.ended();
    ///     Ok(format!("{:?}", ended.await))
    /// }
    /// ```
    pub fn ended(&self) -> impl Future<Output = EndReason> + Send + 'static + use<> {
        let user = self.clone();
        // Watched from now on, and not from the first poll on.
        user.live.watch(&user.requester);
        async move { user.live.watch(&user.requester).ended().await }
    }

    /// Whether the session is known to be live. It reads memory only. `false` from the moment at which this server
    /// learns of a change of the session or of the user, until the database has answered: ask
    /// [`CurrentUser::check_live`] before you close a connection because of it.
    pub fn is_live(&self) -> bool {
        self.live.watch(&self.requester).is_live()
    }

    /// Like [`CurrentUser::is_live`], but waits while the database is asked. Call it before you send something: after
    /// "signed out" was answered, it is `false` on every server that receives notifications, and on others at most
    /// five seconds later.
    pub async fn check_live(&self) -> bool {
        self.live.watch(&self.requester).check_live().await
    }

    /// The user was active on this connection: counts like a request for the idle timeout. Written at most once a
    /// minute. An open connection alone does not extend the session.
    pub fn record_activity(&self) {
        self.live.watch(&self.requester).record_activity();
    }
}

/// An event of an event stream (WHATWG HTML, "Server-sent events").
///
/// ```
/// use frontdesk::live::Event;
///
/// let event = Event::new("Ada joined.").named("guest").with_id("17");
/// assert_ne!(event, Event::from("Ada joined."));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    text: String,
}

impl Event {
    /// An event with `data`, which may have several lines.
    pub fn new(data: impl AsRef<str>) -> Self {
        let mut event = Self::default();
        // The three ends of a line of the format.
        for line in data.as_ref().replace("\r\n", "\n").split(['\n', '\r']) {
            event.field("data", line);
        }
        event
    }

    /// The same event with a name, for `addEventListener(name, …)`. Without one, the name is `message`.
    pub fn named(mut self, name: &str) -> Self {
        self.field("event", name);
        self
    }

    /// The same event with an id, which the browser sends in `Last-Event-ID` when it connects again.
    pub fn with_id(mut self, id: &str) -> Self {
        self.field("id", id);
        self
    }

    /// What follows an end of line would be another field.
    fn field(&mut self, name: &str, value: &str) {
        let value = value.replace(['\r', '\n', '\0'], "");
        self.text.push_str(&format!("{name}: {value}\n"));
    }
}

impl<T: AsRef<str>> From<T> for Event {
    fn from(data: T) -> Self {
        Self::new(data)
    }
}

/// What [`event_stream`] still has to send.
struct Sending {
    user: CurrentUser,
    ended: Pin<Box<dyn Future<Output = EndReason> + Send>>,
    events: Pin<Box<dyn Stream<Item = Event>>>,
}

/// The answer to the request of an `EventSource`: sends `events` until they or the session of `user` end. Nothing
/// is sent once [`CurrentUser::check_live`] is `false`. A browser that connects again then gets 401, and stops.
///
/// ```
/// use std::time::Duration;
///
/// use frontdesk::actix_web::HttpResponse;
/// use frontdesk::live::{Event, event_stream};
/// use frontdesk::CurrentUser;
/// use futures_util::stream;
///
/// async fn clock(user: CurrentUser) -> HttpResponse {
///     let seconds = stream::unfold(0, |count| async move {
///         tokio::time::sleep(Duration::from_secs(1)).await;
///         Some((Event::new(count.to_string()), count + 1))
///     });
///     event_stream(&user, seconds)
/// }
/// ```
pub fn event_stream<S>(user: &CurrentUser, events: S) -> HttpResponse
where
    S: Stream + 'static,
    S::Item: Into<Event>,
{
    let sending = Sending {
        ended: Box::pin(user.ended()),
        user: user.clone(),
        events: Box::pin(events.map(Into::into)),
    };
    let body = stream::unfold(sending, |mut sending| async {
        let text = sending.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), sending))
    });
    HttpResponse::Ok()
        .insert_header(("Content-Type", "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // nginx would otherwise keep events back until its buffer is full.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(body)
}

impl Sending {
    /// The next event or comment. `None`: the end.
    async fn next(&mut self) -> Option<String> {
        let comment_at = Instant::now() + COMMENT_INTERVAL;
        tokio::select! {
            biased;
            _ = &mut self.ended => None,
            event = self.events.next() => {
                let Event { text } = event?;
                self.user.check_live().await.then(|| text + "\n")
            }
            () = sleep_until(comment_at) => Some(": \n\n".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_an_event_becomes_another_field() {
        let event = Event::new("one\r\ntwo\rdata: x\n\nfour").named("a\nid: b").with_id("1\0\r2");
        assert_eq!(
            event.text,
            "data: one\ndata: two\ndata: data: x\ndata: \ndata: four\nevent: aid: b\nid: 12\n"
        );
        assert_eq!(Event::from("x"), Event::new("x"));
    }
}
