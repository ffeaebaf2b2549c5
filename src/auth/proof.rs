//! Somebody who is signed in says who they are again. The one place where pages compare a password of theirs, so that
//! a borrowed session is no place for guessing: counted before the work, and each refusal in the trail.

use std::time::Duration;

use actix_web::HttpRequest;
use serde_json::json;

use super::CurrentUser;
use crate::app::App;
use crate::audit::{self, Event};
use crate::db;
use crate::kit::error::HttpError;
use crate::user::authenticate;
use crate::user::email_address::EmailAddress;
use crate::user::password::Password;
use crate::user::throttle::{self, Action, Admission};

/// What came of it.
#[derive(Debug)]
pub enum Proof {
    /// It is them; the stored hash that was compared.
    Given(String),
    /// That is not the password.
    Wrong,
    /// Too many tries: nothing was compared.
    Throttled {
        /// When to come back.
        retry_after: Duration,
    },
}

/// Compares `password` with that of `user`.
pub async fn prove(
    request: &HttpRequest,
    app: &App,
    user: &CurrentUser,
    password: &Password,
) -> Result<Proof, HttpError> {
    let address = EmailAddress::parse(&user.person.email).ok();
    let account = address.as_ref().map(EmailAddress::canonical);
    let granted = match super::count(request, app, Action::Confirm, account).await? {
        Admission::Granted(granted) => granted,
        Admission::Refused { retry_after } => return Ok(Proof::Throttled { retry_after }),
    };
    let id = user.person.id;
    match authenticate::confirm(&app.pool, &app.hasher, id, password).await? {
        Some(stored) => {
            throttle::refund(&app.pool, granted).await?;
            Ok(Proof::Given(stored))
        }
        None => {
            let (session, origin) = (user.session.id, super::origin(request));
            db::transaction::<_, sqlx::Error, _>(&app.pool, move |connection| {
                Box::pin(async move {
                    audit::record(
                        connection,
                        Event {
                            name: "confirm_refused",
                            user: Some(id),
                            session: Some(session),
                            origin: &origin,
                            details: json!({ "why": "wrong_password" }),
                        },
                    )
                    .await
                })
            })
            .await?;
            Ok(Proof::Wrong)
        }
    }
}
