//! `GET`, `POST /forgot-password`: the response is the same for every email. The request is only stored; a
//! background job sends the mail, so that response time does not reveal whether an account exists (Django,
//! CVE-2024-45231).

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::auth::{self, known_device};
use crate::language::Text;
use crate::mail::address::EmailAddress;
use crate::paths::page_path;
use crate::user::rate_limit::{Action, Attempt, Refusal};
use crate::user::sign_up::recovery;
use crate::web::error::HttpError;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;

const TEMPLATE: &str = "sign_in/forgot_password.html";

#[derive(Serialize)]
struct Data {
    form: FormView,
    /// The request was accepted: "Check your email".
    sent: bool,
    mail_is_on: bool,
}

/// The query string.
#[derive(Deserialize)]
pub struct Query {
    sent: Option<String>,
}

/// `GET /forgot-password`.
#[tracing::instrument(name = "forgot_password_form", level = "debug", skip_all)]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, HttpError> {
    let sent = query.is_some_and(|query| query.into_inner().sent.is_some());
    let form = FormView::with_values([("email", "")]);
    page.show(TEMPLATE, &Data { sent, ..data(&app, form) })
}

/// `POST /forgot-password`.
#[tracing::instrument(name = "forgot_password", level = "debug", skip_all)]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    sent: Form,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::default();
    let Some(email) = parse(&mut form, sent) else {
        return page.show_refused(TEMPLATE, &data(&app, form));
    };
    let origin = auth::origin(page.request());
    let device = known_device::find_for(page.request(), &app, Some(&email)).await?;
    let attempt = Attempt::of(Action::Recover).email(Some(&email)).ip(origin.ip_address);
    let permit = match attempt.known_device(device).check(&app.pool, &app.sealer).await {
        Ok(permit) => permit,
        Err(Refusal::TooMany { retry_after }) => {
            form.set_rate_limited(Text::key("too-many-requests"), retry_after);
            return page.show_rate_limited(TEMPLATE, &data(&app, form), retry_after);
        }
        Err(refusal) => return Err(refusal.into()),
    };
    if app.mail_is_on() {
        permit.refund_on_error(recovery::request(&app.pool, &email, &origin)).await?;
        app.pending_mail.recovery_requests.notify_one();
    }
    Ok(page.redirect(&page_path("/forgot-password?sent")))
}

/// Parses the submitted email. `None`: the errors are in `form`.
fn parse(form: &mut FormView, mut sent: Form) -> Option<EmailAddress> {
    let typed = form.take(&mut sent, "email", Text::key("field-label-email"));
    form.values.insert("email", typed.clone());
    let email = EmailAddress::parse_existing(&typed)
        .map_err(|error| form.add_error("email", error.to_string()));
    email.ok().filter(|_| form.is_valid())
}

fn data(app: &App, form: FormView) -> Data {
    Data { form, sent: false, mail_is_on: app.mail_is_on() }
}
