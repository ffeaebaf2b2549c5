//! `GET`, `POST /register`. In verified mode, response and processing are the same whether the email has an
//! account or not (no user enumeration). In open mode, the form shows an error if the email has an account.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::{cookies_blocked, login, registration_cookie};
use crate::app::App;
use crate::auth::{self, FirstFactor, OptionalUser, SignInOutcome};
use crate::config::Registration;
use crate::crypto::secret::Secret;
use crate::language::Text;
use crate::mail::address::EmailAddress;
use crate::paths::page_path;
use crate::user::display_name::DisplayName;
use crate::user::password::hasher::PasswordHash;
use crate::user::password::policy::Password;
use crate::user::rate_limit::{Action, Attempt, Permit, Refusal};
use crate::user::sign_up::registration;
use crate::user::users::InsertOutcome;
use crate::web::error::HttpError;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;

const TEMPLATE: &str = "sign_in/register.html";

#[derive(Serialize)]
struct Data {
    form: FormView,
    password_min: usize,
    closed: bool,
    registration_open: bool,
}

/// `GET /register`.
#[tracing::instrument(name = "register_form", level = "debug", skip_all)]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    visitor: OptionalUser,
) -> Result<HttpResponse, HttpError> {
    if visitor.0.is_some() {
        return Ok(page.redirect(&page_path("/account")));
    }
    let form = FormView::with_values([("email", ""), ("display_name", "")]);
    page.show(TEMPLATE, &data(&app, form))
}

/// `POST /register`.
#[tracing::instrument(name = "register", level = "debug", skip_all)]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    sent: Form,
) -> Result<HttpResponse, HttpError> {
    if !app.registration_is_open() {
        let form = FormView::with_values([("email", ""), ("display_name", "")]);
        return page.show_with(StatusCode::FORBIDDEN, TEMPLATE, &data(&app, form));
    }
    if sent.lacks_cookies() {
        return cookies_blocked::show(&page, &page_path("/register"));
    }
    let mut form = FormView::default();
    let Some(input) = parse(&app, &mut form, sent) else {
        return page.show_refused(TEMPLATE, &data(&app, form));
    };
    let origin = auth::origin(page.request());
    let attempt = Attempt::of(Action::Register).email(Some(&input.email)).ip(origin.ip_address);
    let permit = match attempt.check(&app.pool, &app.sealer).await {
        Ok(permit) => permit,
        Err(Refusal::TooMany { retry_after }) => {
            return show_rate_limited_form(&page, &app, form, retry_after);
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let hash = permit.refund_on_error(app.hasher.hash(&input.password)).await?;
    if app.config.registration == Registration::Verified {
        insert_pending(&app, &page, &permit, &input, &hash).await
    } else {
        register_unverified(&app, &page, &permit, form, input, hash).await
    }
}

/// A complete registration form.
struct Input {
    email: EmailAddress,
    display_name: DisplayName,
    password: Password,
}

/// Parses the submitted form. `None`: the errors are in `form`.
fn parse(app: &App, form: &mut FormView, mut sent: Form) -> Option<Input> {
    let email = form.take(&mut sent, "email", Text::key("field-label-email"));
    let display_name = form.take(&mut sent, "display_name", Text::key("field-label-name"));
    let password = form.take(&mut sent, "password", Text::key("field-label-password"));
    form.values.insert("email", email.clone());
    form.values.insert("display_name", display_name.clone());
    let context = app.password_context(&email, &display_name);
    let password = app.password_policy.check(&password, &context);
    let email =
        EmailAddress::parse(&email).map_err(|error| form.add_error("email", error.to_string()));
    let display_name = DisplayName::parse(&display_name)
        .map_err(|error| form.add_error("display_name", error.to_string()));
    let password = password.map_err(|problem| form.add_error("password", problem.to_string()));
    if !form.is_valid() {
        return None;
    }
    Some(Input { email: email.ok()?, display_name: display_name.ok()?, password: password.ok()? })
}

/// Renders the form again after too many attempts (429).
fn show_rate_limited_form(
    page: &Page,
    app: &App,
    mut form: FormView,
    retry_after: Duration,
) -> Result<HttpResponse, HttpError> {
    form.set_rate_limited(Text::key("too-many-accounts"), retry_after);
    page.show_rate_limited(TEMPLATE, &data(app, form), retry_after)
}

/// Verified mode: stores a pending registration. It is completed with the link or the code that is sent by
/// mail.
async fn insert_pending(
    app: &App,
    page: &Page,
    permit: &Permit,
    input: &Input,
    hash: &PasswordHash,
) -> Result<HttpResponse, HttpError> {
    let ticket = Secret::generate();
    let Input { email, display_name, .. } = input;
    let insert = registration::insert_pending(&app.pool, &ticket, email, display_name, hash);
    permit.refund_on_error(insert).await?;
    app.pending_mail.registrations.notify_one();
    Ok(registration_cookie::set(page.redirect(&page_path("/verify-email")), app, &ticket))
}

/// Open mode: creates the account and signs in.
async fn register_unverified(
    app: &App,
    page: &Page,
    permit: &Permit,
    mut form: FormView,
    input: Input,
    hash: PasswordHash,
) -> Result<HttpResponse, HttpError> {
    let Input { email, display_name, .. } = input;
    let mail = app.mail_is_on().then(|| app.sealer.clone());
    let origin = auth::origin(page.request());
    let register = registration::register_unverified(
        &app.pool,
        &app.hooks,
        mail,
        email,
        display_name,
        hash,
        origin,
    );
    let InsertOutcome::Done(user) = permit.refund_on_error(register).await? else {
        form.add_error("email", Text::key("register-email-taken"));
        return page.show_refused(TEMPLATE, &data(app, form));
    };
    let factor = FirstFactor { user, method: "pwd" };
    match auth::sign_in(page.request(), app, factor, false).await? {
        SignInOutcome::SignedIn(signed_in) => {
            Ok(login::redirect_signed_in(page, app, signed_in, &page_path("/account"), None))
        }
        SignInOutcome::AccountChanged => {
            let email = form.values.get("email").map_or("", String::as_str);
            login::show_account_changed(page, app, email)
        }
    }
}

fn data(app: &App, form: FormView) -> Data {
    let open = app.registration_is_open();
    Data {
        form,
        password_min: app.config.password_min_length,
        closed: !open,
        registration_open: open,
    }
}
