//! `GET`, `POST /login`. A refused sign-in shows the form again (422) with the same message for every reason.
//! The email is filled in; the password is not. An attempt is counted before the password is compared. After
//! too many attempts the form says how long to wait (429). Responses do not reveal whether an account exists.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::{cookies_blocked, ended_session};
use crate::app::{self, App};
use crate::auth::{self, FirstFactor, OptionalUser, SignInOutcome, SignedIn, known_device};
use crate::language::Text;
use crate::mail::address::EmailAddress;
use crate::paths::page_path;
use crate::user::password::policy::Password;
use crate::user::rate_limit::{Action, Attempt, Refusal};
use crate::user::{Authentication, authenticate};
use crate::web::error::{HttpError, with_next};
use crate::web::flash::Notice;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;

/// The same message for an unknown account, a wrong password and a disabled account, to prevent user
/// enumeration (ASVS 5.0 V6.3.8).
const WRONG_CREDENTIALS: &str = "login-wrong";

/// The account changed after its password was verified. The same message for every kind of change.
const ACCOUNT_CHANGED: &str = "login-account-changed";

#[derive(Serialize)]
struct Data {
    form: FormView,
    registration_open: bool,
    /// Why the session of this browser ended.
    ended: Option<Text>,
}

/// The query string.
#[derive(serde::Deserialize)]
pub struct Query {
    next: Option<String>,
}

/// `GET /login`.
#[tracing::instrument(name = "login_form", level = "debug", skip_all)]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    visitor: OptionalUser,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, HttpError> {
    let next = query.and_then(|query| query.into_inner().next).unwrap_or_default();
    if visitor.0.is_some() {
        return Ok(app::redirect_to_next(&page, &app, &next, &page_path("/account"), None));
    }
    let form = FormView { next, ..FormView::with_values([("email", "")]) };
    let ended = ended_session::explain(page.request(), &app).await?;
    page.show("sign_in/login.html", &Data { ended, ..data(&app, form) })
}

/// `POST /login`.
#[tracing::instrument(name = "login", level = "debug", skip_all)]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::default();
    if sent.lacks_cookies() {
        let next = sent.take_optional("next").unwrap_or_default();
        return cookies_blocked::show(&page, &with_next(&page_path("/login"), &next));
    }
    let Some(input) = parse(&mut form, sent) else { return refuse(&page, &app, form) };
    let Input { email, password, remember_me } = input;
    let (request, email) = (page.request(), email.as_ref());
    let origin = auth::origin(request);
    let device = known_device::find_for(request, &app, email).await?;
    let attempt = Attempt::of(Action::SignIn).email(email).ip(origin.ip_address);
    let permit = match attempt.known_device(device).check(&app.pool, &app.sealer).await {
        Ok(permit) => permit,
        Err(Refusal::TooMany { retry_after }) => {
            return show_rate_limited_form(&page, &app, form, retry_after);
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let (pool, hasher) = (&app.pool, &app.hasher);
    let authentication = authenticate(pool, hasher, &permit, email, &password, &origin).await?;
    let Authentication::Accepted(user) = authentication else {
        permit.record_failure(&app.sealer, email, &origin).await?;
        form.set_message(Text::key(WRONG_CREDENTIALS));
        return refuse(&page, &app, form);
    };
    let factor = FirstFactor { user, method: "pwd" };
    let sign_in = auth::sign_in(request, &app, factor, remember_me);
    let SignInOutcome::SignedIn(signed_in) = permit.refund_on_error(sign_in).await? else {
        form.set_message(Text::key(ACCOUNT_CHANGED));
        return refuse(&page, &app, form);
    };
    permit.refund().await?;
    Ok(redirect_signed_in(&page, &app, signed_in, &form.next, None))
}

/// Redirects after a sign-in, on every way to sign in: to `next` or the account page, with `notice` and what the
/// sign-in did. If the account is scheduled for deletion, to the page where that can be canceled.
pub(super) fn redirect_signed_in(
    page: &Page,
    app: &App,
    signed_in: SignedIn,
    next: &str,
    notice: Option<Notice>,
) -> HttpResponse {
    let SignedIn { ended_by_limit, is_deletion_scheduled } = signed_in;
    let deletion = page_path("/account/delete");
    let next = if is_deletion_scheduled { &deletion } else { next };
    let notice = match (notice, limit_sentence(app, ended_by_limit)) {
        (Some(notice), Some(limit)) => Some(notice.followed_by(&limit)),
        (notice, limit) => notice.or(limit.map(Notice::info)),
    };
    app::redirect_to_next(page, app, next, &page_path("/account"), notice.as_ref())
}

/// A complete sign-in form. `email: None`: the input is not a valid email. The sign-in is processed anyway,
/// so that the response is the same as for an unknown account.
struct Input {
    email: Option<EmailAddress>,
    password: Password,
    remember_me: bool,
}

/// Parses the submitted form. `None`: the errors are in `form`.
fn parse(form: &mut FormView, mut sent: Form) -> Option<Input> {
    let email = form.take(&mut sent, "email", Text::key("field-label-email"));
    let password = form.take(&mut sent, "password", Text::key("field-label-password"));
    let remember_me = sent.take_optional("remember_me").as_deref() == Some("on");
    form.next = sent.take_optional("next").unwrap_or_default();
    form.values.insert("email", email.clone());
    form.values.insert("remember_me", if remember_me { "on" } else { "" }.to_owned());
    if !form.is_valid() {
        return None;
    }
    if email.trim().is_empty() {
        form.add_error("email", Text::key("email-missing"));
    }
    if password.is_empty() {
        form.add_error("password", Text::key("password-missing"));
    }
    if !form.is_valid() {
        return None;
    }
    match Password::parse(&password) {
        Ok(password) => {
            Some(Input { email: EmailAddress::parse_existing(&email).ok(), password, remember_me })
        }
        Err(too_long) => {
            form.add_error("password", too_long.to_string());
            None
        }
    }
}

/// Renders the form again with its errors (422).
fn refuse(page: &Page, app: &App, form: FormView) -> Result<HttpResponse, HttpError> {
    page.show_refused("sign_in/login.html", &data(app, form))
}

/// Renders the form again after too many attempts (429).
fn show_rate_limited_form(
    page: &Page,
    app: &App,
    mut form: FormView,
    retry_after: Duration,
) -> Result<HttpResponse, HttpError> {
    form.set_rate_limited(Text::key("too-many-sign-ins"), retry_after);
    page.show_rate_limited("sign_in/login.html", &data(app, form), retry_after)
}

/// Renders the sign-in form (422) with `email` filled in, after [`SignInOutcome::AccountChanged`] on another page.
pub(super) fn show_account_changed(
    page: &Page,
    app: &App,
    email: &str,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::with_values([("email", email)]);
    form.set_message(Text::key(ACCOUNT_CHANGED));
    refuse(page, app, form)
}

/// Tells the user how many sessions the sign-in ended because of `FRONTDESK_SESSIONS_PER_USER`. `None`: none.
fn limit_sentence(app: &App, ended: usize) -> Option<Text> {
    let limit = app.config.sessions_per_user;
    let text = || Text::key("login-limit").with("n", ended).with("limit", limit);
    (ended > 0).then(text)
}

fn data(app: &App, form: FormView) -> Data {
    Data { form, registration_open: app.registration_is_open(), ended: None }
}
