//! `GET /undo-email-change/{token}`, `GET`, `POST /undo-email-change`: for the owner of a former email, if
//! someone else changed it. GET changes nothing, because mail scanners follow links. POST restores the email,
//! invalidates the password, revokes every session and redirects to the password form. Opening the link or
//! submitting the form again redirects there too, until a password is set.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::link_gone::{self, Alternative};
use super::mailed_link::{self, RESET_PASSWORD, UNDO_EMAIL_CHANGE};
use crate::app::App;
use crate::auth::{self, OptionalUser};
use crate::crypto::secret::Secret;
use crate::language::Text;
use crate::lifetimes;
use crate::user::email;
use crate::user::email::undo_change::{UndoLink, UndoOutcome};
use crate::user::rate_limit::{Action, Attempt, Permit};
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::Form;
use crate::web::page::Page;

const ALTERNATIVE: Alternative = Alternative {
    text: || Text::key("link-gone-undo").with("lifetime", lifetimes::words(lifetimes::UNDO_LINK)),
    href: "/forgot-password",
    label: "forgot-password-title",
};

const TEMPLATE: &str = "sign_in/undo_email_change.html";

#[derive(Serialize)]
struct Data {
    /// The sealed token.
    link: String,
    email: String,
    is_taken: bool,
}

/// `GET /undo-email-change/{token}`: 303 to the page without the token.
#[tracing::instrument(name = "open_undo_link", level = "debug", skip_all)]
pub async fn open(app: web::Data<App>, page: Page) -> Result<HttpResponse, HttpError> {
    let token = mailed_link::token_in_path(page.request());
    match find(&app, token).await? {
        Some((token, UndoLink::Unused { .. })) => {
            Ok(UNDO_EMAIL_CHANGE.redirect(&page, &app, &token, None))
        }
        Some((token, UndoLink::Used)) => Ok(redirect_to_reset(&page, &app, &token, None)),
        None => link_gone::show(&page, ALTERNATIVE),
    }
}

/// `GET /undo-email-change`.
#[tracing::instrument(name = "undo_email_change_form", level = "debug", skip_all)]
pub async fn show(app: web::Data<App>, page: Page) -> Result<HttpResponse, HttpError> {
    let Some(token) = UNDO_EMAIL_CHANGE.token(page.request(), &app) else {
        return mailed_link::show_unopened(&page);
    };
    match find(&app, Some(token)).await? {
        Some((token, UndoLink::Unused { email })) => {
            page.show(TEMPLATE, &data(&app, &token, email, false))
        }
        Some((token, UndoLink::Used)) => Ok(redirect_to_reset(&page, &app, &token, None)),
        None => link_gone::show(&page, ALTERNATIVE),
    }
}

/// `POST /undo-email-change`.
#[tracing::instrument(name = "undo_email_change", level = "debug", skip_all)]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    visitor: OptionalUser,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let origin = auth::origin(page.request());
    let permit =
        Attempt::of(Action::Verify).ip(origin.ip_address).check(&app.pool, &app.sealer).await?;
    let token = UNDO_EMAIL_CHANGE.submitted_token(page.request(), &app, &mut sent);
    let digest = token.as_ref().map(Secret::digest);
    let Some((token, link)) = find(&app, token).await? else {
        return link_gone::refuse(&app, &page, &permit, digest.as_ref(), ALTERNATIVE).await;
    };
    let UndoLink::Unused { email } = link else {
        return repeat(&app, &page, &permit, &token).await;
    };
    let undo = email::undo_change::undo(&app.pool, app.sealer.clone(), &app.hooks, &token, origin);
    match permit.refund_on_error(undo).await? {
        UndoOutcome::Invalid => repeat(&app, &page, &permit, &token).await,
        UndoOutcome::EmailTaken => {
            page.show_with(StatusCode::CONFLICT, TEMPLATE, &data(&app, &token, email, true))
        }
        UndoOutcome::Done(user) => {
            permit.refund().await?;
            app.sessions.invalidate_user(user).await;
            if visitor.0.is_some_and(|visitor| visitor.account.id == user) {
                auth::clear_cookie(page.request());
            }
            let notice = Notice::good_about(Text::key("undo-email-done"), "email", &email);
            Ok(redirect_to_reset(&page, &app, &token, Some(&notice)))
        }
    }
}

/// Handles a form that was submitted again: redirects to the password form once no server accepts the
/// sessions that the first submission revoked.
async fn repeat(
    app: &App,
    page: &Page,
    permit: &Permit,
    token: &Secret,
) -> Result<HttpResponse, HttpError> {
    let Some(UndoLink::Used) = email::undo_change::find(&app.pool, token).await? else {
        return link_gone::refuse(app, page, permit, Some(&token.digest()), ALTERNATIVE).await;
    };
    app.sessions.await_invalidation().await;
    let notice = Notice::good(Text::key("undo-email-done-before"));
    Ok(redirect_to_reset(page, app, token, Some(&notice)))
}

/// Redirects to the password form after the undo link `undo` was used.
fn redirect_to_reset(
    page: &Page,
    app: &App,
    undo: &Secret,
    notice: Option<&Notice>,
) -> HttpResponse {
    RESET_PASSWORD.redirect(page, app, &email::undo_change::reset_secret(undo), notice)
}

async fn find(app: &App, token: Option<Secret>) -> Result<Option<(Secret, UndoLink)>, HttpError> {
    let Some(token) = token else { return Ok(None) };
    let link = email::undo_change::find(&app.pool, &token).await?;
    Ok(link.map(|link| (token, link)))
}

fn data(app: &App, token: &Secret, email: String, is_taken: bool) -> Data {
    Data { link: UNDO_EMAIL_CHANGE.seal(app, token), email, is_taken }
}
