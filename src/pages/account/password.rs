//! `GET`, `POST /account/password`: the new password, the end of all other sessions and the new secret of
//! this one happen together or not at all.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::auth::{self, CurrentUser, Reauthentication, known_device};
use crate::user::password;
use crate::user::password::change::PasswordSet;
use crate::user::password::policy::Password;
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;

const WRONG: &str = "That password is incorrect.";

#[derive(Serialize)]
struct Data {
    form: FormView,
    password_min: usize,
    email: String,
}

/// `GET /account/password`.
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
) -> Result<HttpResponse, HttpError> {
    page.show("account/password.html", &data(&app, &user, FormView::default()))
}

/// `POST /account/password`.
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::default();
    let current = form.take(&mut sent, "current_password", "Your current password");
    let new = form.take(&mut sent, "new_password", "Your new password");
    if form.is_valid() && current.is_empty() {
        form.add_error("current_password", "Enter your current password.");
    }
    let context = app.password_context(&user.account.email, &user.account.display_name);
    let checked = app
        .password_policy
        .check(&new, &context)
        .map_err(|problem| form.add_error("new_password", problem.to_string()));
    if form.is_valid() && current == new {
        form.add_error("new_password", "That's already your password. Choose a different one.");
    }
    let current = Password::parse(&current).map_err(|_| form.add_error("current_password", WRONG));
    if let (true, Ok(current), Ok(new)) = (form.is_valid(), current, checked) {
        match auth::reauthenticate(page.request(), &app, &user, &current).await? {
            Reauthentication::WrongPassword => form.add_error("current_password", WRONG),
            Reauthentication::Throttled { retry_after } => {
                form.throttle("Too many attempts.", retry_after);
                let data = data(&app, &user, form);
                return page.show_throttled("account/password.html", &data, retry_after);
            }
            Reauthentication::Accepted { verified_hash: verified } => {
                let hash = app.hasher.hash(&new).await?;
                let (sealer, requester) = (app.sealer.clone(), user.requester(page.request()));
                let set = password::change::change(&app.pool, sealer, &requester, verified, hash);
                match set.await?? {
                    PasswordSet::Done { ended, secret, at } => {
                        app.sessions.invalidate_user(user.account.id).await;
                        known_device::mark_known(page.request(), &app, user.account.id, Some(at));
                        auth::rotate_cookie(page.request(), secret);
                        return Ok(page.redirect_with("/account/password", &done(ended)));
                    }
                    PasswordSet::Overtaken => form.add_error("current_password", WRONG),
                }
            }
        }
    }
    page.show_refused("account/password.html", &data(&app, &user, form))
}

fn done(ended: usize) -> Notice {
    Notice::good(match ended {
        0 => "Your password has been changed.".to_owned(),
        1 => "Your password has been changed, and you've been signed out on your other device."
            .to_owned(),
        many => format!(
            "Your password has been changed, and you've been signed out on {many} other devices."
        ),
    })
}

fn data(app: &App, user: &CurrentUser, form: FormView) -> Data {
    Data { form, password_min: app.config.password_min_length, email: user.account.email.clone() }
}
