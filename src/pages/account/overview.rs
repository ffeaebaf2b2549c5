//! `GET /account`: who you are here, when you were last here, what could be better.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use time::OffsetDateTime;

use crate::app::App;
use crate::audit;
use crate::auth::CurrentUser;
use crate::session::{list, user_agent};
use crate::user::users;
use crate::web::error::HttpError;
use crate::web::page::Page;
use crate::web::relative_time::Time;

#[derive(Serialize)]
struct Data {
    user: Card,
    last_sign_in: Option<SignIn>,
    session_count: i64,
    improvements: Vec<Improvement>,
    /// Set: the account is deleted from then on.
    due: Option<Time>,
}

#[derive(Serialize)]
struct Card {
    display_name: String,
    email: String,
    created_at: Time,
}

#[derive(Serialize)]
struct SignIn {
    at: Time,
    device: String,
    address: Option<String>,
}

#[derive(Serialize)]
struct Improvement {
    text: String,
    href: &'static str,
    label: &'static str,
    /// A button, not a link.
    does: bool,
}

/// `GET /account`.
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
) -> Result<HttpResponse, HttpError> {
    let now = OffsetDateTime::now_utc();
    let account = users::find(&app.pool, user.account.id).await?.ok_or(HttpError::NotFound)?;
    let before = audit::find_previous_sign_in(&app.pool, user.account.id, user.session.id).await?;
    let session_count = list::count_for_user(&app.pool, user.account.id).await?;
    let mut improvements = Vec::new();
    if account.email_verified_at.is_none() && app.mail_is_on() {
        improvements.push(Improvement {
            text: "Confirm your email address so we can reach you.".to_owned(),
            href: "/account/email/verify",
            label: "Send confirmation email",
            does: true,
        });
    }
    if session_count > 5 {
        improvements.push(Improvement {
            text: format!(
                "You're signed in on {session_count} devices. Sign out the ones you don't use."
            ),
            href: "/account/sessions",
            label: "View sessions",
            does: false,
        });
    }
    let due = account.deletion_due_at.map(|due| Time::new(due, now));
    let data = Data {
        due,
        user: Card {
            display_name: account.display_name,
            email: account.email,
            created_at: Time::new(account.created_at, now),
        },
        last_sign_in: before.map(|before| SignIn {
            at: Time::new(before.at, now),
            device: user_agent::describe(before.user_agent.as_deref()).title,
            address: before.ip_address,
        }),
        session_count,
        improvements,
    };
    page.show("account/overview.html", &data)
}
