//! `GET`, `POST /verify-email`: the code from a mail, entered in the browser that registered, which is
//! recognized by its cookie (`registration_cookie.rs`). The page looks and behaves the same if the email
//! already has an account: the account's owner was notified by mail instead, and no code is accepted. A
//! correct code signs in if the password was chosen within the last [`RECENT_FOR`]. After that, the user must
//! sign in with the password, because access to the mailbox alone does not prove their identity.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::verify_email::{ALTERNATIVE, sign_in_new_account};
use super::{link_gone, registration_cookie};
use crate::app::App;
use crate::audit::EventKind;
use crate::auth::{self, OptionalUser, RECENT_FOR};
use crate::crypto::secret::Secret;
use crate::language::Text;
use crate::paths::page_path;
use crate::user::email::code::Code;
use crate::user::rate_limit::{Action, Attempt, Permit, Refusal};
use crate::user::sign_up::registration::{self, PendingRegistration, RegistrationOutcome};
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;

const TEMPLATE: &str = "sign_in/verify_code.html";
const MALFORMED_CODE: &str = "code-malformed";
const WRONG_CODE: &str = "code-wrong";
const EXPIRED_CODE: &str = "code-expired";

#[derive(Serialize)]
struct Data {
    form: FormView,
    email: String,
}

/// `GET /verify-email`.
#[tracing::instrument(name = "verify_code_form", level = "debug", skip_all)]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    visitor: OptionalUser,
) -> Result<HttpResponse, HttpError> {
    if visitor.0.is_some() {
        return Ok(page.redirect(&page_path("/account")));
    }
    let Some((_, pending)) = find(&app, &page).await? else {
        return link_gone::show(&page, ALTERNATIVE);
    };
    page.show(TEMPLATE, &Data { form: FormView::default(), email: pending.email })
}

/// `POST /verify-email`: submits the code, or requests another mail.
#[tracing::instrument(name = "verify_code", level = "debug", skip_all)]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let Some((ticket, pending)) = find(&app, &page).await? else {
        return link_gone::show(&page, ALTERNATIVE);
    };
    // The rate limit is per registration, not per email, which may belong to another person.
    let (origin, counted) = (auth::origin(page.request()), pending.name());
    let attempt = |action| Attempt::of(action).account(Some(&counted)).ip(origin.ip_address);
    let mut form = FormView::default();
    let requests_mail = sent.take_optional("again").is_some();
    let code = if requests_mail { None } else { parse(&mut form, sent) };
    if !requests_mail && code.is_none() {
        return page.show_refused(TEMPLATE, &Data { form, email: pending.email });
    }
    let action = if requests_mail { Action::Resend } else { Action::Verify };
    let permit = match attempt(action).check(&app.pool, &app.sealer).await {
        Ok(permit) => permit,
        Err(Refusal::TooMany { retry_after }) => {
            form.set_rate_limited(Text::key("too-many-attempts"), retry_after);
            let data = Data { form, email: pending.email };
            return page.show_rate_limited(TEMPLATE, &data, retry_after);
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let Some(code) = code else { return resend(&app, &page, &permit, &ticket).await };
    let (pool, sealer) = (&app.pool, app.sealer.clone());
    let finish =
        registration::finish_by_code(pool, sealer, &app.hooks, &ticket, code, origin.clone());
    match permit.refund_on_error(finish).await? {
        RegistrationOutcome::Done { user, password_age } => {
            permit.refund().await?;
            if password_age < RECENT_FOR {
                return sign_in_new_account(&app, &page, *user).await;
            }
            let notice = Notice::good(Text::key("verify-code-sign-in"));
            return Ok(registration_cookie::clear(
                page.redirect_with(&page_path("/login"), &notice),
                &app,
            ));
        }
        RegistrationOutcome::NotFound => return link_gone::show(&page, ALTERNATIVE),
        RegistrationOutcome::WrongCode => form.add_error("code", Text::key(WRONG_CODE)),
        RegistrationOutcome::ExpiredCode => form.add_error("code", Text::key(EXPIRED_CODE)),
    }
    permit.record_refusal(EventKind::CodeRefused, None, &origin).await?;
    page.show_refused(TEMPLATE, &Data { form, email: pending.email })
}

/// The registration of this browser, and the ticket in its cookie.
async fn find(app: &App, page: &Page) -> Result<Option<(Secret, PendingRegistration)>, HttpError> {
    let Some(ticket) = registration_cookie::read(page.request(), app) else { return Ok(None) };
    let pending = registration::find_by_ticket(&app.pool, &ticket).await?;
    Ok(pending.map(|pending| (ticket, pending)))
}

/// Requests another mail, with another code.
async fn resend(
    app: &App,
    page: &Page,
    permit: &Permit,
    ticket: &Secret,
) -> Result<HttpResponse, HttpError> {
    let request = registration::request_new_mail(&app.pool, ticket);
    permit.refund_on_error(request).await?;
    app.pending_mail.registrations.notify_one();
    let notice = Notice::good(Text::key("verify-code-again"));
    let response = page.redirect_with(&page_path("/verify-email"), &notice);
    Ok(registration_cookie::set(response, app, ticket))
}

/// Parses the submitted code. `None`: the errors are in `form`.
fn parse(form: &mut FormView, mut sent: Form) -> Option<Code> {
    let code = Code::parse(&form.take(&mut sent, "code", Text::key("field-label-code")));
    if form.is_valid() && code.is_none() {
        form.add_error("code", Text::key(MALFORMED_CODE));
    }
    code.filter(|_| form.is_valid())
}
