//! `GET`, `POST /account/export`: everything that is stored about the user, as one JSON file. The button
//! requires a recent authentication. The browser downloads the file and never renders it in the origin of
//! this site.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::auth::{CurrentUser, RecentlyAuthenticated};
use crate::user::email::address::EmailAddress;
use crate::user::export::export;
use crate::user::rate_limit::{Action, Attempt};
use crate::web::error::HttpError;
use crate::web::form::Form;
use crate::web::page::Page;

#[derive(Serialize)]
struct Data {
    /// The user must enter the password before the form is processed.
    asks_for_password: bool,
}

/// `GET /account/export`.
#[tracing::instrument(name = "export_page", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn show(page: Page, user: CurrentUser) -> Result<HttpResponse, HttpError> {
    page.show(
        "account/export.html",
        &Data { asks_for_password: !RecentlyAuthenticated::is_recent(&user.session) },
    )
}

/// `POST /account/export`.
#[tracing::instrument(name = "export_data", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    RecentlyAuthenticated(user): RecentlyAuthenticated,
    _form: Form,
) -> Result<HttpResponse, HttpError> {
    let requester = user.requester(page.request());
    let email = EmailAddress::parse(&user.account.email).ok();
    let attempt = Attempt::of(Action::Export).email(email.as_ref()).requester(&requester);
    // Stays counted if the export fails: otherwise exports that time out would not be rate limited.
    let _permit = attempt.check(&app.pool).await?;
    let data = export(&app.pool, &requester).await??;
    let text = serde_json::to_string_pretty(&data).map_err(|error| {
        HttpError::Internal(anyhow::Error::new(error).context("an export could not be written"))
    })?;
    let mut response = HttpResponse::Ok()
        .content_type("application/json; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"your-account.json\""))
        .body(text);
    // It contains user input (names, user agents), which must not run as a script if the file is opened as a
    // page.
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox"),
    );
    Ok(response)
}
