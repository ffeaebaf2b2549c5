//! The page of a link that does nothing any more: used, too old, overtaken, or never one of ours. The same page for all of
//! them, with the road that is still open.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;

use crate::web::error::HttpError;
use crate::web::headers::without_referrer;
use crate::web::page::Page;

/// What to do instead.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Instead {
    pub(super) text: &'static str,
    pub(super) href: &'static str,
    pub(super) label: &'static str,
}

/// 410.
pub(super) fn show(page: &Page, instead: Instead) -> Result<HttpResponse, HttpError> {
    #[derive(Serialize)]
    struct Data {
        instead: Instead,
    }
    let data = Data { instead };
    page.show_with(StatusCode::GONE, "sign_in/link_gone.html", &data).map(without_referrer)
}
