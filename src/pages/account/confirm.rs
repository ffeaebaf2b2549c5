//! `GET`, `POST /account/confirm`: asks a signed-in user for the password. Then the original request is
//! resumed: a page is redirected to (303), and a form is submitted again (307, see `web/resumed_form.rs`).
//! A form whose response is a file is not submitted again: the browser would save the file and keep showing
//! the page that asks for the password. The session secret is rotated.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::export;
use crate::app::App;
use crate::auth::{self, CurrentUser, Reauthentication, RecentlyAuthenticated};
use crate::language::Text;
use crate::paths::page_path;
use crate::user::password::policy::Password;
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;
use crate::web::resumed_form::{self, RawForm, SessionBinding};
use crate::web::return_to;

const OWN_PATH: &str = "/account/confirm";
const WRONG_PASSWORD: &str = "password-wrong";

/// The query string.
#[derive(serde::Deserialize)]
pub struct Query {
    next: Option<String>,
}

/// `GET /account/confirm`.
#[tracing::instrument(name = "confirm_form", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, HttpError> {
    let next = query.and_then(|query| query.into_inner().next).unwrap_or_default();
    if RecentlyAuthenticated::is_recent(&user.session) {
        return Ok(
            page.redirect(&checked_next(&app, &next).unwrap_or_else(|| page_path("/account")))
        );
    }
    let form = FormView { next, ..FormView::default() };
    auth::show_confirmation(&page, &user, StatusCode::OK, form, "")
}

/// `POST /account/confirm`.
#[tracing::instrument(name = "confirm", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    RawForm(mut sent): RawForm,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::default();
    let password = parse(&mut form, &mut sent);
    form.next = sent.take_optional("next").unwrap_or_default();
    let original = sent.take_optional(resumed_form::FIELD).unwrap_or_default();
    let Some(password) = password else { return refuse(&page, &user, form, &original) };
    match auth::reauthenticate(page.request(), &app, &user, &password).await? {
        Reauthentication::WrongPassword => {}
        Reauthentication::RateLimited { retry_after } => {
            return auth::show_confirmation_rate_limited(
                &page,
                &user,
                form,
                &original,
                retry_after,
            );
        }
        Reauthentication::Accepted { verified_hash } => {
            if auth::renew_session(page.request(), &app, &user, verified_hash).await? {
                return Ok(resume_request(&app, &page, &form.next, &original));
            }
        }
    }
    form.add_error("password", Text::key(WRONG_PASSWORD));
    refuse(&page, &user, form, &original)
}

/// Parses the submitted password. `None`: the errors are in `form`.
fn parse(form: &mut FormView, sent: &mut Form) -> Option<Password> {
    let password = form.take(sent, "password", Text::key("field-label-password"));
    if form.is_valid() && password.is_empty() {
        form.add_error("password", Text::key("password-missing"));
    }
    let password = Password::parse(&password)
        .map_err(|_| form.add_error("password", Text::key(WRONG_PASSWORD)))
        .ok();
    password.filter(|_| form.is_valid())
}

/// Renders the page again with its errors (422).
fn refuse(
    page: &Page,
    user: &CurrentUser,
    form: FormView,
    original: &str,
) -> Result<HttpResponse, HttpError> {
    auth::show_confirmation(page, user, StatusCode::UNPROCESSABLE_ENTITY, form, original)
}

/// Redirects to the requested page, or makes the browser submit the sealed form `original` to its target
/// again. The response to the form of `/account/export` is a file, so its page is shown instead.
fn resume_request(app: &App, page: &Page, next: &str, original: &str) -> HttpResponse {
    let next = checked_next(app, next);
    if original.is_empty() {
        return page.redirect(&next.unwrap_or_else(|| page_path("/account")));
    }
    let binding = SessionBinding::of(page.request());
    match (next, binding) {
        (Some(next), Some(binding)) if binding.open(&app.sealer, &next, original).is_some() => {
            if next.split('?').next() == Some(page_path(export::PATH).as_str()) {
                let notice = Text::key("confirm-export");
                return page.redirect_with(&page_path(export::PATH), &Notice::good(notice));
            }
            page.redirect_preserving_method(&next)
        }
        _ => {
            let text = Text::key("confirm-expired");
            page.redirect_with(&page_path("/account"), &Notice::info(text))
        }
    }
}

/// `next`, if it is a page of this site and not this one, which would be a redirect loop.
fn checked_next(app: &App, next: &str) -> Option<String> {
    let next = return_to::checked(next, app.config.public_url.origin())?;
    (next.split('?').next() != Some(page_path(OWN_PATH).as_str())).then_some(next)
}
