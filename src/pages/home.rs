//! `GET /`: the way to the home page of the site. Without one, its name and the buttons to sign in and register, or for
//! a signed-in user the way to the account.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::language::Text;
use crate::web::error::HttpError;
use crate::web::page::Page;

#[derive(Serialize)]
struct Data {
    /// Independent of the time of day, because the server does not know the visitor's time zone.
    greeting: Text,
    registration_open: bool,
}

/// `GET /`.
#[tracing::instrument(name = "home_page", level = "debug", skip_all)]
pub async fn show(app: web::Data<App>, page: Page) -> Result<HttpResponse, HttpError> {
    if let Some(home) = &app.config.links.home {
        return Ok(HttpResponse::Found().insert_header((header::LOCATION, home.as_str())).finish());
    }
    page.show(
        "home.html",
        &Data {
            greeting: Text::key("home-greeting"),
            registration_open: app.registration_is_open(),
        },
    )
}
