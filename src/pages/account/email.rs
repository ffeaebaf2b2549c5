//! `GET`, `POST /account/email`, `POST /account/email/verify`, `POST /account/email/code`: shows, verifies
//! and changes the account's email. The change takes effect when the new email is verified. The page does not
//! reveal whether the new email already has an account; that account's owner is notified by mail.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::audit::EventKind;
use crate::auth::{self, CurrentUser, RecentlyAuthenticated};
use crate::language::Text;
use crate::mail::address::EmailAddress;
use crate::paths::page_path;
use crate::user::email::change::RequestOutcome;
use crate::user::email::code::Code;
use crate::user::email::token::Purpose;
use crate::user::email::verification::{ConfirmationOutcome, SendOutcome};
use crate::user::rate_limit::{Action, Attempt, Permit, Refusal};
use crate::user::{email, users};
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;

const TEMPLATE: &str = "account/email.html";
const MALFORMED_CODE: &str = "code-malformed";
const WRONG_CODE: &str = "code-wrong";
const EXPIRED_CODE: &str = "code-expired";
/// Over the limit per recipient (`mail/rules.rs`). Other users may have caused the emails, so the latest one need not
/// be about this account.
const ENOUGH_MAIL: &str = "email-enough";

#[derive(Serialize)]
struct Data {
    form: FormView,
    email: String,
    is_verified: bool,
    mail_is_on: bool,
    /// A verification code was sent to the account's email.
    verification_sent: bool,
    /// The new email, if a code was sent to it and has not been entered.
    new_email: Option<String>,
}

/// `GET /account/email`.
#[tracing::instrument(name = "email_page", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
) -> Result<HttpResponse, HttpError> {
    let form = FormView::with_values([("email", "")]);
    page.show(TEMPLATE, &data(&app, &user, form).await?)
}

/// `POST /account/email`: sends a link and a code to the new email.
#[tracing::instrument(name = "change_email", level = "debug", skip_all, fields(user = %user.0.account.id))]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    user: RecentlyAuthenticated,
    sent: Form,
) -> Result<HttpResponse, HttpError> {
    let RecentlyAuthenticated(user) = user;
    let mut form = FormView::default();
    let new_email = parse_email(&mut form, sent, &user).filter(|_| app.mail_is_on());
    let Some(new_email) = new_email else { return refuse(&app, &page, &user, form).await };
    let permit = match check(&app, &page, &user, Action::Resend).await {
        Ok(permit) => permit,
        Err(Refusal::TooMany { retry_after }) => {
            return show_rate_limited_page(&app, &page, &user, form, retry_after).await;
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let sent = Notice::good_about(Text::key("email-sent"), "email", new_email.as_typed());
    let requester = user.requester(page.request());
    let request = email::change::request(&app.pool, app.sealer.clone(), &requester, new_email);
    let notice = match permit.refund_on_error(request).await?? {
        RequestOutcome::Sent => sent,
        RequestOutcome::OverLimit => Notice::info(Text::key(ENOUGH_MAIL)),
    };
    Ok(page.redirect_with(&page_path("/account/email"), &notice))
}

/// Parses the submitted email. `None`: the errors are in `form`.
fn parse_email(form: &mut FormView, mut sent: Form, user: &CurrentUser) -> Option<EmailAddress> {
    let typed = form.take(&mut sent, "email", Text::key("field-label-new-email"));
    form.values.insert("email", typed.clone());
    let email =
        EmailAddress::parse(&typed).map_err(|error| form.add_error("email", error.to_string()));
    if email.as_ref().is_ok_and(|email| email.as_typed() == user.account.email) {
        form.add_error("email", Text::key("email-same"));
    }
    email.ok().filter(|_| form.is_valid())
}

/// `POST /account/email/verify`: sends another mail to the email of the account.
#[tracing::instrument(name = "send_verification", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn verify(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    _form: Form,
) -> Result<HttpResponse, HttpError> {
    let permit = match check(&app, &page, &user, Action::Resend).await {
        Ok(permit) => permit,
        Err(Refusal::TooMany { retry_after }) => {
            return show_rate_limited_page(&app, &page, &user, FormView::default(), retry_after)
                .await;
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let requester = user.requester(page.request());
    let send = email::verification::send(&app.pool, app.sealer.clone(), &requester);
    let notice = match permit.refund_on_error(send).await?? {
        SendOutcome::Sent => {
            Notice::good_about(Text::key("email-sent"), "email", &user.account.email)
        }
        SendOutcome::OverLimit => Notice::info(Text::key(ENOUGH_MAIL)),
        SendOutcome::AlreadyVerified => Notice::good(Text::key("email-already-confirmed")),
    };
    Ok(page.redirect_with(&page_path("/account/email"), &notice))
}

/// `POST /account/email/code`: the code from a mail, for the email of the account or for the new one.
#[tracing::instrument(name = "email_code", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn code(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    sent: Form,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::default();
    let (field, purpose, code) = parse_code(&mut form, sent);
    let Some(code) = code else { return refuse(&app, &page, &user, form).await };
    let permit = match check(&app, &page, &user, Action::Verify).await {
        Ok(permit) => permit,
        Err(Refusal::TooMany { retry_after }) => {
            return show_rate_limited_page(&app, &page, &user, form, retry_after).await;
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let (pool, sealer) = (&app.pool, app.sealer.clone());
    let requester = user.requester(page.request());
    let confirm =
        email::verification::confirm_by_code(pool, sealer, &app.hooks, &requester, purpose, code);
    match permit.refund_on_error(confirm).await?? {
        ConfirmationOutcome::Done { email, secret, changed, .. } => {
            permit.refund().await?;
            app.sessions.invalidate_user(requester.user).await;
            if changed {
                auth::rotate_cookie(page.request(), secret);
            }
            return Ok(page.redirect_with(
                &page_path("/account/email"),
                &Notice::email_confirmed(&email, changed),
            ));
        }
        ConfirmationOutcome::WrongCode => form.add_error(field, Text::key(WRONG_CODE)),
        ConfirmationOutcome::Invalid => form.add_error(field, Text::key(EXPIRED_CODE)),
    }
    let (kind, id) = (EventKind::CodeRefused, Some(requester.user));
    permit.record_refusal(kind, id, &requester.origin).await?;
    refuse(&app, &page, &user, form).await
}

/// Parses the submitted code: its field, its purpose, and the code. `None`: the errors are in `form`.
fn parse_code(form: &mut FormView, mut sent: Form) -> (&'static str, Purpose, Option<Code>) {
    let (field, purpose, typed) = match sent.take_optional("change_code") {
        Some(typed) => ("change_code", Purpose::ChangeEmail, typed),
        None => {
            let typed = form.take(&mut sent, "verify_code", Text::key("field-label-code"));
            ("verify_code", Purpose::VerifyEmail, typed)
        }
    };
    let code = Code::parse(&typed);
    if form.is_valid() && code.is_none() {
        form.add_error(field, Text::key(MALFORMED_CODE));
    }
    (field, purpose, code.filter(|_| form.is_valid()))
}

/// Counts an attempt of `user` against the rate limit of `action`.
async fn check(
    app: &App,
    page: &Page,
    user: &CurrentUser,
    action: Action,
) -> Result<Permit, Refusal> {
    let email = EmailAddress::stored(&user.account.email);
    let requester = user.requester(page.request());
    let attempt = Attempt::of(action).email(Some(&email)).ip(requester.origin.ip_address);
    attempt.requester(&requester).check(&app.pool, &app.sealer).await
}

/// Renders the page again with its errors (422).
async fn refuse(
    app: &App,
    page: &Page,
    user: &CurrentUser,
    form: FormView,
) -> Result<HttpResponse, HttpError> {
    page.show_refused(TEMPLATE, &data(app, user, form).await?)
}

/// Renders the page again after too many attempts (429).
async fn show_rate_limited_page(
    app: &App,
    page: &Page,
    user: &CurrentUser,
    mut form: FormView,
    retry_after: Duration,
) -> Result<HttpResponse, HttpError> {
    form.set_rate_limited(Text::key("too-many-requests"), retry_after);
    page.show_rate_limited(TEMPLATE, &data(app, user, form).await?, retry_after)
}

async fn data(app: &App, user: &CurrentUser, form: FormView) -> Result<Data, HttpError> {
    let account = users::find(&app.pool, user.account.id).await?.ok_or(HttpError::NotFound)?;
    let pending = email::token::list_for_user(&app.pool, user.account.id).await?;
    let new_email = pending.iter().find(|link| link.purpose == Purpose::ChangeEmail);
    Ok(Data {
        form,
        email: account.email,
        is_verified: account.email_verified_at.is_some(),
        mail_is_on: app.mail_is_on(),
        verification_sent: pending.iter().any(|link| link.purpose == Purpose::VerifyEmail),
        new_email: new_email.map(|link| link.email.clone()),
    })
}
