//! The outermost middleware. It adds a request id, one log line, a deadline and the fixed headers to every
//! request, and renders an error page for every error of a handler, of actix-web, of the session store, and
//! for a panic.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ResponseHead, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpResponse, ResponseError as _, web};
use futures_util::FutureExt as _;
use serde_json::json;
use uuid::Uuid;

use super::caller::Caller;
use super::client::{self, RequestId};
use super::connection::Exchange;
use super::error::{BrokenTemplate, HttpError, NoAccess};
use super::headers::ForeignHome;
use super::limits::{Deadline, Limits};
use super::page::{self, FailedRequest};
use super::page_templates::{PageContext, PageTemplates, Viewer};
use super::{content_coding, headers, return_to};
use crate::config::Hsts;
use crate::log::{self, LoggedRequest};

/// Settings of the middleware.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outer {
    /// The scope of `Strict-Transport-Security`; `None`: the public URL is not https.
    pub hsts: Option<Hsts>,
    /// Whether log lines contain the IP address of the client.
    pub log_client_ip: bool,
}

/// The middleware.
pub async fn wrap(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let exchange = Exchange::begin(&mut request);
    let id = Uuid::now_v7();
    request.extensions_mut().insert(RequestId(id));
    let outer = request.app_data::<web::Data<Outer>>().map(|outer| ***outer).unwrap_or_default();
    let ip = client::ip_address(request.request());
    let client_ip = ip.filter(|_| outer.log_client_ip);
    let answered = client::with_ip(ip, answer(request, next, exchange, id, outer.hsts));
    log::in_request(LoggedRequest { id, client_ip }, answered).await
}

async fn answer(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    exchange: Exchange,
    id: Uuid,
    hsts: Option<Hsts>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started_at = Instant::now();
    let templates = request.app_data::<web::Data<PageTemplates>>().cloned();
    let uri = request.uri().clone();
    let method = request.method().clone();

    let accepts_page = Caller::accepts_page(request.request());
    let deadline = Deadline::new(Limits::usual_deadline(&method));
    request.extensions_mut().insert(deadline.clone());
    let handled = deadline.within(next.call(request));
    let caught = AssertUnwindSafe(handled).catch_unwind().await;
    let outcome = match caught {
        Ok(Some(outcome)) => outcome.map(ServiceResponse::map_into_boxed_body),
        Ok(None) => {
            let passed = anyhow::anyhow!("no response within {:?}", deadline.after());
            Err(HttpError::unavailable(passed).into())
        }
        Err(_) => Err(HttpError::Internal(anyhow::anyhow!("a handler panicked")).into()),
    };
    let page = ErrorPage {
        templates: templates.as_ref().map(|templates| templates.get_ref()),
        uri: &uri,
        viewer: None,
        has_no_access: false,
        broken_template: None,
        is_of_handler: false,
        accepts_page,
        id,
        method: &method,
        foreign_home: None,
    };
    match outcome {
        Ok(mut response) => {
            let status = response.status();
            if status.is_client_error() || status.is_server_error() {
                let viewer = response.request().extensions().get::<Viewer>().cloned();
                let foreign_home = ForeignHome::of(response.request()).map(str::to_owned);
                let broken_template = broken_template(response.response());
                let page = ErrorPage {
                    viewer: viewer.as_ref(),
                    has_no_access: response.response().extensions().get::<NoAccess>().is_some(),
                    broken_template: broken_template.as_deref(),
                    is_of_handler: response.response().error().is_none(),
                    foreign_home: foreign_home.as_deref(),
                    ..page
                };
                response = response.map_body(|head, body| page.replace(head, body));
            }
            let pattern = response.request().match_pattern();
            response = content_coding::compress_page(response, pattern.as_deref());
            add_headers(response.headers_mut(), id, hsts);
            response = response.map_body(|head, body| exchange.end(head, body));
            log_request(&method, pattern.as_deref(), status, started_at);
            Ok(response)
        }
        Err(error) => {
            let mut response = response_to(&error);
            let status = response.status();
            let has_no_access = response.extensions().get::<NoAccess>().is_some();
            let problem = broken_template(&response);
            let page = ErrorPage { has_no_access, broken_template: problem.as_deref(), ..page };
            response = response.map_body(|head, body| page.replace(head, body));
            add_headers(response.headers_mut(), id, hsts);
            response = response.map_body(|head, body| exchange.end(head, body));
            log_request(&method, None, status, started_at);
            Err(InternalError::from_response(error, response).into())
        }
    }
}

/// The response to an error. A server error of another type is from the session store and means that the database is
/// unavailable. The cookies are not changed.
fn response_to(error: &Error) -> HttpResponse {
    match error.as_error::<HttpError>() {
        Some(error) => error.error_response(),
        None if error.as_response_error().status_code().is_server_error() => {
            HttpError::unavailable(anyhow::anyhow!("{error}")).error_response()
        }
        None => error.error_response(),
    }
}

/// 405, with the methods that the resource supports.
pub fn method_not_allowed(allowed: &str) -> HttpResponse {
    HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, allowed)).finish()
}

/// What is wrong with a template, in development.
fn broken_template<B>(response: &HttpResponse<B>) -> Option<String> {
    response.extensions().get::<BrokenTemplate>().map(|BrokenTemplate(problem)| problem.clone())
}

/// What an error page needs to know of its request.
#[derive(Clone, Copy)]
struct ErrorPage<'a> {
    templates: Option<&'a PageTemplates>,
    uri: &'a Uri,
    viewer: Option<&'a Viewer>,
    has_no_access: bool,
    /// What is wrong with a template, in development.
    broken_template: Option<&'a str>,
    /// The handler returned the response, and no error.
    is_of_handler: bool,
    /// Otherwise the client gets JSON.
    accepts_page: bool,
    id: Uuid,
    method: &'a Method,
    foreign_home: Option<&'a str>,
}

impl ErrorPage<'_> {
    /// Whether the response is an error whose content the client may get: the handler has set its type.
    /// actix-web gives errors a `text/plain` body, which is for developers.
    fn is_complete(&self, head: &ResponseHead, body: &BoxBody) -> bool {
        let is_empty = matches!(body.size(), BodySize::None | BodySize::Sized(0));
        let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_own =
            kind.is_some_and(|kind| self.is_of_handler || !kind.starts_with(b"text/plain"));
        !is_empty && is_own
    }

    /// The error page or, for a script, JSON. `body` if the response is no error or is complete.
    fn replace(&self, head: &mut ResponseHead, body: BoxBody) -> BoxBody {
        let is_error = head.status.is_client_error() || head.status.is_server_error();
        if !is_error || self.is_complete(head, &body) {
            return body;
        }
        // They describe the body that is replaced, and a shared cache must not keep the page of a user.
        for name in DESCRIBE_BODY {
            head.headers.remove(name);
        }
        if !self.accepts_page {
            let json = HeaderValue::from_static("application/json");
            head.headers.insert(header::CONTENT_TYPE, json);
            return BoxBody::new(json!({ "error": error_code(head.status) }).to_string());
        }
        let context = PageContext {
            path: self.uri.path(),
            viewer: self.viewer,
            notice: None,
            form_token: "",
            is_site_page: false,
        };
        let failed = FailedRequest {
            own_address: &return_to::own_address(self.uri),
            id: self.id,
            method: self.method,
            has_no_access: self.has_no_access,
            broken_template: self.broken_template,
        };
        let page = self
            .templates
            .and_then(|templates| page::error_page(templates, &context, &failed, head));
        let Some(page) = page else { return body };
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        head.headers.insert(header::CONTENT_TYPE, html);
        // The handler may have set another one. `headers::apply` adds the usual one.
        head.headers.remove(header::CONTENT_SECURITY_POLICY);
        let policy = headers::policy_of_error_page(self.foreign_home);
        if let Some(policy) = policy.filter(|_| self.viewer.is_some()) {
            head.headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        if page::should_reload(head.status, self.method) {
            head.headers.insert(header::REFRESH, HeaderValue::from_static("5"));
        }
        page
    }
}

/// Headers of a handler's response that do not hold for the error page in its place.
const DESCRIBE_BODY: [HeaderName; 6] = [
    header::CACHE_CONTROL,
    header::EXPIRES,
    header::ETAG,
    header::LAST_MODIFIED,
    header::CONTENT_ENCODING,
    header::CONTENT_DISPOSITION,
];

/// The name of an error for scripts, by its status: `not_found`.
fn error_code(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("error").to_ascii_lowercase().replace([' ', '-'], "_")
}

fn add_headers(headers: &mut header::HeaderMap, id: Uuid, hsts: Option<Hsts>) {
    static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    headers::apply(headers, hsts);
    if let Ok(id) = HeaderValue::from_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    {
        headers.insert(X_REQUEST_ID.clone(), id);
    }
}

/// Logs the pattern of the route and not the path, because a path may contain a secret.
fn log_request(method: &Method, pattern: Option<&str>, status: StatusCode, started_at: Instant) {
    let tenths = (started_at.elapsed().as_micros() + 50) / 100;
    tracing::info!(
        %method,
        route = pattern.unwrap_or("-"),
        status = status.as_u16(),
        milliseconds = format!("{}.{}", tenths / 10, tenths % 10),
        "answered"
    );
}
