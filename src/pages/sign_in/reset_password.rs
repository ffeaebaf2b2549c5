//! `GET`, `POST /reset-password/{token}`: a new password by a link from a mail. Looking does nothing. Setting it ends every
//! session and signs nobody in: the mailbox alone is no way in (ASVS 5.0 V6.3.6), and a second factor is asked at the
//! sign-in that follows. Nothing that strangers try keeps the owner from that one: the browser counts as a known device.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::link_gone::{self, Instead};
use crate::app::App;
use crate::auth::{self, Visitor, known_device};
use crate::crypto::secret::Secret;
use crate::user::email::token::Purpose;
use crate::user::rate_limit::{Action, Attempt};
use crate::user::{User, email, password, users};
use crate::web::cookie_guard::{self, CookieChange};
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::{Form, FormView};
use crate::web::headers::without_referrer;
use crate::web::page::Page;

const GONE: Instead = Instead {
    text: "Request a new one. It works for 30 minutes, and only the latest link is valid.",
    href: "/forgot-password",
    label: "Request a new link",
};

#[derive(Serialize)]
struct Data {
    form: FormView,
    email: String,
    password_min: usize,
}

/// `GET /reset-password/{token}`.
pub async fn show(
    app: web::Data<App>,
    page: Page,
    path: web::Path<String>,
) -> Result<HttpResponse, HttpError> {
    match find(&app, &path).await? {
        None => link_gone::show(&page, GONE),
        Some((_, user)) => {
            let data = data(&app, &user, FormView::default());
            page.show("sign_in/reset_password.html", &data).map(without_referrer)
        }
    }
}

/// `POST /reset-password/{token}`.
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    visitor: Visitor,
    path: web::Path<String>,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let origin = auth::origin(page.request());
    let permit = Attempt::of(Action::Verify).ip(origin.ip_address).check(&app.pool).await?;
    let Some((token, user)) = find(&app, &path).await? else {
        return link_gone::show(&page, GONE);
    };
    let mut form = FormView::default();
    let new = form.take(&mut sent, "new_password", "Your new password");
    let checked = app
        .passwords
        .check(&new, &app.password_context(&user.email, &user.display_name))
        .map_err(|problem| form.refuse("new_password", problem.to_string()));
    if let (true, Ok(new)) = (form.is_good(), checked) {
        let hash = permit.give_back_on_error(app.hasher.hash(&new)).await?;
        let (pool, sealer) = (&app.pool, app.sealer.clone());
        let reset = password::change::reset(pool, sealer, &token, hash, origin);
        let reset = permit.give_back_on_error(reset).await?;
        let Some((user, at)) = reset else { return link_gone::show(&page, GONE) };
        permit.refund().await?;
        app.sessions.invalidate_user(user).await;
        known_device::remember(page.request(), &app, user, Some(at));
        if visitor.0.is_some_and(|visitor| visitor.account.id == user) {
            cookie_guard::override_cookie(page.request(), |override_cookie| {
                override_cookie.change = CookieChange::Clear
            });
        }
        let notice = Notice::good(
            "Your password has been changed, and you've been signed out everywhere. Sign in with your new password.",
        );
        return Ok(without_referrer(page.redirect_with("/login", &notice)));
    }
    page.show_refused("sign_in/reset_password.html", &data(&app, &user, form)).map(without_referrer)
}

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
