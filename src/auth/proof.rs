//! Somebody who is signed in says who they are again. The one place where pages compare a password of theirs, so that
//! a borrowed session is no place for guessing: counted before the work, and each refusal in the trail.

use std::time::Duration;

use actix_web::HttpRequest;
use serde_json::json;

use super::CurrentUser;
use crate::app::App;
use crate::audit::{self, Event, EventKind, RefusalReason};
use crate::session::Lock;
use crate::user::email::address::EmailAddress;
use crate::user::password;
use crate::user::password::policy::Password;
use crate::user::rate_limit::{self, Action, Admission};
use crate::web::error::HttpError;

/// What came of it.
#[derive(Debug)]
pub enum Reauthentication {
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
pub async fn reauthenticate(
    request: &HttpRequest,
    app: &App,
    user: &CurrentUser,
    password: &Password,
) -> Result<Reauthentication, HttpError> {
    let address = EmailAddress::parse(&user.account.email).ok();
    let account = address.as_ref().map(EmailAddress::canonical);
    let admission = super::count_in_session(request, app, user, Action::Confirm, account).await?;
    let granted = match admission {
        Admission::Granted(granted) => granted,
        Admission::Refused { retry_after } => {
            return Ok(Reauthentication::Throttled { retry_after });
        }
    };
    match password::verify::confirm(&app.pool, &app.hasher, user.account.id, password).await? {
        Some(stored) => {
            rate_limit::refund(&app.pool, granted).await?;
            Ok(Reauthentication::Given(stored))
        }
        None => {
            let requester = user.requester(request);
            let by = requester.clone();
            let record = requester.transaction::<_, sqlx::Error, _>(
                &app.pool,
                Lock::Session,
                move |connection| {
                    Box::pin(async move {
                        let event = Event {
                            kind: EventKind::ReauthenticationRefused,
                            user: Some(by.user),
                            session: Some(by.session),
                            origin: &by.origin,
                            details: json!({ "why": RefusalReason::WrongPassword.as_str() }),
                        };
                        audit::record(connection, event).await
                    })
                },
            );
            record.await??;
            Ok(Reauthentication::Wrong)
        }
    }
}
