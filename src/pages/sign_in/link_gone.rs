//! The page for an invalid link: used, expired, replaced by a newer one, or never issued. It is the same in
//! all cases and offers an alternative.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;

use crate::app::App;
use crate::audit::EventKind;
use crate::auth;
use crate::crypto::secret::Digest;
use crate::language::Text;
use crate::user::email;
use crate::user::rate_limit::Permit;
use crate::web::error::HttpError;
use crate::web::page::Page;

/// The alternative that the page offers.
#[derive(Clone, Copy)]
pub(super) struct Alternative {
    pub(super) text: fn() -> Text,
    pub(super) href: &'static str,
    /// The key of the button's message.
    pub(super) label: &'static str,
}

/// Records that a form was sent with an invalid link, and renders the page. `token`: that of the link, if the form has
/// one.
pub(super) async fn refuse(
    app: &App,
    page: &Page,
    permit: &Permit,
    token: Option<&Digest>,
    alternative: Alternative,
) -> Result<HttpResponse, HttpError> {
    let user = match token {
        Some(token) => email::token::owner_of(&app.pool, token).await?,
        None => None,
    };
    let origin = auth::origin(page.request());
    permit.record_refusal(EventKind::LinkRefused, user, &origin).await?;
    show(page, alternative)
}

/// Renders the page (410).
pub(super) fn show(page: &Page, alternative: Alternative) -> Result<HttpResponse, HttpError> {
    #[derive(Serialize)]
    struct Data {
        text: Text,
        href: &'static str,
        label: Text,
    }
    let Alternative { text, href, label } = alternative;
    let data = Data { text: text(), href, label: Text::key(label) };
    page.show_with(StatusCode::GONE, "sign_in/link_gone.html", &data)
}
