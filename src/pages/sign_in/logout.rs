//! `POST /logout`. When the response is sent, the session is deleted and no server accepts its cookie.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpResponse, web};

use crate::app::App;
use crate::auth::{self, OptionalUser};
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::Form;
use crate::web::page::Page;

/// `POST /logout`.
#[tracing::instrument(name = "logout", level = "debug", skip_all)]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    visitor: OptionalUser,
    _form: Form,
) -> Result<HttpResponse, HttpError> {
    // It is not an error if the session has already ended.
    auth::sign_out(page.request(), &app, visitor.0).await?.ok();
    let mut response = page.redirect_with("/", &Notice::good("You're signed out."));
    // The back button must not show pages of the account (ASVS 5.0 V14.3.1).
    response
        .headers_mut()
        .insert(HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cache\""));
    Ok(response)
}
