//! `GET`, `POST /forgot-password`: one answer for every address. It is only noted here; a loop answers by mail, and no page
//! waits for it (Django, CVE-2024-45231).

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::auth;
use crate::user::email::address::EmailAddress;
use crate::user::rate_limit::{Action, Admission};
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
        EmailAddress::parse(&email).map_err(|error| form.add_error("email", error.to_string()));
    if let (true, Ok(address)) = (form.is_valid(), address) {
        let request = page.request();
        if let Admission::Refused { retry_after } =
            auth::count_about(request, &app, Action::Recover, &address).await?
        {
            form.throttle("Too many requests.", retry_after);
            let data = Data { form, sent: false, mail_is_on: app.mail_is_on() };
            return page.show_throttled("sign_in/forgot_password.html", &data, retry_after);
        }
        if app.mail_is_on() {
            recovery::request(&app.pool, &address, &auth::origin(request)).await?;
            app.pending_mail.notify_one();
        }
        return Ok(page.redirect("/forgot-password?sent"));
    }
    let data = Data { form, sent: false, mail_is_on: app.mail_is_on() };
    page.show_refused("sign_in/forgot_password.html", &data)
}
