//! The page for a link that does not work: used, expired, replaced by a newer one, or never issued. The page
//! is the same for all of them and offers an alternative.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;

use crate::web::error::HttpError;
use crate::web::headers::without_referrer;
use crate::web::page::Page;

/// The alternative that the page offers.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Instead {
    pub(super) text: &'static str,
    pub(super) href: &'static str,
    pub(super) label: &'static str,
}

/// The page, with status 410.
pub(super) fn show(page: &Page, instead: Instead) -> Result<HttpResponse, HttpError> {
    #[derive(Serialize)]
    struct Data {
        instead: Instead,
    }
    let data = Data { instead };
    page.show_with(StatusCode::GONE, "sign_in/link_gone.html", &data).map(without_referrer)
}
