//! A page: a template, what it is given, and what every page knows (who looks at it, the notice of the
//! last action, the path, the request id).

use actix_web::body::BoxBody;
use actix_web::cookie::Cookie;
use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _, web,
};
use serde::Serialize;
use std::future::{Ready, ready};
use std::time::Duration;
use tera::{Context, Tera};
use uuid::Uuid;

use super::error::HttpError;
use super::flash::{Flash, Notice};

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
        let mut response = self.show_with(StatusCode::TOO_MANY_REQUESTS, template, data)?;
        let told = HttpError::SlowDown { retry_after }.error_response();
        if let Some(seconds) = told.headers().get(header::RETRY_AFTER) {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.clone());
        }
        Ok(response)
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
    pub fn send_on(&self, to: &str) -> HttpResponse {
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

/// The body and type of an error page, for [`super::envelope`].
pub(super) fn error_page(
    tera: &Tera,
    facts: &Facts<'_>,
    request: Uuid,
    status: StatusCode,
) -> Option<BoxBody> {
    let words = words(status);
    let data = serde_json::json!({
        "request_id": request,
        "status": status.as_u16(),
        "title": words.0,
        "message": words.1,
        "retry": status == StatusCode::SERVICE_UNAVAILABLE,
    });
    match render(tera, "error.html", facts, &data) {
        Ok(html) => Some(BoxBody::new(html)),
        Err(error) => {
            tracing::error!(%error, "the error page could not be made");
            None
        }
    }
}

fn words(status: StatusCode) -> (&'static str, &'static str) {
    match status.as_u16() {
        400 => ("That request made no sense to us", "Go back and try once more."),
        403 => (
            "That did not come from our pages",
            "Open the page here, on this site, and do it again.",
        ),
        404 => ("There is nothing here", "The page may have moved, or the address has a typo."),
        405 => ("That can not be done here", "Use the buttons and forms of the page."),
        408 => ("That took too long to arrive", "Check your connection and send it again."),
        413 => ("That is too much for one form", "Shorten it and send it again."),
        415 => ("We can not read that kind of data", "Send it with the form on the page."),
        429 => ("One moment, please", "That was a lot at once. Wait a little and try again."),
        503 => (
            "The desk will be right back",
            "You are still signed in. This page tries again by itself in a few seconds.",
        ),
        _ => (
            "Something broke on our side",
            "It is not your fault, and we have been told. Try again in a minute.",
        ),
    }
}
