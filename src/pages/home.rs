//! `GET /`: the name of the site and the button to sign in; for a signed-in user, a greeting and links to the
//! account.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::web::error::HttpError;
use crate::web::page::Page;

#[derive(Serialize)]
struct Data {
    /// Independent of the time of day, because the server does not know the visitor's time zone.
    greeting: &'static str,
    registration_open: bool,
}

/// `GET /`.
#[tracing::instrument(name = "home_page", level = "debug", skip_all)]
pub async fn show(app: web::Data<App>, page: Page) -> Result<HttpResponse, HttpError> {
    page.show(
        "home.html",
        &Data { greeting: "Welcome back", registration_open: app.registration_is_open() },
    )
}
