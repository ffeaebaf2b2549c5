//! Renders pages: a template with its data and with the data that every page has (the signed-in user, the
//! notice of the last action, the path).

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
use super::form_token::{self, Client, FormToken};
use super::{cookie_check, cookie_guard, headers, relative_time};
use crate::crypto::seal::Sealer;
use crate::lifetimes;

/// The signed-in user, for the header of the page.
#[derive(Clone, Debug, Serialize)]
pub struct Viewer {
    /// The id of their account.
    #[serde(skip)]
    pub account: Uuid,
    /// The public id of their session.
    #[serde(skip)]
    pub session: Uuid,
    /// Their name.
    pub display_name: String,
    /// Their email.
    pub email: String,
}

/// Renders responses to one request.
pub struct Page {
    request: HttpRequest,
    tera: web::Data<Tera>,
    flash: web::Data<Flash>,
    is_site_page: bool,
}

impl Page {
    /// The same, for a page of the site and not of Frontdesk.
    #[must_use]
    pub fn of_site(self) -> Self {
        Self { is_site_page: true, ..self }
    }

    /// 200 with a template.
    pub fn show(&self, template: &str, data: &impl Serialize) -> Result<HttpResponse, HttpError> {
        self.show_with(StatusCode::OK, template, data)
    }

    /// 422 with the form and its errors.
    pub fn show_refused(
        &self,
        template: &str,
        data: &impl Serialize,
    ) -> Result<HttpResponse, HttpError> {
        self.show_with(StatusCode::UNPROCESSABLE_ENTITY, template, data)
    }

    /// 429 with the form, to be submitted later.
    pub fn show_rate_limited(
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
        let sealed_notice = cookie_guard::other_cookie(&self.request, self.flash.name());
        let notice = sealed_notice.as_deref().and_then(|sealed| self.flash.open(sealed));
        let (form_token, browser_cookie) = self.form_token();
        let html = {
            let extensions = self.request.extensions();
            let common = PageContext {
                path: self.request.path(),
                viewer: extensions.get::<Viewer>(),
                notice: notice.as_ref(),
                form_token: &form_token,
                is_site_page: self.is_site_page,
            };
            render(&self.tera, template, &common, data)?
        };
        let mut response = HttpResponse::build(status);
        response
            .content_type("text/html; charset=utf-8")
            .insert_header((header::VARY, "Cookie"))
            .insert_header((
                header::CONTENT_SECURITY_POLICY,
                headers::content_security_policy(self.request.path(), &html),
            ));
        if sealed_notice.is_some() {
            response.cookie(self.flash.removal());
        }
        if let Some(cookie) = browser_cookie {
            response.cookie(cookie);
        }
        Ok(response.body(html))
    }

    /// The hidden field for the forms of the page, and the cookie that it needs.
    fn form_token(&self) -> (String, Option<Cookie<'static>>) {
        let request = &self.request;
        let Some(sealer) = request.app_data::<web::Data<Sealer>>() else {
            return (String::new(), None);
        };
        if !form_token::is_wanted(request) {
            return (String::new(), None);
        }
        let viewer = request
            .extensions()
            .get::<Viewer>()
            .map(|viewer| Client::Session { account: viewer.account, session: viewer.session });
        let (client, cookie) = match (viewer, cookie_check::offer(request)) {
            (Some(session), _) => (session, None),
            (None, Some((value, cookie))) => (Client::Browser(value), cookie),
            (None, None) => (Client::Any, None),
        };
        (FormToken::new(client).seal(sealer), cookie)
    }

    /// 303 to a path of this site.
    pub fn redirect(&self, to: &str) -> HttpResponse {
        HttpResponse::SeeOther().insert_header((header::LOCATION, to)).finish()
    }

    /// 303 to a path of this site, where `notice` is shown once.
    pub fn redirect_with(&self, to: &str, notice: &Notice) -> HttpResponse {
        let cookie: Cookie<'static> = self.flash.seal(notice);
        HttpResponse::SeeOther().insert_header((header::LOCATION, to)).cookie(cookie).finish()
    }

    /// 307 to a path of this site: the browser repeats the request there, with the same method and body.
    pub fn redirect_preserving_method(&self, to: &str) -> HttpResponse {
        HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, to)).finish()
    }

    /// The current request.
    pub fn request(&self) -> &HttpRequest {
        &self.request
    }
}

impl FromRequest for Page {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let page =
            match (request.app_data::<web::Data<Tera>>(), request.app_data::<web::Data<Flash>>()) {
                (Some(tera), Some(flash)) => Ok(Page {
                    request: request.clone(),
                    tera: tera.clone(),
                    flash: flash.clone(),
                    is_site_page: false,
                }),
                _ => Err(HttpError::Internal(anyhow::anyhow!("pages are not set up"))),
            };
        ready(page)
    }
}

/// The data that every page has.
pub(super) struct PageContext<'a> {
    pub(super) path: &'a str,
    pub(super) viewer: Option<&'a Viewer>,
    pub(super) notice: Option<&'a Notice>,
    /// The hidden field of the forms; empty on error pages, which only have the form that signs out.
    pub(super) form_token: &'a str,
    /// Whether a handler of the site answers with it.
    pub(super) is_site_page: bool,
}

pub(super) fn render(
    tera: &Tera,
    template: &str,
    common: &PageContext<'_>,
    data: &impl Serialize,
) -> Result<String, HttpError> {
    let render = || {
        let mut context = Context::from_serialize(data)?;
        context.insert("path", common.path);
        context.insert("section", &section(common.path));
        context.insert("viewer", &common.viewer);
        context.insert("notice", &common.notice);
        context.insert("form_token", common.form_token);
        context.insert("is_site_page", &common.is_site_page);
        context.insert("lifetimes", &lifetimes::for_templates());
        tera.render(template, &context)
    };
    render().map_err(|error| {
        HttpError::Internal(anyhow::Error::new(error).context(template.to_owned()))
    })
}

/// The page of the account navigation that `path` belongs to: itself or the one above it. Empty for other paths.
fn section(path: &str) -> String {
    let mut segments = path.split('/').skip(1);
    match (segments.next(), segments.next()) {
        (Some("account"), Some("delete")) => "/account/export".to_owned(),
        (Some("account"), Some(name)) => format!("/account/{name}"),
        (Some("account"), None) => path.to_owned(),
        _ => String::new(),
    }
}

/// A request whose answer is an error.
pub(super) struct FailedRequest<'a> {
    /// Path and query, for the link "Try again".
    pub(super) own_address: &'a str,
    pub(super) id: Uuid,
    pub(super) method: &'a Method,
    /// The answer is [`HttpError::NoAccess`].
    pub(super) has_no_access: bool,
}

/// The body of an error page, for [`super::outer`]. Below `/account` it has the layout of the account pages if the
/// user is known.
pub(super) fn error_page(
    tera: &Tera,
    common: &PageContext<'_>,
    request: &FailedRequest<'_>,
    head: &ResponseHead,
) -> Option<BoxBody> {
    let (title, message) = text(head, request, common.viewer);
    let data = serde_json::json!({
        "request_id": request.id,
        "status": head.status.as_u16(),
        "title": title,
        "message": message,
        "retry": should_reload(head.status, request.method).then_some(request.own_address),
    });
    let is_account = common.path == "/account" || common.path.starts_with("/account/");
    let template = match common.viewer {
        Some(_) if is_account => "error_account.html",
        _ => "error.html",
    };
    match render(tera, template, common, &data) {
        Ok(html) => Some(BoxBody::new(html)),
        Err(error) => {
            tracing::error!(%error, "the error page could not be rendered");
            None
        }
    }
}

/// Whether the error page reloads automatically: only for safe methods, which can be repeated.
pub(super) fn should_reload(status: StatusCode, method: &Method) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE && method.is_safe()
}

fn text(
    head: &ResponseHead,
    request: &FailedRequest<'_>,
    viewer: Option<&Viewer>,
) -> (Cow<'static, str>, Cow<'static, str>) {
    let (title, message) = match head.status.as_u16() {
        400 => ("We couldn't understand that request", "Go back and try again."),
        403 if request.has_no_access => (
            "You don't have access to this page",
            "Sign in with an account that has access, or ask the people who run this site.",
        ),
        403 => ("This request came from another site", "Open the page on this site and try again."),
        404 => ("Page not found", "The page may have moved, or the URL has a typo."),
        405 => ("This action isn't available here", "Use the buttons and forms on the page."),
        409 => {
            let title = viewer.map_or_else(
                || "You are signed in to another account".to_owned(),
                |viewer| format!("You are signed in as {}", viewer.email),
            );
            let message = "The page you used was opened with another account, so nothing was changed. To use that account, sign out and sign in with it.";
            return (title.into(), message.into());
        }
        408 => ("The request timed out", "Check your connection and try again."),
        413 => ("That's too much data", "Shorten it and try again."),
        415 => ("Unsupported format", "Use the form on the page."),
        429 => {
            let wait = error::retry_after(&head.headers)
                .map_or_else(|| "a moment".to_owned(), relative_time::wait);
            let message = format!("Too many requests. Wait {wait}, then try again.");
            return ("Please wait a moment".into(), message.into());
        }
        503 if request.method.is_safe() => (
            "We'll be right back",
            "You haven't been signed out. This page will reload automatically in a few seconds.",
        ),
        503 => (
            "We'll be right back",
            "You haven't been signed out. Your last change may not have been saved, or it may have been: go back and check before you try again.",
        ),
        _ => (
            "Something went wrong on our end",
            "It's not your fault, and we've logged it. Try again in a minute.",
        ),
    };
    (title.into(), message.into())
}
