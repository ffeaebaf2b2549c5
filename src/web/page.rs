//! Pages: the answers that a handler gives with a template, redirects, and error pages.

use actix_web::body::BoxBody;
use actix_web::cookie::Cookie;
use actix_web::dev::{Payload, ResponseHead};
use actix_web::http::{Method, StatusCode, header};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::future::{Ready, ready};
use std::time::Duration;
use uuid::Uuid;

use super::error::{self, HttpError};
use super::flash::{Flash, Notice};
use super::form_token::{self, Client, FormToken};
use super::headers::ForeignHome;
use super::page_templates::{PageContext, PageTemplates, Viewer};
use super::site_policy::FrontdeskPage;
use super::{cookie_check, cookie_guard, headers, relative_time, site_cookies};
use crate::crypto::seal::Sealer;
use crate::language::Text;
use crate::paths::page_path;

/// Renders responses to one request.
pub struct Page {
    request: HttpRequest,
    templates: web::Data<PageTemplates>,
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
        let templates = self.templates.usable()?;
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
            self.templates.render(&templates, template, &common, data)?
        };
        let mut response = HttpResponse::build(status);
        response
            .content_type("text/html; charset=utf-8")
            .insert_header((header::VARY, "Cookie"))
            .insert_header((
                header::CONTENT_SECURITY_POLICY,
                headers::content_security_policy(
                    self.request.path(),
                    &html,
                    ForeignHome::of(&self.request),
                ),
            ));
        for cookie in sealed_notice.map(|_| self.flash.removal()).into_iter().chain(browser_cookie)
        {
            site_cookies::note_set_by_page(&self.request);
            response.cookie(cookie);
        }
        if !self.is_site_page {
            self.request.extensions_mut().insert(FrontdeskPage);
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
        site_cookies::note_set_by_page(&self.request);
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
        let page = match (
            request.app_data::<web::Data<PageTemplates>>(),
            request.app_data::<web::Data<Flash>>(),
        ) {
            (Some(templates), Some(flash)) => Ok(Page {
                request: request.clone(),
                templates: templates.clone(),
                flash: flash.clone(),
                is_site_page: false,
            }),
            _ => Err(HttpError::Internal(anyhow::anyhow!("pages are not set up"))),
        };
        ready(page)
    }
}

/// A request whose answer is an error.
pub(super) struct FailedRequest<'a> {
    /// Path and query, for the link "Try again".
    pub(super) own_address: &'a str,
    pub(super) id: Uuid,
    pub(super) method: &'a Method,
    /// What is wrong with a template, in development.
    pub(super) broken_template: Option<&'a str>,
    /// The answer is [`HttpError::NoAccess`].
    pub(super) has_no_access: bool,
}

/// The body of an error page, for [`super::outer`]. Below `/account` it has the layout of the account pages if the
/// user is known.
pub(super) fn error_page(
    templates: &PageTemplates,
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
    let account = page_path("/account");
    let below = common.path.strip_prefix(account.as_str());
    let is_account = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let template = match common.viewer {
        Some(_) if is_account => "error_account.html",
        _ => "error.html",
    };
    match templates.render(&templates.current(), template, common, &data) {
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

fn text(head: &ResponseHead, request: &FailedRequest<'_>, viewer: Option<&Viewer>) -> (Text, Text) {
    if let Some(problem) = request.broken_template {
        return (Text::key("error-template-title"), problem.into());
    }
    match head.status.as_u16() {
        400 => (Text::key("error-400-title"), Text::key("error-400")),
        403 if request.has_no_access => {
            (Text::key("error-no-access-title"), Text::key("error-no-access"))
        }
        403 => (Text::key("error-403-title"), Text::key("error-403")),
        404 => (Text::key("error-404-title"), Text::key("error-404")),
        405 => (Text::key("error-405-title"), Text::key("error-405")),
        409 => {
            let title = viewer.map_or_else(
                || Text::key("error-409-title"),
                |viewer| Text::key("error-409-title-email").with("email", &viewer.email),
            );
            (title, Text::key("error-409"))
        }
        408 => (Text::key("error-408-title"), Text::key("error-408")),
        413 => (Text::key("error-413-title"), Text::key("error-413")),
        415 => (Text::key("error-415-title"), Text::key("error-415")),
        429 => {
            let wait = error::retry_after(&head.headers)
                .map_or_else(|| Text::key("wait-moment"), relative_time::wait);
            (Text::key("error-429-title"), Text::key("too-many-requests").with("time", wait))
        }
        503 if request.method.is_safe() => {
            (Text::key("error-503-title"), Text::key("error-503-reload"))
        }
        503 => (Text::key("error-503-title"), Text::key("error-503-form")),
        _ => (Text::key("error-500-title"), Text::key("error-500")),
    }
}
