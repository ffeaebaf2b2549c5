//! `GET /`: what this is; signed in, a greeting and the way to the account.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::web::error::HttpError;
use crate::web::page::Page;

#[derive(Serialize)]
struct Data {
    /// Without the hour: the server does not know what time it is where its visitor sits.
    greeting: &'static str,
    registration_open: bool,
}

/// `GET /`.
pub async fn show(app: web::Data<App>, page: Page) -> Result<HttpResponse, HttpError> {
    page.show(
        "home.html",
        &Data { greeting: "Welcome back", registration_open: app.registration_is_open() },
    )
}
