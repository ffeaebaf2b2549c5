//! `POST /logout`: the row is gone before the answer leaves; every copy of the cookie is dead with it.

use actix_web::http::header::HeaderName;
use actix_web::http::header::HeaderValue;
use actix_web::{HttpResponse, web};

use crate::app::App;
use crate::auth::{self, Visitor};
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::Form;
use crate::web::page::Page;

/// `POST /logout`.
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    visitor: Visitor,
    _form: Form,
) -> Result<HttpResponse, HttpError> {
    // Signing out of a session that has ended is no error.
    auth::sign_out(page.request(), &app, visitor.0).await?.ok();
    let mut response = page.redirect_with("/", &Notice::good("You're signed out."));
    // Pages of the account must not come back by the back button (ASVS 5.0 V14.3.1).
    response
        .headers_mut()
        .insert(HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cache\""));
    Ok(response)
}
