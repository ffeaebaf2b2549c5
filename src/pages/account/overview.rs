//! `GET /account`: the account, the previous sign-in, and recommendations.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use time::OffsetDateTime;

use crate::app::App;
use crate::audit;
use crate::auth::CurrentUser;
use crate::language::Text;
use crate::session::{list, user_agent};
use crate::user::{User, users};
use crate::web::error::HttpError;
use crate::web::page::Page;
use crate::web::relative_time::Time;

/// With more sessions than this, the page recommends signing out unused devices.
const MANY_SESSIONS: i64 = 5;

#[derive(Serialize)]
struct Data {
    user: Profile,
    last_sign_in: Option<PreviousSignIn>,
    session_count: i64,
    recommendations: Vec<Recommendation>,
    /// When the account will be deleted, if deletion was requested.
    due: Option<Time>,
}

#[derive(Serialize)]
struct Profile {
    display_name: String,
    email: String,
    created_at: Time,
}

#[derive(Serialize)]
struct PreviousSignIn {
    at: Time,
    device: Text,
    ip_address: Option<String>,
}

#[derive(Serialize)]
struct Recommendation {
    text: Text,
    href: &'static str,
    label: Text,
    /// `href` is sent as a form; otherwise it is a link.
    is_form: bool,
}

/// `GET /account`.
#[tracing::instrument(name = "overview_page", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
) -> Result<HttpResponse, HttpError> {
    let now = OffsetDateTime::now_utc();
    let account = users::find(&app.pool, user.account.id).await?.ok_or(HttpError::NotFound)?;
    let previous =
        audit::find_previous_sign_in(&app.pool, user.account.id, user.session.id).await?;
    let session_count = list::count_for_user(&app.pool, user.account.id).await?;
    let data = Data {
        last_sign_in: previous.map(|sign_in| PreviousSignIn {
            at: Time::new(sign_in.at, now),
            device: user_agent::describe(sign_in.user_agent.as_deref()).title,
            ip_address: sign_in.ip_address,
        }),
        session_count,
        recommendations: recommendations(&app, &account, session_count),
        due: account.deletion_due_at.map(|due| Time::new(due, now)),
        user: Profile {
            display_name: account.display_name,
            email: account.email,
            created_at: Time::new(account.created_at, now),
        },
    };
    page.show("account/overview.html", &data)
}

fn recommendations(app: &App, account: &User, session_count: i64) -> Vec<Recommendation> {
    let mut recommendations = Vec::new();
    if account.email_verified_at.is_none() && app.mail_is_on() {
        recommendations.push(Recommendation {
            text: Text::key("overview-confirm-email"),
            href: "/account/email/verify",
            label: Text::key("email-send"),
            is_form: true,
        });
    }
    if session_count > MANY_SESSIONS {
        recommendations.push(Recommendation {
            text: Text::key("overview-many-sessions").with("n", session_count),
            href: "/account/sessions",
            label: Text::key("overview-sessions"),
            is_form: false,
        });
    }
    recommendations
}
