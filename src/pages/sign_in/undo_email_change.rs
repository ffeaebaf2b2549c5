//! `GET`, `POST /undo-email-change/{token}`: for the owner of a former email, if someone else changed it. GET
//! changes nothing, because mail scanners follow links. POST restores the email, invalidates the password,
//! revokes every session and redirects to the password form. Opening the link or submitting the form again
//! redirects there too, until a password is set.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::link_gone::{self, Alternative};
use crate::app::App;
use crate::auth::{self, OptionalUser};
use crate::crypto::secret::Secret;
use crate::user::email;
use crate::user::email::undo_change::{UndoLink, UndoOutcome};
use crate::user::rate_limit::{Action, Attempt};
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::Form;
use crate::web::headers::without_referrer;
use crate::web::page::Page;

const ALTERNATIVE: Alternative = Alternative {
    text: "Email changes can be undone for 7 days. If this is your account's email, you can still reset your password.",
    href: "/forgot-password",
    label: "Reset your password",
};

const TEMPLATE: &str = "sign_in/undo_email_change.html";

#[derive(Serialize)]
struct Data {
    email: String,
    is_taken: bool,
}

/// `GET /undo-email-change/{token}`.
#[tracing::instrument(name = "undo_email_change_form", level = "debug", skip_all)]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    path: web::Path<String>,
) -> Result<HttpResponse, HttpError> {
    let Some((token, link)) = find(&app, &path).await? else {
        return link_gone::show(&page, ALTERNATIVE);
    };
    match link {
        UndoLink::Used => Ok(page.redirect(&reset_path(&token))),
        UndoLink::Unused { email } => page.show(TEMPLATE, &Data { email, is_taken: false }),
    }
    .map(without_referrer)
}

/// `POST /undo-email-change/{token}`.
#[tracing::instrument(name = "undo_email_change", level = "debug", skip_all)]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    visitor: OptionalUser,
    path: web::Path<String>,
    _form: Form,
) -> Result<HttpResponse, HttpError> {
    let origin = auth::origin(page.request());
    let permit = Attempt::of(Action::Verify).ip(origin.ip_address).check(&app.pool).await?;
    let Some((token, link)) = find(&app, &path).await? else {
        return link_gone::show(&page, ALTERNATIVE);
    };
    let UndoLink::Unused { email } = link else { return repeat(&app, &page, &token).await };
    let undo = email::undo_change::undo(&app.pool, app.sealer.clone(), &token, origin);
    match permit.refund_on_error(undo).await? {
        UndoOutcome::Invalid => repeat(&app, &page, &token).await,
        UndoOutcome::EmailTaken => {
            let data = Data { email, is_taken: true };
            page.show_with(StatusCode::CONFLICT, TEMPLATE, &data).map(without_referrer)
        }
        UndoOutcome::Done(user) => {
            permit.refund().await?;
            app.sessions.invalidate_user(user).await;
            if visitor.0.is_some_and(|visitor| visitor.account.id == user) {
                auth::clear_cookie(page.request());
            }
            let notice = Notice::good(format!(
                "Your email is {email} again and all devices are signed out. Now choose a new password."
            ));
            Ok(without_referrer(page.redirect_with(&reset_path(&token), &notice)))
        }
    }
}

/// Handles a form that was submitted again: redirects to the password form once no server accepts the
/// sessions that the first submission revoked.
async fn repeat(app: &App, page: &Page, token: &Secret) -> Result<HttpResponse, HttpError> {
    let Some(UndoLink::Used) = email::undo_change::find(&app.pool, token).await? else {
        return link_gone::show(page, ALTERNATIVE);
    };
    app.sessions.await_invalidation().await;
    let notice = Notice::good(
        "Your email is restored and all devices are signed out. Now choose a new password.",
    );
    Ok(without_referrer(page.redirect_with(&reset_path(token), &notice)))
}

/// The path of the password form after the undo link `undo` was used.
fn reset_path(undo: &Secret) -> String {
    format!("/reset-password/{}", email::undo_change::reset_secret(undo).reveal())
}

async fn find(app: &App, token: &str) -> Result<Option<(Secret, UndoLink)>, HttpError> {
    let Some(token) = Secret::parse(token) else { return Ok(None) };
    let link = email::undo_change::find(&app.pool, &token).await?;
    Ok(link.map(|link| (token, link)))
}
