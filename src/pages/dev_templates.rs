//! `GET /dev/templates`: every page and mail in every state, with its sample, in both color schemes. It exists where the
//! development mailbox does (`dev_mailbox::is_available`).

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::web::error::HttpError;
use crate::web::page::Page;
use crate::web::page_templates::PageTemplates;

/// Of the page with the frames.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Of a page in a frame. Its forms and scripts do nothing.
const FRAME_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'self'; sandbox allow-same-origin";
/// Of a mail in a frame. Mails have their styles in the markup.
const MAIL_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'self'; sandbox";

/// The query string.
#[derive(Deserialize)]
pub struct Query {
    /// A sample, such as `account/sessions.many`.
    sample: String,
}

#[derive(Serialize)]
struct ListPage {
    samples: Vec<String>,
}

#[derive(Serialize)]
struct ShowPage {
    sample: String,
}

/// `GET /dev/templates`.
pub async fn list(
    page: Page,
    templates: web::Data<PageTemplates>,
) -> Result<HttpResponse, HttpError> {
    let samples = templates.samples().iter().map(ToString::to_string).collect();
    page.show("dev_templates/list.html", &ListPage { samples })
}

/// `GET /dev/templates/sample`: one sample in two frames.
pub async fn show(page: Page, query: Option<web::Query<Query>>) -> Result<HttpResponse, HttpError> {
    let sample = query.ok_or(HttpError::NotFound)?.into_inner().sample;
    let mut response = page.show("dev_templates/show.html", &ShowPage { sample })?;
    let policy = HeaderValue::from_static(POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// `GET /dev/templates/frame`: the page or mail of a sample. The color scheme is that of the frame.
pub async fn frame(
    templates: web::Data<PageTemplates>,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, HttpError> {
    let name = query.ok_or(HttpError::NotFound)?.into_inner().sample;
    let samples = templates.samples();
    let sample = samples.iter().find(|sample| sample.to_string() == name);
    let sample = sample.ok_or(HttpError::NotFound)?;
    let html = templates.show_sample(sample)?;
    let policy = if sample.is_mail() { MAIL_POLICY } else { FRAME_POLICY };
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((HeaderName::from_static("x-frame-options"), "SAMEORIGIN"))
        .body(html))
}
