//! `GET /invitation/{token}`, `GET`, `POST /invitation`: creates the account of an invitation, also where
//! registration is closed. GET changes nothing, because mail scanners follow links. The link proves the email,
//! and the password is chosen in this browser, so the form signs in.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::link_gone::{self, Alternative};
use super::mailed_link::{self, INVITATION};
use super::verify_email;
use crate::app::App;
use crate::auth;
use crate::crypto::secret::Secret;
use crate::language::Text;
use crate::user::display_name::DisplayName;
use crate::user::password::policy::Password;
use crate::user::rate_limit::{Action, Attempt};
use crate::user::sign_up::invitation::{self, Invitation};
use crate::web::error::HttpError;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;

const ALTERNATIVE: Alternative = Alternative {
    text: || Text::key("link-gone-invitation"),
    href: "/login",
    label: "action-sign-in",
};

const TEMPLATE: &str = "sign_in/invitation.html";

#[derive(Serialize)]
struct Data {
    form: FormView,
    /// The sealed token.
    link: String,
    email: String,
    password_min: usize,
}

/// `GET /invitation/{token}`: 303 to the page without the token.
#[tracing::instrument(name = "open_invitation", level = "debug", skip_all)]
pub async fn open(app: web::Data<App>, page: Page) -> Result<HttpResponse, HttpError> {
    match find(&app, mailed_link::token_in_path(page.request())).await? {
        Some((token, _)) => Ok(INVITATION.redirect(&page, &app, &token, None)),
        None => link_gone::show(&page, ALTERNATIVE),
    }
}

/// `GET /invitation`.
#[tracing::instrument(name = "invitation_form", level = "debug", skip_all)]
pub async fn show(app: web::Data<App>, page: Page) -> Result<HttpResponse, HttpError> {
    let Some(token) = INVITATION.token(page.request(), &app) else {
        return mailed_link::show_unopened(&page);
    };
    let Some((token, invitation)) = find(&app, Some(token)).await? else {
        return link_gone::show(&page, ALTERNATIVE);
    };
    let name = invitation.display_name.as_deref().unwrap_or_default();
    let form = FormView::with_values([("display_name", name)]);
    page.show(TEMPLATE, &data(&app, &token, &invitation, form))
}

/// `POST /invitation`.
#[tracing::instrument(name = "accept_invitation", level = "debug", skip_all)]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let origin = auth::origin(page.request());
    let permit =
        Attempt::of(Action::Verify).ip(origin.ip_address).check(&app.pool, &app.sealer).await?;
    let token = INVITATION.submitted_token(page.request(), &app, &mut sent);
    let Some((token, invitation)) = find(&app, token).await? else {
        return link_gone::refuse(&app, &page, &permit, None, ALTERNATIVE).await;
    };
    let mut form = FormView::default();
    let Some((display_name, password)) = parse(&app, &invitation, &mut form, sent) else {
        return page.show_refused(TEMPLATE, &data(&app, &token, &invitation, form));
    };
    let hash = permit.refund_on_error(app.hasher.hash(&password)).await?;
    let accept = invitation::accept(&app.pool, &app.hooks, &token, display_name, hash, origin);
    let Some(user) = permit.refund_on_error(accept).await? else {
        return link_gone::refuse(&app, &page, &permit, None, ALTERNATIVE).await;
    };
    permit.refund().await?;
    let response = verify_email::sign_in_new_account(&app, &page, user).await?;
    Ok(mailed_link::clear(response, &app))
}

/// Parses the submitted form. `None`: the errors are in `form`.
fn parse(
    app: &App,
    invitation: &Invitation,
    form: &mut FormView,
    mut sent: Form,
) -> Option<(DisplayName, Password)> {
    let display_name = form.take(&mut sent, "display_name", Text::key("field-label-name"));
    let password = form.take(&mut sent, "password", Text::key("field-label-password"));
    form.values.insert("display_name", display_name.clone());
    let context = app.password_context(&invitation.email, &display_name);
    let password = app.password_policy.check(&password, &context);
    let display_name = DisplayName::parse(&display_name)
        .map_err(|error| form.add_error("display_name", error.to_string()));
    let password = password.map_err(|problem| form.add_error("password", problem.to_string()));
    if !form.is_valid() {
        return None;
    }
    Some((display_name.ok()?, password.ok()?))
}

/// Finds the invitation of the link with `token`. `None` if it can no longer be accepted.
async fn find(app: &App, token: Option<Secret>) -> Result<Option<(Secret, Invitation)>, HttpError> {
    let Some(token) = token else { return Ok(None) };
    let invitation = invitation::find(&app.pool, &token).await?;
    Ok(invitation.map(|invitation| (token, invitation)))
}

fn data(app: &App, token: &Secret, invitation: &Invitation, form: FormView) -> Data {
    let link = INVITATION.seal(app, token);
    let (email, password_min) = (invitation.email.clone(), app.config.password_min_length);
    Data { form, link, email, password_min }
}
