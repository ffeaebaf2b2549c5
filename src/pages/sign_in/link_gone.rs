//! The page for an invalid link: used, expired, replaced by a newer one, or never issued. It is the same in
//! all cases and offers an alternative.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;

use crate::web::error::HttpError;
use crate::web::page::Page;

/// The alternative that the page offers.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Alternative {
    pub(super) text: &'static str,
    pub(super) href: &'static str,
    pub(super) label: &'static str,
}

/// Renders the page (410).
pub(super) fn show(page: &Page, alternative: Alternative) -> Result<HttpResponse, HttpError> {
    #[derive(Serialize)]
    struct Data {
        alternative: Alternative,
    }
    let data = Data { alternative };
    page.show_with(StatusCode::GONE, "sign_in/link_gone.html", &data)
}
