//! `GET`, `POST /account/email`, `POST /account/email/verify`, `POST /account/email/code`: the address of the account, whether
//! it is confirmed, and another one. Nothing changes before the new address is proven; whether it has an account already
//! is not told here, but to its owner.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::auth::{self, CurrentUser, RecentlyAuthenticated};
use crate::user::email::address::EmailAddress;
use crate::user::email::code::Code;
use crate::user::email::token::Purpose;
use crate::user::email::verification::SendOutcome;
use crate::user::rate_limit::{Action, Attempt, Permit, Refusal};
use crate::user::{email, users};
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;

const UNREADABLE: &str = "Enter the code from the email: eight letters and digits.";
const WRONG: &str = "That code doesn't match the latest email. Check it and try again.";
const DEAD: &str = "That code no longer works. Send another email to get a new one.";

#[derive(Serialize)]
struct Data {
    form: FormView,
    email: String,
    is_verified: bool,
    mail_is_on: bool,
    /// A mail to confirm the own address is on its way.
    asked: bool,
    /// The address that waits to be proven.
    new_email: Option<String>,
}

/// `GET /account/email`.
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
) -> Result<HttpResponse, HttpError> {
    let form = FormView::with_values([("email", "")]);
    page.show("account/email.html", &data(&app, &user, form).await?)
}

/// `POST /account/email`: a link and a code go to the new address.
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    user: RecentlyAuthenticated,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let RecentlyAuthenticated(user) = user;
    let mut form = FormView::default();
    let email = form.take(&mut sent, "email", "The new email address");
    form.values.insert("email", email.clone());
    let address =
        EmailAddress::parse(&email).map_err(|error| form.refuse("email", error.to_string()));
    if address.as_ref().is_ok_and(|address| address.as_typed() == user.account.email) {
        form.refuse("email", "That's already your email address. Enter a different one.");
    }
    if let (true, true, Ok(address)) = (form.is_good(), app.mail_is_on(), address) {
        let permit = match check(&app, &page, &user, Action::Resend).await {
            Ok(permit) => permit,
            Err(Refusal::TooMany { retry_after }) => {
                return throttled(&app, &page, &user, form, retry_after).await;
            }
            Err(refusal) => return Err(refusal.into()),
        };
        let to = address.as_typed().to_owned();
        let requester = user.requester(page.request());
        let request = email::change::request(&app.pool, app.sealer.clone(), &requester, address);
        permit.give_back_on_error(request).await??;
        let notice = Notice::good(format!("We've sent an email to {to}."));
        return Ok(page.redirect_with("/account/email", &notice));
    }
    page.show_refused("account/email.html", &data(&app, &user, form).await?)
}

/// `POST /account/email/verify`: another mail to the address of the account.
pub async fn verify(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    _form: Form,
) -> Result<HttpResponse, HttpError> {
    let permit = match check(&app, &page, &user, Action::Resend).await {
        Ok(permit) => permit,
        Err(Refusal::TooMany { retry_after }) => {
            return throttled(&app, &page, &user, FormView::default(), retry_after).await;
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let requester = user.requester(page.request());
    let send = email::verification::send(&app.pool, app.sealer.clone(), &requester);
    let notice = match permit.give_back_on_error(send).await?? {
        SendOutcome::Sent => {
            Notice::good(format!("We've sent an email to {}.", user.account.email))
        }
        SendOutcome::AlreadyVerified => Notice::good("Your email address is already confirmed."),
    };
    Ok(page.redirect_with("/account/email", &notice))
}

/// `POST /account/email/code`: the code of a mail, for the own address or for the new one.
pub async fn code(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::default();
    let (field, purpose, typed) = match sent.take_optional("change_code") {
        Some(typed) => ("change_code", Purpose::ChangeEmail, typed),
        None => {
            let typed = form.take(&mut sent, "verify_code", "The code");
            ("verify_code", Purpose::VerifyEmail, typed)
        }
    };
    let code = Code::parse(&typed);
    if form.is_good() && code.is_none() {
        form.refuse(field, UNREADABLE);
    }
    if let (true, Some(code)) = (form.is_good(), code) {
        let permit = match check(&app, &page, &user, Action::Verify).await {
            Ok(permit) => permit,
            Err(Refusal::TooMany { retry_after }) => {
                return throttled(&app, &page, &user, form, retry_after).await;
            }
            Err(refusal) => return Err(refusal.into()),
        };
        let (pool, sealer) = (&app.pool, app.sealer.clone());
        let requester = user.requester(page.request());
        let confirm = email::verification::confirm_by_code(pool, sealer, &requester, purpose, code);
        match permit.give_back_on_error(confirm).await?? {
            email::verification::ConfirmationOutcome::Done { email, secret, changed, .. } => {
                permit.refund().await?;
                app.sessions.invalidate_user(requester.user).await;
                if changed {
                    auth::rotate_cookie(page.request(), secret);
                }
                let notice = Notice::good(if changed {
                    format!(
                        "Your email address is now {email}, and you've been signed out everywhere else."
                    )
                } else {
                    format!("{email} is confirmed.")
                });
                return Ok(page.redirect_with("/account/email", &notice));
            }
            email::verification::ConfirmationOutcome::WrongCode => form.refuse(field, WRONG),
            email::verification::ConfirmationOutcome::Gone => form.refuse(field, DEAD),
        }
    }
    page.show_refused("account/email.html", &data(&app, &user, form).await?)
}

async fn check(
    app: &App,
    page: &Page,
    user: &CurrentUser,
    action: Action,
) -> Result<Permit, Refusal> {
    let email = EmailAddress::parse(&user.account.email).ok();
    let requester = user.requester(page.request());
    let attempt = Attempt::of(action).email(email.as_ref()).ip(requester.origin.ip_address);
    attempt.requester(&requester).check(&app.pool).await
}

/// The page again, to be sent later.
async fn throttled(
    app: &App,
    page: &Page,
    user: &CurrentUser,
    mut form: FormView,
    retry_after: Duration,
) -> Result<HttpResponse, HttpError> {
    form.throttle("Too many requests.", retry_after);
    page.show_throttled("account/email.html", &data(app, user, form).await?, retry_after)
}

async fn data(app: &App, user: &CurrentUser, form: FormView) -> Result<Data, HttpError> {
    let account = users::find(&app.pool, user.account.id).await?.ok_or(HttpError::NotFound)?;
    let waiting = email::token::list_for_user(&app.pool, user.account.id).await?;
    let new_email = waiting.iter().find(|one| one.purpose == Purpose::ChangeEmail);
    Ok(Data {
        form,
        email: account.email,
        is_verified: account.email_verified_at.is_some(),
        mail_is_on: app.mail_is_on(),
        asked: waiting.iter().any(|one| one.purpose == Purpose::VerifyEmail),
        new_email: new_email.map(|one| one.email.clone()),
    })
}
