//! `GET`, `POST /account/confirm`: say who you are again. Afterwards what was asked for goes on: a page by its address
//! (303), a form by being sent again with what it held (307, `kit/replay.rs`). The session gets a new secret.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::app::App;
use crate::audit::{self, Event, EventKind};
use crate::auth::{self, CurrentUser, Reauthentication, RecentlyAuthenticated};
use crate::session::{Lock, Requester};
use crate::user::password;
use crate::user::password::policy::Password;
use crate::user::session_rules::{self, AccountEvent};
use crate::web::error::HttpError;
use crate::web::flash::{Kind, Notice};
use crate::web::form::FormView;
use crate::web::page::Page;
use crate::web::resumed_form::{self, RawForm, SessionBinding};
use crate::web::return_to;

const OWN_PATH: &str = "/account/confirm";
const WRONG: &str = "That password is incorrect.";

/// What the address bar brings along.
#[derive(serde::Deserialize)]
pub struct Query {
    next: Option<String>,
}

/// `GET /account/confirm`.
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, HttpError> {
    let next = query.and_then(|query| query.into_inner().next).unwrap_or_default();
    if RecentlyAuthenticated::is_fresh(&user.session) {
        return Ok(page.redirect(&onward(&app, &next).unwrap_or_else(|| "/account".to_owned())));
    }
    let form = FormView { next, ..FormView::default() };
    auth::ask(&page, &user, StatusCode::OK, form, "")
}

/// `POST /account/confirm`.
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    RawForm(mut sent): RawForm,
) -> Result<HttpResponse, HttpError> {
    let mut form = FormView::default();
    let password = form.take(&mut sent, "password", "Your password");
    form.next = sent.take_optional("next").unwrap_or_default();
    let original = sent.take_optional(resumed_form::FIELD).unwrap_or_default();
    if form.is_good() && password.is_empty() {
        form.refuse("password", "Enter your password.");
    }
    let password = Password::parse(&password).map_err(|_| form.refuse("password", WRONG));
    if let (true, Ok(password)) = (form.is_good(), password) {
        match auth::reauthenticate(page.request(), &app, &user, &password).await? {
            Reauthentication::Wrong => form.refuse("password", WRONG),
            Reauthentication::Throttled { retry_after } => {
                return auth::ask_later(&page, &user, form, &original, retry_after);
            }
            Reauthentication::Given(verified) => {
                if renew(&app, &page, &user, verified).await? {
                    return Ok(rotate_cookie(&app, &page, &form.next, &original));
                }
                form.refuse("password", WRONG);
            }
        }
    }
    auth::ask(&page, &user, StatusCode::UNPROCESSABLE_ENTITY, form, &original)
}

/// A new secret and a fresh proof; no server takes the old cookie once this returns. `false` if the stored hash is no longer
/// `verified`: the password was changed meanwhile, and nothing was done.
async fn renew(
    app: &App,
    page: &Page,
    user: &CurrentUser,
    verified: String,
) -> Result<bool, HttpError> {
    let requester = user.requester(page.request());
    let Requester { user, session, origin, .. } = requester.clone();
    let renewed = requester.transaction::<_, sqlx::Error, _>(
        &app.pool,
        Lock::UserAndSession,
        move |connection| {
            Box::pin(async move {
                if !password::verify::is_current(connection, user, &verified).await? {
                    return Ok(None);
                }
                let current = Some(session);
                let renewed = session_rules::apply(
                    connection,
                    AccountEvent::Reauthenticated,
                    user,
                    current,
                    &origin,
                )
                .await?;
                let event = Event {
                    kind: EventKind::Reauthenticated,
                    user: Some(user),
                    session: current,
                    origin: &origin,
                    details: json!({ "methods": ["pwd"] }),
                };
                audit::record(connection, event).await?;
                Ok(Some(renewed))
            })
        },
    );
    let Some(renewed) = renewed.await?? else { return Ok(false) };
    app.sessions.invalidate_user(requester.user).await;
    auth::rotate_cookie(page.request(), renewed.secret);
    Ok(true)
}

fn rotate_cookie(app: &App, page: &Page, next: &str, original: &str) -> HttpResponse {
    let next = onward(app, next);
    if original.is_empty() {
        return page.redirect(next.as_deref().unwrap_or("/account"));
    }
    let holder = SessionBinding::of(page.request());
    match (next, holder) {
        (Some(next), Some(holder)) if holder.open(&app.sealer, &next, original).is_some() => {
            page.redirect_preserving_method(&next)
        }
        _ => {
            let text = "Your request expired and nothing was changed. Please start again.";
            page.redirect_with("/account", &Notice { kind: Kind::Info, text: text.to_owned() })
        }
    }
}

/// A page of ours, and not this one, which would go round in circles.
fn onward(app: &App, next: &str) -> Option<String> {
    let next = return_to::checked(next, app.config.public_url.origin())?;
    (next.split('?').next() != Some(OWN_PATH)).then_some(next)
}
