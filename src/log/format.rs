//! Formats log lines as text or JSON, like tracing-subscriber does with a span `request`. These formatters
//! cost a third as much, because the request is not a span.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tracing::{Event, Metadata, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_serde::AsSerde as _;
use tracing_serde::fields::AsMap as _;
use tracing_subscriber::fmt::format::{DefaultFields, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields as _, FormattedFields};
use tracing_subscriber::registry::LookupSpan;
use uuid::Uuid;

use super::request::{self, LoggedRequest};
use crate::config::LogFormat;

/// The name of a request among the spans of a line.
const REQUEST: &str = "request";

/// `2026-11-27T09:14:07.120344Z  INFO request{id=…}: frontdesk::web::outer: answered status=200`.
pub(super) struct TextLine;

impl<S> FormatEvent<S, DefaultFields> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, DefaultFields>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        write_start(&mut out, metadata)?;
        let request = request::current();
        if let Some(LoggedRequest { id, client_ip }) = request {
            write!(out, "{REQUEST}{{id={id}")?;
            if let Some(ip) = client_ip {
                write!(out, " client_ip={ip}")?;
            }
            out.write_str("}:")?;
        }
        let mut has_span = request.is_some();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            has_span = true;
            out.write_str(span.metadata().name())?;
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<DefaultFields>>();
            if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                write!(out, "{{{fields}}}")?;
            }
            out.write_char(':')?;
        }
        if has_span {
            out.write_char(' ')?;
        }
        let (dim, reset) = if out.has_ansi_escapes() { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        for part in [dim, metadata.target(), ":", reset, " "] {
            out.write_str(part)?;
        }
        context.format_fields(out.by_ref(), event)?;
        out.write_char('\n')
    }
}

/// Time and level, in colors on a terminal.
fn write_start(out: &mut Writer<'_>, metadata: &Metadata<'_>) -> fmt::Result {
    let level = *metadata.level();
    if !out.has_ansi_escapes() {
        return write!(out, "{} {level:>5} ", Timestamp::now().as_str());
    }
    let color = match level {
        tracing::Level::ERROR => 31,
        tracing::Level::WARN => 33,
        tracing::Level::INFO => 32,
        tracing::Level::DEBUG => 34,
        tracing::Level::TRACE => 35,
    };
    write!(out, "\x1b[2m{}\x1b[0m \x1b[{color}m{level:>5}\x1b[0m ", Timestamp::now().as_str())
}

/// One object per line. `span` is the innermost span.
pub(super) struct JsonLine {
    /// Also writes `spans`, from the outermost to the innermost.
    pub(super) has_span_list: bool,
}

#[derive(Serialize)]
struct JsonEvent<'a, F: Serialize> {
    timestamp: &'a str,
    level: tracing_serde::SerializeLevel<'a>,
    fields: F,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<&'a JsonSpan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spans: Option<&'a [JsonSpan]>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum JsonSpan {
    Request {
        id: Uuid,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_ip: Option<IpAddr>,
        name: &'static str,
    },
    Other(Map<String, Value>),
}

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let request = request::current().map(|LoggedRequest { id, client_ip }| JsonSpan::Request {
            id,
            client_ip,
            name: REQUEST,
        });
        let mut spans: Vec<JsonSpan> = request.into_iter().collect();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>();
            let fields = fields.and_then(|fields| serde_json::from_str(fields).ok());
            let mut fields: Map<String, Value> = fields.unwrap_or_default();
            fields.insert("name".to_owned(), span.metadata().name().into());
            spans.push(JsonSpan::Other(fields));
        }
        let timestamp = Timestamp::now();
        let line = JsonEvent {
            timestamp: timestamp.as_str(),
            level: metadata.level().as_serde(),
            fields: event.field_map(),
            target: metadata.target(),
            span: spans.last(),
            spans: (self.has_span_list && !spans.is_empty()).then_some(&spans[..]),
        };
        serde_json::to_writer(Utf8(&mut out), &line).map_err(|_| fmt::Error)?;
        out.write_char('\n')
    }
}

/// Writes UTF-8 to a [`Writer`]. serde_json writes complete characters only.
struct Utf8<'a, 'b>(&'a mut Writer<'b>);

impl io::Write for Utf8<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of `2026-11-27T09:14:07.120344Z`.
const TIMESTAMP: usize = 27;
/// Bytes of a timestamp before the microseconds.
const SECOND: usize = 20;

thread_local! {
    /// The last second that this thread has formatted, as seconds since 1970 and as text. A second has many
    /// lines.
    static LAST_SECOND: Cell<(u64, [u8; SECOND])> = const { Cell::new((u64::MAX, [0; SECOND])) };
}

/// A time in UTC with microseconds (RFC 3339).
struct Timestamp([u8; TIMESTAMP]);

impl Timestamp {
    fn now() -> Self {
        Self::of(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
    }

    fn of(since_1970: Duration) -> Self {
        let second = since_1970.as_secs();
        let (last, mut text) = LAST_SECOND.get();
        if last != second {
            text = format_second(second);
            LAST_SECOND.set((second, text));
        }
        let mut timestamp = [b'Z'; TIMESTAMP];
        timestamp[..SECOND].copy_from_slice(&text);
        let mut rest = since_1970.subsec_micros();
        for digit in timestamp[SECOND..TIMESTAMP - 1].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        Self(timestamp)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// `2026-11-27T09:14:07.`
fn format_second(since_1970: u64) -> [u8; SECOND] {
    let time = OffsetDateTime::from_unix_timestamp(since_1970 as i64)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let month = u8::from(month);
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.");
    text.as_bytes().try_into().unwrap_or(*b"0000-00-00T00:00:00.")
}

/// The line that reports dropped lines. It is not an event, because no filter may suppress it and because it
/// must be part of the write that shows whether the log can be written again.
pub(super) fn notice(dropped: u64, format: LogFormat) -> String {
    let time = Timestamp::now();
    let time = time.as_str();
    let subject = if dropped == 1 { "line was" } else { "lines were" };
    let message = format!("{dropped} log {subject} dropped because the log could not be written");
    let target = "frontdesk::log";
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
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt as _;
    use tracing::instrument::WithSubscriber as _;
    use tracing_subscriber::fmt;

    use super::*;
    use request::in_request;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// Logs in a request with a nested span, and outside of both.
    fn log_some(subscriber: impl Subscriber + Send + Sync, client_ip: Option<IpAddr>) {
        let work = async {
            tracing::debug_span!("page", user = 7, name = "Ada \"é\"").in_scope(|| {
                tracing::warn!(count = 3_u64, text = "a\nb", "nested");
            });
            tracing::info!(percent = 0.5, is_set = true, "plain");
        };
        let request = LoggedRequest { id: Uuid::nil(), client_ip };
        let all = async {
            in_request(request, work).await;
            tracing::info!("outside");
        };
        all.with_subscriber(subscriber).now_or_never();
    }

    #[test]
    fn text_lines_have_the_request_then_the_spans_then_the_fields() {
        let output = Output::default();
        let writer = output.clone();
        let builder = fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
        let subscriber = builder
            .fmt_fields(DefaultFields::new())
            .event_format(TextLine)
            .with_writer(move || writer.clone())
            .finish();
        log_some(subscriber, Some([203, 0, 113, 7].into()));
        let request = "request{id=00000000-0000-0000-0000-000000000000 client_ip=203.0.113.7}:";
        let target = module_path!();
        let span = r#"page{user=7 name="Ada \"é\""}:"#;
        let expected = [
            format!("  WARN {request}{span} {target}: nested count=3 text=\"a\\nb\""),
            format!("  INFO {request} {target}: plain percent=0.5 is_set=true"),
            format!("  INFO {target}: outside"),
        ];
        let text = output.text();
        let without_times: Vec<&str> = text.lines().map(|line| &line[TIMESTAMP..]).collect();
        assert_eq!(without_times, expected);
    }

    #[test]
    fn json_lines_are_objects_with_the_request_among_the_spans() {
        let output = Output::default();
        let writer = output.clone();
        let builder = fmt().with_max_level(tracing::Level::DEBUG);
        let subscriber = builder
            .fmt_fields(JsonFields::new())
            .event_format(JsonLine { has_span_list: true })
            .with_writer(move || writer.clone())
            .finish();
        log_some(subscriber, None);
        let mut found: Vec<Value> =
            output.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &mut found {
            let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert_eq!(time.as_str().unwrap().len(), TIMESTAMP);
        }
        let request = json!({ "id": Uuid::nil(), "name": "request" });
        // As with tracing-subscriber, the name of the span replaces a field `name`.
        let page = json!({ "user": 7, "name": "page" });
        let target = module_path!();
        let expected = [
            json!({ "level": "WARN", "target": target, "span": page, "spans": [request, page],
                    "fields": { "message": "nested", "count": 3, "text": "a\nb" } }),
            json!({ "level": "INFO", "target": target, "span": request, "spans": [request],
                    "fields": { "message": "plain", "percent": 0.5, "is_set": true } }),
            json!({ "level": "INFO", "target": target, "fields": { "message": "outside" } }),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn timestamps_are_rfc_3339_in_utc_with_microseconds() {
        let at = |seconds, micros: u32| {
            Timestamp::of(Duration::new(seconds, micros * 1_000)).as_str().to_owned()
        };
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(1_795_770_847, 120_344), "2026-11-27T09:14:07.120344Z");
        assert_eq!(at(1_795_770_847, 7), "2026-11-27T09:14:07.000007Z");
        assert_eq!(at(1_795_770_848, 999_999), "2026-11-27T09:14:08.999999Z");
        assert_eq!(at(951_782_400, 1), "2000-02-29T00:00:00.000001Z");
    }
}
