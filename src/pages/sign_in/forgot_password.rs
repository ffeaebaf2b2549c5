//! `GET`, `POST /forgot-password`: one answer for every address. It is only noted here; a loop answers by mail, and no page
//! waits for it (Django, CVE-2024-45231).

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::auth::{self, known_device};
use crate::user::email::address::EmailAddress;
use crate::user::rate_limit::{Action, Attempt, Refusal};
use crate::user::sign_up::recovery;
use crate::web::error::HttpError;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;

#[derive(Serialize)]
struct Data {
    form: FormView,
    sent: bool,
    mail_is_on: bool,
}

/// What the address bar brings along.
#[derive(Deserialize)]
pub struct Query {
    sent: Option<String>,
}

/// `GET /forgot-password`.
pub async fn show(
    app: web::Data<App>,
    page: Page,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, HttpError> {
    let sent = query.is_some_and(|query| query.into_inner().sent.is_some());
    let form = FormView::with_values([("email", "")]);
    let data = Data { form, sent, mail_is_on: app.mail_is_on() };
    page.show("sign_in/forgot_password.html", &data)
}

/// `POST /forgot-password`.
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::default();
    let email = form.take(&mut sent, "email", "Your email address");
    form.values.insert("email", email.clone());
    let address =
        EmailAddress::parse(&email).map_err(|error| form.refuse("email", error.to_string()));
    if let (true, Ok(address)) = (form.is_good(), address) {
        let (email, origin) = (Some(&address), auth::origin(page.request()));
        let device = known_device::known_for(page.request(), &app, email).await?;
        let attempt = Attempt::of(Action::Recover).email(email).ip(origin.ip_address);
        let permit = match attempt.known_device(device).check(&app.pool).await {
            Ok(permit) => permit,
            Err(Refusal::TooMany { retry_after }) => {
                form.throttle("Too many requests.", retry_after);
                let data = Data { form, sent: false, mail_is_on: app.mail_is_on() };
                return page.show_throttled("sign_in/forgot_password.html", &data, retry_after);
            }
            Err(refusal) => return Err(refusal.into()),
        };
        if app.mail_is_on() {
            permit.give_back_on_error(recovery::request(&app.pool, &address, &origin)).await?;
            app.answers.notify_one();
        }
        return Ok(page.redirect("/forgot-password?sent"));
    }
    let data = Data { form, sent: false, mail_is_on: app.mail_is_on() };
    page.show_refused("sign_in/forgot_password.html", &data)
}
