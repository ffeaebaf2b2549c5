//! `GET`, `POST /account/delete`, `POST /account/delete/cancel`. The page explains what will be deleted and
//! when. The button requires a recent authentication and revokes all sessions. During the grace period, a
//! sign-in redirects to this page, where a button cancels the deletion.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use time::OffsetDateTime;

use crate::app::App;
use crate::auth::{self, CurrentUser, RecentlyAuthenticated};
use crate::language::Text;
use crate::paths::page_path;
use crate::session::list;
use crate::user::deletion::{self, GRACE_DAYS};
use crate::user::queue::{self, Queue};
use crate::user::users;
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::Form;
use crate::web::page::Page;
use crate::web::relative_time::{self, Time};

#[derive(Serialize)]
struct Data {
    email: String,
    display_name: String,
    session_count: i64,
    grace_days: i32,
    /// When the account will be deleted, if deletion was requested.
    due: Option<Time>,
    /// The deletion was due, and failed.
    has_failed: bool,
    /// When it would be deleted if deletion were requested now.
    due_if_requested: Time,
    /// The user must enter the password before the form is processed.
    asks_for_password: bool,
}

/// `GET /account/delete`.
#[tracing::instrument(name = "delete_page", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
) -> Result<HttpResponse, HttpError> {
    let now = OffsetDateTime::now_utc();
    let account = users::find(&app.pool, user.account.id).await?.ok_or(HttpError::NotFound)?;
    let session_count = list::count_for_user(&app.pool, user.account.id).await?;
    let has_failed = match account.deletion_due_at {
        Some(due) if due <= now => {
            queue::has_failed(&app.pool, Queue::Deletions, user.account.id.uuid()).await?
        }
        _ => false,
    };
    let data = Data {
        has_failed,
        email: account.email,
        display_name: account.display_name,
        session_count,
        grace_days: GRACE_DAYS,
        due: account.deletion_due_at.map(|due| Time::new(due, now)),
        due_if_requested: Time::new(now + time::Duration::days(GRACE_DAYS.into()), now),
        asks_for_password: !RecentlyAuthenticated::is_recent(&user.session),
    };
    page.show("account/delete.html", &data)
}

/// `POST /account/delete`.
#[tracing::instrument(name = "delete_account", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    RecentlyAuthenticated(user): RecentlyAuthenticated,
    _form: Form,
) -> Result<HttpResponse, HttpError> {
    let requester = user.requester(page.request());
    let due_at = deletion::request(&app.pool, &app.sealer, &requester).await??;
    app.sessions.invalidate_user(requester.user).await;
    auth::clear_cookie(page.request());
    let notice =
        Notice::good(Text::key("delete-requested").with("date", relative_time::exact(due_at)));
    // The home page may be on another site, which cannot show the notice.
    let login = page_path("/login");
    let is_foreign = app.config.links.foreign_home(&app.config.public_url).is_some();
    let home = app.config.links.home.as_deref().unwrap_or("/");
    Ok(page.redirect_with(if is_foreign { &login } else { home }, &notice))
}

/// `POST /account/delete/cancel`.
#[tracing::instrument(name = "cancel_deletion", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn cancel(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    _form: Form,
) -> Result<HttpResponse, HttpError> {
    let requester = user.requester(page.request());
    let kept = deletion::cancel(&app.pool, &app.sealer, &requester).await??;
    let text = if kept { "delete-canceled" } else { "delete-not-scheduled" };
    Ok(page.redirect_with(&page_path("/account"), &Notice::good(Text::key(text))))
}
