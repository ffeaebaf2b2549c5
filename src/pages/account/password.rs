//! `GET`, `POST /account/password`. One transaction changes the password, revokes all other sessions and
//! rotates the secret of this session.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::app::App;
use crate::auth::{self, CurrentUser, Reauthentication, known_device};
use crate::language::Text;
use crate::paths::page_path;
use crate::user::password;
use crate::user::password::change::PasswordSet;
use crate::user::password::policy::Password;
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;

const TEMPLATE: &str = "account/password.html";
const WRONG_PASSWORD: &str = "password-wrong";

#[derive(Serialize)]
struct Data {
    form: FormView,
    password_min: usize,
    email: String,
}

/// `GET /account/password`.
#[tracing::instrument(name = "password_page", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
) -> Result<HttpResponse, HttpError> {
    page.show(TEMPLATE, &data(&app, &user, FormView::default()))
}

/// `POST /account/password`.
#[tracing::instrument(name = "change_password", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    sent: Form,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::default();
    let Some(Input { current, new }) = parse(&app, &user, &mut form, sent) else {
        return page.show_refused(TEMPLATE, &data(&app, &user, form));
    };
    let request = page.request();
    match auth::reauthenticate(request, &app, &user, &current).await? {
        Reauthentication::WrongPassword => {}
        Reauthentication::RateLimited { retry_after } => {
            form.set_rate_limited(Text::key("too-many-attempts"), retry_after);
            return page.show_rate_limited(TEMPLATE, &data(&app, &user, form), retry_after);
        }
        Reauthentication::Accepted { verified_hash } => {
            let hash = app.hasher.hash(&new).await?;
            let (sealer, requester) = (app.sealer.clone(), user.requester(request));
            let set = password::change::change(
                &app.pool,
                sealer,
                &app.hooks,
                &requester,
                verified_hash,
                hash,
            );
            if let PasswordSet::Done { ended, secret, at } = set.await?? {
                app.sessions.invalidate_user(user.account.id).await;
                known_device::mark_known(request, &app, user.account.id, Some(at));
                auth::rotate_cookie(request, secret);
                return Ok(page.redirect_with(&page_path("/account/password"), &changed(ended)));
            }
        }
    }
    form.add_error("current_password", Text::key(WRONG_PASSWORD));
    page.show_refused(TEMPLATE, &data(&app, &user, form))
}

/// A complete form.
struct Input {
    current: Password,
    new: Password,
}

/// Parses the submitted form. `None`: the errors are in `form`.
fn parse(app: &App, user: &CurrentUser, form: &mut FormView, mut sent: Form) -> Option<Input> {
    let current =
        form.take(&mut sent, "current_password", Text::key("field-label-current-password"));
    let new = form.take(&mut sent, "new_password", Text::key("field-label-new-password"));
    if form.is_valid() && current.is_empty() {
        form.add_error("current_password", Text::key("password-current-missing"));
    }
    let context = app.password_context(&user.account.email, &user.account.display_name);
    let checked = app
        .password_policy
        .check(&new, &context)
        .map_err(|problem| form.add_error("new_password", problem.to_string()));
    if form.is_valid() && current == new {
        form.add_error("new_password", Text::key("password-same"));
    }
    let current = Password::parse(&current)
        .map_err(|_| form.add_error("current_password", Text::key(WRONG_PASSWORD)));
    if !form.is_valid() {
        return None;
    }
    Some(Input { current: current.ok()?, new: checked.ok()? })
}

fn changed(ended: usize) -> Notice {
    Notice::good(match ended {
        0 => Text::key("password-changed"),
        ended => Text::key("password-changed-others").with("n", ended),
    })
}

fn data(app: &App, user: &CurrentUser, form: FormView) -> Data {
    Data { form, password_min: app.config.password_min_length, email: user.account.email.clone() }
}
