//! `GET`, `POST /reset-password/{token}`: sets a new password by a link from a mail. GET changes nothing,
//! because mail scanners follow links. A reset revokes every session and does not sign in: access to the
//! mailbox alone must not be enough (ASVS 5.0 V6.3.6), and a second factor is requested at the next sign-in.
//! The browser becomes a known device, so that attempts from elsewhere do not delay that sign-in.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::link_gone::{self, Alternative};
use crate::app::App;
use crate::auth::{self, OptionalUser, known_device};
use crate::crypto::secret::Secret;
use crate::user::email::token::Purpose;
use crate::user::password::policy::Password;
use crate::user::rate_limit::{Action, Attempt};
use crate::user::{User, email, password, users};
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::{Form, FormView};
use crate::web::headers::without_referrer;
use crate::web::page::Page;

const ALTERNATIVE: Alternative = Alternative {
    text: "Request a new one. It works for 30 minutes, and only the latest link is valid.",
    href: "/forgot-password",
    label: "Request a new link",
};

const TEMPLATE: &str = "sign_in/reset_password.html";

#[derive(Serialize)]
struct Data {
    form: FormView,
    email: String,
    password_min: usize,
}

/// `GET /reset-password/{token}`.
#[tracing::instrument(name = "reset_password_form", level = "debug", skip_all)]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    path: web::Path<String>,
) -> Result<HttpResponse, HttpError> {
    let Some((_, user)) = find(&app, &path).await? else {
        return link_gone::show(&page, ALTERNATIVE);
    };
    let data = data(&app, &user, FormView::default());
    page.show(TEMPLATE, &data).map(without_referrer)
}

/// `POST /reset-password/{token}`.
#[tracing::instrument(name = "reset_password", level = "debug", skip_all)]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    visitor: OptionalUser,
    path: web::Path<String>,
    sent: Form,
) -> Result<HttpResponse, HttpError> {
    let origin = auth::origin(page.request());
    let permit = Attempt::of(Action::Verify).ip(origin.ip_address).check(&app.pool).await?;
    let Some((token, user)) = find(&app, &path).await? else {
        return link_gone::show(&page, ALTERNATIVE);
    };
    let mut form = FormView::default();
    let Some(new) = parse(&app, &user, &mut form, sent) else {
        let data = data(&app, &user, form);
        return page.show_refused(TEMPLATE, &data).map(without_referrer);
    };
    let hash = permit.refund_on_error(app.hasher.hash(&new)).await?;
    let (pool, sealer) = (&app.pool, app.sealer.clone());
    let reset = password::change::reset(pool, sealer, &token, hash, origin);
    let reset = permit.refund_on_error(reset).await?;
    let Some((user, changed_at)) = reset else { return link_gone::show(&page, ALTERNATIVE) };
    permit.refund().await?;
    app.sessions.invalidate_user(user).await;
    known_device::mark_known(page.request(), &app, user, Some(changed_at));
    if visitor.0.is_some_and(|visitor| visitor.account.id == user) {
        auth::clear_cookie(page.request());
    }
    let notice = Notice::good(
        "Your password has been changed, and you've been signed out everywhere. Sign in with your new password.",
    );
    Ok(without_referrer(page.redirect_with("/login", &notice)))
}

/// Parses the submitted password. `None`: the errors are in `form`.
fn parse(app: &App, user: &User, form: &mut FormView, mut sent: Form) -> Option<Password> {
    let new = form.take(&mut sent, "new_password", "Your new password");
    let context = app.password_context(&user.email, &user.display_name);
    let checked = app
        .password_policy
        .check(&new, &context)
        .map_err(|problem| form.add_error("new_password", problem.to_string()));
    checked.ok().filter(|_| form.is_valid())
}

/// Finds the user whose password the link with `token` resets. `None` if the link is not valid.
async fn find(app: &App, token: &str) -> Result<Option<(Secret, User)>, HttpError> {
    let Some(token) = Secret::parse(token) else { return Ok(None) };
    let pending = email::token::find(&app.pool, &token).await?;
    let Some(pending) = pending.filter(|pending| pending.purpose == Purpose::ResetPassword) else {
        return Ok(None);
    };
    Ok(users::find(&app.pool, pending.user).await?.map(|user| (token, user)))
}

fn data(app: &App, user: &User, form: FormView) -> Data {
    Data { form, email: user.email.clone(), password_min: app.config.password_min_length }
}
