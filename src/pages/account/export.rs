//! `GET`, `POST /account/export`: everything that is stored about the user, as one JSON file. The button
//! requires a recent authentication. The browser downloads the file and never renders it in the origin of
//! this site. A long file is sent while it is read from the database; if that fails, the connection is closed
//! before the end of the body, so that the browser reports a failed download.

use std::future::ready;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use crate::app::App;
use crate::auth::{CurrentUser, RecentlyAuthenticated};
use crate::mail::address::EmailAddress;
use crate::user::export::{self, ExportError};
use crate::user::rate_limit::{Action, Attempt};
use crate::web::error::HttpError;
use crate::web::form::Form;
use crate::web::page::Page;

/// The page and its form.
pub(super) const PATH: &str = "/account/export";
/// A file up to about this length, in bytes, is read completely before it is sent. The response then has a
/// Content-Length, and an error is an error page.
const SENT_WHOLE: usize = 128 * 1024;
/// `Retry-After` while too many exports are running.
const BUSY_RETRY: Duration = Duration::from_secs(30);

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
    let email = EmailAddress::stored(&user.account.email);
    let attempt = Attempt::of(Action::Export).email(Some(&email)).requester(&requester);
    // Stays counted if the export fails: otherwise exports that time out would not be rate limited.
    let _permit = attempt.check(&app.pool, &app.sealer).await?;
    let mut export =
        export::start(&app.pool, &app.sealer, &app.hooks, &app.exports, &requester).await?;
    let mut head = String::new();
    while head.len() < SENT_WHOLE {
        match export.next().await? {
            Some(part) => head += &part,
            None => return Ok(file().body(head)),
        }
    }
    let rest = stream::try_unfold(export, |mut export| async move {
        let part = export.next().await?;
        Ok::<_, ExportError>(part.map(|part| (Bytes::from(part), export)))
    });
    let rest = rest.inspect_err(|error| {
        tracing::warn!(%error, "an export ended incomplete; its connection is closed");
    });
    Ok(file().streaming(stream::once(ready(Ok(Bytes::from(head)))).chain(rest)))
}

/// The response, still without its body.
fn file() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type("application/json; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"your-account.json\""))
        // It contains user input (names, user agents), which must not run as a script if the file is opened
        // as a page.
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; sandbox",
        ));
    response
}

impl From<ExportError> for HttpError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::SessionEnded => HttpError::SignInAgain,
            ExportError::Busy => HttpError::Unavailable { retry_after: BUSY_RETRY, cause: None },
            ExportError::TooSlow => HttpError::unavailable(anyhow::Error::new(error)),
            ExportError::Database(error) => error.into(),
        }
    }
}
