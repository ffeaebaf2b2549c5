//! `POST /logout`. When the response is sent, the session is deleted and no server accepts its cookie.

use actix_web::{HttpResponse, web};

use crate::app::{App, redirect_home};
use crate::auth::{self, OptionalUser};
use crate::language::Text;
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
    Ok(redirect_home(&page, &app, &Notice::good(Text::key("signed-out"))))
}
