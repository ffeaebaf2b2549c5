//! `GET`, `POST /reset-password/{token}`: a new password by a link from a mail. Looking does nothing. Setting it ends every
//! session and signs nobody in: the mailbox alone is no way in (ASVS 5.0 V6.3.6), and a second factor is asked at the
//! sign-in that follows. Nothing that strangers try keeps the owner from that one: the browser counts as a known device.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::link_gone::{self, Instead};
use crate::app::App;
use crate::auth::{self, Visitor, device};
use crate::kit::cookie_guard::{self, CookieChange};
use crate::kit::error::HttpError;
use crate::kit::flash::Notice;
use crate::kit::form::{Form, FormView};
use crate::kit::headers::without_referrer;
use crate::kit::page::Page;
use crate::secret::Secret;
use crate::user::email_token::{self, Purpose};
use crate::user::throttle::{self, Action};
use crate::user::{User, record, set_password};

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
    let granted = auth::admit(page.request(), &app, Action::Verify, None).await?;
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
        let hash = app.hasher.hash(&new).await?;
        let (pool, sealer) = (&app.pool, app.sealer.clone());
        let origin = auth::origin(page.request());
        let reset = set_password::reset(pool, sealer, &token, hash, origin).await?;
        let Some((user, at)) = reset else { return link_gone::show(&page, GONE) };
        throttle::refund(&app.pool, granted).await?;
        app.sessions.settle_user(user).await;
        device::remember(page.request(), &app, user, Some(at));
        if visitor.0.is_some_and(|visitor| visitor.person.id == user) {
            cookie_guard::wish(page.request(), |wish| wish.change = CookieChange::Clear);
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
    let pending = email_token::find(&app.pool, &token).await?;
    let Some(pending) = pending.filter(|pending| pending.purpose == Purpose::ResetPassword) else {
        return Ok(None);
    };
    Ok(record::find(&app.pool, pending.user).await?.map(|user| (token, user)))
}

fn data(app: &App, user: &User, form: FormView) -> Data {
    Data { form, email: user.email.clone(), password_min: app.config.password_min_length }
}
