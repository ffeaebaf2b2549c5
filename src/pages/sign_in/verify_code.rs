//! `GET`, `POST /verify-email`: the code of a mail, typed in the browser that registered, which its cookie says
//! (`ticket.rs`). Looks and works the same for an address that has an account already, whose owner got another mail; no
//! code is right there. It signs in whoever typed the password in this browser a moment ago; later the mail alone is no
//! proof of who is there, and the password is asked.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::verify_email::{GONE, welcome};
use super::{link_gone, registration_cookie};
use crate::app::App;
use crate::auth::{self, RECENT_FOR, Visitor};
use crate::user::email::code::Code;
use crate::user::rate_limit::{Action, Attempt};
use crate::user::sign_up::registration::{self, RegistrationOutcome};
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
}

/// `GET /verify-email`.
pub async fn show(
    app: web::Data<App>,
    page: Page,
    visitor: Visitor,
) -> Result<HttpResponse, HttpError> {
    if visitor.0.is_some() {
        return Ok(page.redirect("/account"));
    }
    let Some(ticket) = registration_cookie::held(page.request(), &app) else {
        return link_gone::show(&page, GONE);
    };
    let Some(waiting) = registration::find_by_ticket(&app.pool, &ticket).await? else {
        return link_gone::show(&page, GONE);
    };
    let data = Data { form: FormView::default(), email: waiting.email };
    page.show("sign_in/verify_code.html", &data)
}

/// `POST /verify-email`.
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let Some(ticket) = registration_cookie::held(page.request(), &app) else {
        return link_gone::show(&page, GONE);
    };
    let Some(waiting) = registration::find_by_ticket(&app.pool, &ticket).await? else {
        return link_gone::show(&page, GONE);
    };
    // By the registration, never by its address: that may be another person's.
    let (origin, counted) = (auth::origin(page.request()), waiting.name());
    let attempt = |action| Attempt::of(action).account(Some(&counted)).ip(origin.ip_address);
    if sent.take_optional("again").is_some() {
        let permit = attempt(Action::Resend).check(&app.pool).await?;
        let request = registration::request_new_mail(&app.pool, &ticket);
        permit.give_back_on_error(request).await?;
        app.answers.notify_one();
        let notice =
            Notice::good("We've sent a new email. Earlier codes and links no longer work.");
        return Ok(page.redirect_with("/verify-email", &notice));
    }
    let mut form = FormView::default();
    let typed = form.take(&mut sent, "code", "The code");
    let code = Code::parse(&typed);
    if form.is_good() && code.is_none() {
        form.refuse("code", UNREADABLE);
    }
    if let (true, Some(code)) = (form.is_good(), code) {
        let permit = attempt(Action::Verify).check(&app.pool).await?;
        let (pool, sealer) = (&app.pool, app.sealer.clone());
        let finish = registration::finish_by_code(pool, sealer, &ticket, code, origin.clone());
        match permit.give_back_on_error(finish).await? {
            RegistrationOutcome::Done { user, password_age } => {
                permit.refund().await?;
                if password_age < RECENT_FOR {
                    return welcome(&app, &page, *user).await;
                }
                let notice =
                    Notice::good("Your email address is confirmed. Sign in with your password.");
                return Ok(registration_cookie::take_back(
                    page.redirect_with("/login", &notice),
                    &app,
                ));
            }
            RegistrationOutcome::WrongCode => form.refuse("code", WRONG),
            RegistrationOutcome::ExpiredCode => form.refuse("code", DEAD),
            RegistrationOutcome::Gone => return link_gone::show(&page, GONE),
        }
    }
    page.show_refused("sign_in/verify_code.html", &Data { form, email: waiting.email })
}
