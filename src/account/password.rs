//! `GET`, `POST /account/password`: the new password, the end of all other sessions and the new secret of
//! this one happen together or not at all.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::auth::{self, CurrentUser, Proof, device};
use crate::kit::error::HttpError;
use crate::kit::flash::Notice;
use crate::kit::form::{Form, FormView};
use crate::kit::page::Page;
use crate::user::password::Password;
use crate::user::set_password::{self, PasswordSet};

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
    if form.is_good() && current.is_empty() {
        form.refuse("current_password", "Enter your current password.");
    }
    let context = app.password_context(&user.person.email, &user.person.display_name);
    let checked = app
        .passwords
        .check(&new, &context)
        .map_err(|problem| form.refuse("new_password", problem.to_string()));
    if form.is_good() && current == new {
        form.refuse("new_password", "That's already your password. Choose a different one.");
    }
    let current = Password::parse(&current).map_err(|_| form.refuse("current_password", WRONG));
    if let (true, Ok(current), Ok(new)) = (form.is_good(), current, checked) {
        match auth::prove(page.request(), &app, &user, &current).await? {
            Proof::Wrong => form.refuse("current_password", WRONG),
            Proof::Throttled { retry_after } => {
                form.throttle("Too many attempts.", retry_after);
                let data = data(&app, &user, form);
                return page.show_throttled("account/password.html", &data, retry_after);
            }
            Proof::Given(verified) => {
                let hash = app.hasher.hash(&new).await?;
                let (sealer, requester) = (app.sealer.clone(), user.requester(page.request()));
                let set = set_password::change(&app.pool, sealer, &requester, verified, hash);
                match set.await?? {
                    PasswordSet::Done { ended, secret, at } => {
                        app.sessions.settle_user(user.person.id).await;
                        device::remember(page.request(), &app, user.person.id, Some(at));
                        auth::go_on(page.request(), secret);
                        return Ok(page.redirect_with("/account/password", &done(ended)));
                    }
                    PasswordSet::Overtaken => form.refuse("current_password", WRONG),
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
    Data { form, password_min: app.config.password_min_length, email: user.person.email.clone() }
}
