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
use crate::user::rate_limit::{Action, Attempt, Refusal};
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
    let requester = user.requester(request);
    let attempt = Attempt::of(Action::Confirm)
        .email(address.as_ref())
        .ip(requester.origin.ip_address)
        .requester(&requester);
    let permit = match attempt.check(&app.pool).await {
        Ok(permit) => permit,
        Err(Refusal::TooMany { retry_after }) => {
            return Ok(Reauthentication::Throttled { retry_after });
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let (pool, id) = (&app.pool, user.account.id);
    match password::verify::confirm(pool, &app.hasher, &permit, id, password).await? {
        Some(stored) => {
            permit.refund().await?;
            Ok(Reauthentication::Given(stored))
        }
        None => {
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
