//! `GET`, `POST /login`. A refused sign-in shows the form again (422) with one sentence for every cause,
//! the address kept, the password never. Tries are counted before the password is looked at; too many are
//! answered with the form and when to come back (429), the same for accounts that exist and those that do not.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::{self, App};
use crate::auth::{self, FirstFactor, SignIn, Visitor, known_device};
use crate::user::email::address::EmailAddress;
use crate::user::password::policy::Password;
use crate::user::rate_limit::{Action, Attempt, Refusal};
use crate::user::{Authentication, authenticate};
use crate::web::error::HttpError;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;
use crate::web::relative_time;

/// One sentence for unknown, wrong and disabled alike (ASVS 5.0 V6.3.8).
const REFUSED: &str = "That email or password is incorrect. Check both, or reset your password.";

/// The account changed after its password was verified: one sentence for every change.
const OVERTAKEN: &str = "Your account changed while you were signing in. Please sign in again.";

#[derive(Serialize)]
struct Data {
    form: FormView,
    registration_open: bool,
}

/// What the address bar brings along.
#[derive(serde::Deserialize)]
pub struct Query {
    next: Option<String>,
}

/// `GET /login`.
pub async fn show(
    app: web::Data<App>,
    page: Page,
    visitor: Visitor,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, HttpError> {
    let next = query.and_then(|query| query.into_inner().next).unwrap_or_default();
    if visitor.0.is_some() {
        return Ok(app::redirect_to_next(&page, &app, &next, "/account"));
    }
    let form = FormView { next, ..FormView::with_values([("email", "")]) };
    page.show("sign_in/login.html", &Data { form, registration_open: app.registration_is_open() })
}

/// `POST /login`.
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::default();
    let email = form.take(&mut sent, "email", "Your email address");
    let password = form.take(&mut sent, "password", "Your password");
    let remember_me = sent.take_optional("remember_me").as_deref() == Some("on");
    form.next = sent.take_optional("next").unwrap_or_default();
    form.values.insert("email", email.clone());
    form.values.insert("remember_me", if remember_me { "on" } else { "" }.to_owned());
    if form.is_good() {
        if email.trim().is_empty() {
            form.refuse("email", "Enter your email address.");
        }
        if password.is_empty() {
            form.refuse("password", "Enter your password.");
        }
    }
    if form.is_good() {
        let address = EmailAddress::parse(&email).ok();
        match Password::parse(&password) {
            Err(too_long) => form.refuse("password", too_long.to_string()),
            Ok(password) => {
                let origin = auth::origin(page.request());
                let email = address.as_ref();
                let device = known_device::known_for(page.request(), &app, email).await?;
                let attempt = Attempt::of(Action::SignIn).email(email).ip(origin.ip_address);
                let permit = match attempt.known_device(device).check(&app.pool).await {
                    Ok(permit) => permit,
                    Err(Refusal::TooMany { retry_after }) => {
                        form.message = Some(format!(
                            "Too many attempts. Wait {}, then try again. You can also use a device you've signed in on before, or reset your password.",
                            relative_time::wait(retry_after)
                        ));
                        let data = Data { form, registration_open: app.registration_is_open() };
                        return page.show_throttled("sign_in/login.html", &data, retry_after);
                    }
                    Err(refusal) => return Err(refusal.into()),
                };
                let (pool, hasher) = (&app.pool, &app.hasher);
                match authenticate(pool, hasher, &permit, email, &password, &origin).await? {
                    Authentication::Accepted(user) => {
                        // An account that is going to be deleted continues to the page where that is canceled.
                        let is_leaving = user.deletion_due_at.is_some();
                        let next = if is_leaving { "/account/delete" } else { &form.next };
                        let proven = FirstFactor { user, method: "pwd" };
                        let sign_in = auth::first_factor(page.request(), &app, proven, remember_me);
                        match permit.give_back_on_error(sign_in).await? {
                            SignIn::SignedIn => {
                                permit.refund().await?;
                                return Ok(app::redirect_to_next(&page, &app, next, "/account"));
                            }
                            SignIn::Overtaken => form.message = Some(OVERTAKEN.to_owned()),
                        }
                    }
                    Authentication::Rejected => {
                        permit.record_wait(email, &origin).await?;
                        form.message = Some(REFUSED.to_owned());
                    }
                }
            }
        }
    }
    let data = Data { form, registration_open: app.registration_is_open() };
    page.show_refused("sign_in/login.html", &data)
}

/// The sign-in form for a sign-in that was overtaken on another page than this one (422), with `email` filled in.
pub(super) fn show_overtaken(
    page: &Page,
    app: &App,
    email: &str,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::with_values([("email", email)]);
    form.message = Some(OVERTAKEN.to_owned());
    let data = Data { form, registration_open: app.registration_is_open() };
    page.show_refused("sign_in/login.html", &data)
}
