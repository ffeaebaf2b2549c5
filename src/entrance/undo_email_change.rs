//! `GET`, `POST /undo-email-change/{token}`: for the owner of a former address, when it was somebody else who changed it.
//! Looking does nothing. The account gets that address back, and every session ends, so that a new password can be set by a
//! link that only the owner reads.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::link_gone::{self, Instead};
use crate::app::App;
use crate::auth::{self, Visitor};
use crate::kit::cookie_guard::{self, CookieChange};
use crate::kit::error::HttpError;
use crate::kit::flash::Notice;
use crate::kit::form::Form;
use crate::kit::headers::without_referrer;
use crate::kit::page::Page;
use crate::secret::Secret;
use crate::user::email_change;
use crate::user::email_token::{self, Pending, Purpose};
use crate::user::throttle::{self, Action};

const GONE: Instead = Instead {
    text: "A change of address can be undone for a week. If this address is the one of your account, you can set a new password with it.",
    href: "/forgot-password",
    label: "Set a new password",
};

#[derive(Serialize)]
struct Data {
    email: String,
}

/// `GET /undo-email-change/{token}`.
pub async fn show(
    app: web::Data<App>,
    page: Page,
    path: web::Path<String>,
) -> Result<HttpResponse, HttpError> {
    match find(&app, &path).await? {
        None => link_gone::show(&page, GONE),
        Some((_, pending)) => {
            let data = Data { email: pending.email };
            page.show("entrance/undo_email_change.html", &data).map(without_referrer)
        }
    }
}

/// `POST /undo-email-change/{token}`.
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    visitor: Visitor,
    path: web::Path<String>,
    _form: Form,
) -> Result<HttpResponse, HttpError> {
    let granted = auth::admit(page.request(), &app, Action::Verify, None).await?;
    let Some((token, pending)) = find(&app, &path).await? else {
        return link_gone::show(&page, GONE);
    };
    let (sealer, origin) = (app.sealer.clone(), auth::origin(page.request()));
    let undone = email_change::undo(&app.pool, sealer, &token, origin).await?;
    let Some(user) = undone else { return link_gone::show(&page, GONE) };
    throttle::refund(&app.pool, granted).await?;
    app.sessions.settle_user(user).await;
    if visitor.0.is_some_and(|visitor| visitor.person.id == user) {
        cookie_guard::wish(page.request(), |wish| wish.change = CookieChange::Clear);
    }
    let notice = Notice::good(format!(
        "The address of your account is {} again, and everybody is signed out. Now set a new password.",
        pending.email
    ));
    Ok(without_referrer(page.redirect_with("/forgot-password", &notice)))
}

async fn find(app: &App, token: &str) -> Result<Option<(Secret, Pending)>, HttpError> {
    let Some(token) = Secret::parse(token) else { return Ok(None) };
    let pending = email_token::find(&app.pool, &token).await?;
    let undoes = |pending: &Pending| pending.purpose == Purpose::UndoEmailChange;
    Ok(pending.filter(undoes).map(|pending| (token, pending)))
}
