//! `GET`, `POST /register`. Where addresses have to be shown first, the answer is the same for an address with an account
//! and for one without, and so is the work. In open mode a taken address is said to be taken.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::{login, registration_cookie};
use crate::app::App;
use crate::auth::{self, FirstFactor, SignIn, Visitor};
use crate::config::Registration;
use crate::crypto::secret::Secret;
use crate::user::display_name::DisplayName;
use crate::user::email::address::EmailAddress;
use crate::user::rate_limit::{Action, Attempt, Refusal};
use crate::user::sign_up::registration;
use crate::user::users::InsertOutcome;
use crate::web::error::HttpError;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;
use crate::web::relative_time;

#[derive(Serialize)]
struct Data {
    form: FormView,
    password_min: usize,
    closed: bool,
    registration_open: bool,
}

/// `GET /register`.
pub async fn show(
    app: web::Data<App>,
    page: Page,
    visitor: Visitor,
) -> Result<HttpResponse, HttpError> {
    if visitor.0.is_some() {
        return Ok(page.redirect("/account"));
    }
    let form = FormView::with_values([("email", ""), ("display_name", "")]);
    page.show("sign_in/register.html", &data(&app, form))
}

/// `POST /register`.
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    if !app.registration_is_open() {
        let form = FormView::with_values([("email", ""), ("display_name", "")]);
        return page.show_with(StatusCode::FORBIDDEN, "sign_in/register.html", &data(&app, form));
    }
    let mut form = FormView::default();
    let email = form.take(&mut sent, "email", "Your email address");
    let display_name = form.take(&mut sent, "display_name", "Your name");
    let password = form.take(&mut sent, "password", "Your password");
    form.values.insert("email", email.clone());
    form.values.insert("display_name", display_name.clone());
    let address =
        EmailAddress::parse(&email).map_err(|error| form.refuse("email", error.to_string()));
    let name = DisplayName::parse(&display_name)
        .map_err(|error| form.refuse("display_name", error.to_string()));
    let checked = app
        .passwords
        .check(&password, &app.password_context(&email, &display_name))
        .map_err(|problem| form.refuse("password", problem.to_string()));
    if let (true, Ok(address), Ok(name), Ok(password)) = (form.is_good(), address, name, checked) {
        let origin = auth::origin(page.request());
        let attempt = Attempt::of(Action::Register).email(Some(&address)).ip(origin.ip_address);
        let permit = match attempt.check(&app.pool).await {
            Ok(permit) => permit,
            Err(Refusal::TooMany { retry_after }) => {
                form.message = Some(format!(
                    "Too many new accounts from your network. Wait {}, then try again.",
                    relative_time::wait(retry_after)
                ));
                return page.show_throttled(
                    "sign_in/register.html",
                    &data(&app, form),
                    retry_after,
                );
            }
            Err(refusal) => return Err(refusal.into()),
        };
        let hash = permit.give_back_on_error(app.hasher.hash(&password)).await?;
        if app.config.registration == Registration::Verified {
            let ticket = Secret::generate();
            let insert = registration::insert_pending(&app.pool, &ticket, &address, &name, &hash);
            permit.give_back_on_error(insert).await?;
            app.answers.notify_one();
            return Ok(registration_cookie::hand_out(
                page.redirect("/verify-email"),
                &app,
                &ticket,
            ));
        }
        let mail = app.mail_is_on().then(|| app.sealer.clone());
        let register =
            registration::register_unverified(&app.pool, mail, address, name, hash, origin);
        match permit.give_back_on_error(register).await? {
            InsertOutcome::Done(user) => {
                let proven = FirstFactor { user, method: "pwd" };
                return match auth::first_factor(page.request(), &app, proven, false).await? {
                    SignIn::SignedIn => Ok(page.redirect("/account")),
                    SignIn::Overtaken => login::show_overtaken(&page, &app, &email),
                };
            }
            InsertOutcome::EmailTaken => form.refuse(
                "email",
                "An account with this email already exists. Sign in, or use a different email.",
            ),
        }
    }
    page.show_refused("sign_in/register.html", &data(&app, form))
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
