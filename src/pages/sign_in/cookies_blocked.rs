//! The page for a browser that accepts no cookies (403). A sign-in would create a session that it never uses,
//! and show the sign-in form again.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;

use crate::web::error::HttpError;
use crate::web::page::Page;

/// Renders the page. `again`: the form to try again.
pub(super) fn show(page: &Page, again: &str) -> Result<HttpResponse, HttpError> {
    #[derive(Serialize)]
    struct Data<'a> {
        again: &'a str,
    }
    page.show_with(StatusCode::FORBIDDEN, "sign_in/cookies_blocked.html", &Data { again })
}
