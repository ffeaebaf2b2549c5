//! `GET /reset-password/{token}`, `GET`, `POST /reset-password`: sets a new password by a link from a mail. GET
//! changes nothing, because mail scanners follow links. A reset revokes every session and does not sign in:
//! access to the mailbox alone must not be enough (ASVS 5.0 V6.3.6), and a second factor is requested at the
//! next sign-in. The browser becomes a known device, so that attempts from elsewhere do not delay that sign-in.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use time::OffsetDateTime;

use super::link_gone::{self, Alternative};
use super::mailed_link::{self, RESET_PASSWORD};
use crate::app::App;
use crate::auth::{self, OptionalUser, known_device};
use crate::crypto::secret::Secret;
use crate::language::Text;
use crate::lifetimes;
use crate::paths::page_path;
use crate::user::email::token::Purpose;
use crate::user::password::change::PasswordReset;
use crate::user::password::policy::Password;
use crate::user::rate_limit::{Action, Attempt};
use crate::user::{User, email, password, users};
use crate::web::cookie_guard;
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;
use crate::web::relative_time::{self, Time};

const ALTERNATIVE: Alternative = Alternative {
    text: || Text::key("link-gone-reset").with("lifetime", lifetimes::words(lifetimes::RESET_LINK)),
    href: "/forgot-password",
    label: "link-gone-reset-link",
};

const TEMPLATE: &str = "sign_in/reset_password.html";

#[derive(Serialize)]
struct Data {
    form: FormView,
    /// The sealed token.
    link: String,
    email: String,
    password_min: usize,
    /// When the account will be deleted, if that was requested.
    due: Option<Time>,
    /// The box that keeps it is checked.
    keep_account: bool,
}

/// `GET /reset-password/{token}`: 303 to the page without the token.
#[tracing::instrument(name = "open_reset_link", level = "debug", skip_all)]
pub async fn open(app: web::Data<App>, page: Page) -> Result<HttpResponse, HttpError> {
    let token = mailed_link::token_in_path(page.request());
    match find(&app, token).await? {
        Some((token, _)) => Ok(RESET_PASSWORD.redirect(&page, &app, &token, None)),
        None => link_gone::show(&page, ALTERNATIVE),
    }
}

/// `GET /reset-password`.
#[tracing::instrument(name = "reset_password_form", level = "debug", skip_all)]
pub async fn show(app: web::Data<App>, page: Page) -> Result<HttpResponse, HttpError> {
    let Some(token) = RESET_PASSWORD.token(page.request(), &app) else {
        return mailed_link::show_unopened(&page);
    };
    let Some((token, user)) = find(&app, Some(token)).await? else {
        return link_gone::show(&page, ALTERNATIVE);
    };
    page.show(TEMPLATE, &data(&app, &token, &user, FormView::default(), false))
}

/// `POST /reset-password`.
#[tracing::instrument(name = "reset_password", level = "debug", skip_all)]
pub async fn submit(
    app: web::Data<App>,
    page: Page,
    visitor: OptionalUser,
    mut sent: Form,
) -> Result<HttpResponse, HttpError> {
    let origin = auth::origin(page.request());
    let permit =
        Attempt::of(Action::Verify).ip(origin.ip_address).check(&app.pool, &app.sealer).await?;
    let token = RESET_PASSWORD.submitted_token(page.request(), &app, &mut sent);
    let digest = token.as_ref().map(Secret::digest);
    let Some((token, user)) = find(&app, token).await? else {
        return link_gone::refuse(&app, &page, &permit, digest.as_ref(), ALTERNATIVE).await;
    };
    let mut form = FormView::default();
    let keep_account = sent.take_optional("keep_account").as_deref() == Some("on");
    let Some(new) = parse(&app, &user, &mut form, sent) else {
        return page.show_refused(TEMPLATE, &data(&app, &token, &user, form, keep_account));
    };
    let hash = permit.refund_on_error(app.hasher.hash(&new)).await?;
    let (pool, sealer) = (&app.pool, app.sealer.clone());
    let reset =
        password::change::reset(pool, sealer, &app.hooks, &token, hash, keep_account, origin);
    let reset = permit.refund_on_error(reset).await?;
    let Some(PasswordReset { user: id, at, is_kept }) = reset else {
        return link_gone::refuse(&app, &page, &permit, digest.as_ref(), ALTERNATIVE).await;
    };
    permit.refund().await?;
    app.sessions.invalidate_user(id).await;
    known_device::mark_known(page.request(), &app, id, Some(at));
    if visitor.0.is_some_and(|visitor| visitor.account.id != id) {
        let text = Text::key("reset-password-done-other");
        let notice = Notice::good_about(text, "email", &user.email);
        return Ok(mailed_link::clear(page.redirect_with(&page_path("/account"), &notice), &app));
    }
    // Its session has ended, or had ended before.
    if cookie_guard::has_cookie(page.request()) {
        auth::clear_cookie(page.request());
    }
    let due_at = user.deletion_due_at.filter(|_| !is_kept);
    let notice = Notice::good(notice_text(due_at, is_kept));
    Ok(mailed_link::clear(page.redirect_with(&page_path("/login"), &notice), &app))
}

/// The notice after a reset. `due_at`: the account will still be deleted then. `is_kept`: a deletion was canceled.
fn notice_text(due_at: Option<OffsetDateTime>, is_kept: bool) -> Text {
    match due_at {
        Some(due_at) => {
            Text::key("reset-password-done-due").with("date", relative_time::exact(due_at))
        }
        None if is_kept => Text::key("reset-password-done-kept"),
        None => Text::key("reset-password-done"),
    }
}

/// Parses the submitted password. `None`: the errors are in `form`.
fn parse(app: &App, user: &User, form: &mut FormView, mut sent: Form) -> Option<Password> {
    let new = form.take(&mut sent, "new_password", Text::key("field-label-new-password"));
    let context = app.password_context(&user.email, &user.display_name);
    let checked = app
        .password_policy
        .check(&new, &context)
        .map_err(|problem| form.add_error("new_password", problem.to_string()));
    checked.ok().filter(|_| form.is_valid())
}

/// Finds the user whose password the link with `token` resets. `None` if the link is not valid.
async fn find(app: &App, token: Option<Secret>) -> Result<Option<(Secret, User)>, HttpError> {
    let Some(token) = token else { return Ok(None) };
    let pending = email::token::find(&app.pool, &token).await?;
    let Some(pending) = pending.filter(|pending| pending.purpose == Purpose::ResetPassword) else {
        return Ok(None);
    };
    Ok(users::find(&app.pool, pending.user).await?.map(|user| (token, user)))
}

fn data(app: &App, token: &Secret, user: &User, form: FormView, keep_account: bool) -> Data {
    let now = OffsetDateTime::now_utc();
    Data {
        form,
        link: RESET_PASSWORD.seal(app, token),
        email: user.email.clone(),
        password_min: app.config.password_min_length,
        due: user.deletion_due_at.map(|due_at| Time::new(due_at, now)),
        keep_account,
    }
}
