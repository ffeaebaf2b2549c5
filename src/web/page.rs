//! A page: a template, what it is given, and what every page knows (who looks at it, the notice of the
//! last action, the path, the request id).

use actix_web::body::BoxBody;
use actix_web::cookie::Cookie;
use actix_web::dev::{Payload, ResponseHead};
use actix_web::http::{Method, StatusCode, header};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::borrow::Cow;
use std::future::{Ready, ready};
use std::time::Duration;
use tera::{Context, Tera};
use uuid::Uuid;

use super::error::{self, HttpError};
use super::flash::{Flash, Notice};
use super::relative_time;

/// Who looks at the page, for its header.
#[derive(Clone, Debug, Serialize)]
pub struct Viewer {
    /// What we call them.
    pub display_name: String,
    /// Their address.
    pub email: String,
}

/// Puts templates and request together.
pub struct Page {
    request: HttpRequest,
    tera: web::Data<Tera>,
    flash: web::Data<Flash>,
}

impl Page {
    /// 200 with a template.
    pub fn show(&self, template: &str, data: &impl Serialize) -> Result<HttpResponse, HttpError> {
        self.show_with(StatusCode::OK, template, data)
    }

    /// A form again, with what is wrong with it (422).
    pub fn show_refused(
        &self,
        template: &str,
        data: &impl Serialize,
    ) -> Result<HttpResponse, HttpError> {
        self.show_with(StatusCode::UNPROCESSABLE_ENTITY, template, data)
    }

    /// A form again, to be sent later (429).
    pub fn show_throttled(
        &self,
        template: &str,
        data: &impl Serialize,
        retry_after: Duration,
    ) -> Result<HttpResponse, HttpError> {
        let response = self.show_with(StatusCode::TOO_MANY_REQUESTS, template, data)?;
        Ok(error::with_retry_after(response, retry_after))
    }

    /// Any status with a template.
    pub fn show_with(
        &self,
        status: StatusCode,
        template: &str,
        data: &impl Serialize,
    ) -> Result<HttpResponse, HttpError> {
        let cookie = self.request.cookie(self.flash.name());
        let notice = cookie.as_ref().and_then(|cookie| self.flash.open(cookie));
        let html = {
            let extensions = self.request.extensions();
            let (path, viewer) = (self.request.path(), extensions.get::<Viewer>());
            let facts = Facts { path, viewer, notice: notice.as_ref() };
            render(&self.tera, template, &facts, data)?
        };
        let mut response = HttpResponse::build(status);
        response.content_type("text/html; charset=utf-8").insert_header((header::VARY, "Cookie"));
        if cookie.is_some() {
            response.cookie(self.flash.removal());
        }
        Ok(response.body(html))
    }

    /// 303 to a path of ours.
    pub fn redirect(&self, to: &str) -> HttpResponse {
        HttpResponse::SeeOther().insert_header((header::LOCATION, to)).finish()
    }

    /// 303 to a path of ours, where `notice` is shown once.
    pub fn redirect_with(&self, to: &str, notice: &Notice) -> HttpResponse {
        let cookie: Cookie<'static> = self.flash.seal(notice);
        HttpResponse::SeeOther().insert_header((header::LOCATION, to)).cookie(cookie).finish()
    }

    /// 307 to a path of ours: the browser sends there what it sent here.
    pub fn redirect_preserving_method(&self, to: &str) -> HttpResponse {
        HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, to)).finish()
    }

    /// The request the page answers.
    pub fn request(&self) -> &HttpRequest {
        &self.request
    }
}

impl FromRequest for Page {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let made =
            match (request.app_data::<web::Data<Tera>>(), request.app_data::<web::Data<Flash>>()) {
                (Some(tera), Some(flash)) => {
                    Ok(Page { request: request.clone(), tera: tera.clone(), flash: flash.clone() })
                }
                _ => Err(HttpError::Internal(anyhow::anyhow!("pages are not set up"))),
            };
        ready(made)
    }
}

/// What every page knows.
pub(super) struct Facts<'a> {
    pub(super) path: &'a str,
    pub(super) viewer: Option<&'a Viewer>,
    pub(super) notice: Option<&'a Notice>,
}

pub(super) fn render(
    tera: &Tera,
    template: &str,
    facts: &Facts<'_>,
    data: &impl Serialize,
) -> Result<String, HttpError> {
    let render = || {
        let mut context = Context::from_serialize(data)?;
        context.insert("path", facts.path);
        context.insert("viewer", &facts.viewer);
        context.insert("notice", &facts.notice);
        tera.render(template, &context)
    };
    render().map_err(|error| {
        HttpError::Internal(anyhow::Error::new(error).context(template.to_owned()))
    })
}

/// The body of an error page, for [`super::outer`]. Below `/account` it keeps the layout of an account, for somebody
/// who is known to be signed in.
pub(super) fn error_page(
    tera: &Tera,
    facts: &Facts<'_>,
    request: Uuid,
    method: &Method,
    head: &ResponseHead,
) -> Option<BoxBody> {
    let (title, message) = words(head, method.is_safe());
    let data = serde_json::json!({
        "request_id": request,
        "status": head.status.as_u16(),
        "title": title,
        "message": message,
        "retry": tries_again(head.status, method),
    });
    let is_account = facts.path == "/account" || facts.path.starts_with("/account/");
    let template = match facts.viewer {
        Some(_) if is_account => "error_account.html",
        _ => "error.html",
    };
    match render(tera, template, facts, &data) {
        Ok(html) => Some(BoxBody::new(html)),
        Err(error) => {
            tracing::error!(%error, "the error page could not be made");
            None
        }
    }
}

/// Whether the page asks for itself again: only what may be asked twice without doing anything twice.
pub(super) fn tries_again(status: StatusCode, method: &Method) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE && method.is_safe()
}

fn words(head: &ResponseHead, is_safe: bool) -> (&'static str, Cow<'static, str>) {
    let (title, message) = match head.status.as_u16() {
        400 => ("We couldn't understand that request", "Go back and try again."),
        403 => ("This request came from another site", "Open the page on this site and try again."),
        404 => ("Page not found", "The page may have moved, or the URL has a typo."),
        405 => ("This action isn't available here", "Use the buttons and forms on the page."),
        408 => ("The request timed out", "Check your connection and try again."),
        413 => ("That's too much data", "Shorten it and try again."),
        415 => ("Unsupported format", "Use the form on the page."),
        429 => {
            let wait = error::retry_after(&head.headers)
                .map_or_else(|| "a moment".to_owned(), relative_time::wait);
            let message = format!("Too many requests. Wait {wait}, then try again.");
            return ("Please wait a moment", message.into());
        }
        503 if is_safe => (
            "We'll be right back",
            "You haven't been signed out. This page will reload automatically in a few seconds.",
        ),
        503 => (
            "We'll be right back",
            "You haven't been signed out. Your last change may not have been saved – go back, check, and try again.",
        ),
        _ => (
            "Something went wrong on our end",
            "It's not your fault, and we've logged it. Try again in a minute.",
        ),
    };
    (title, message.into())
}
