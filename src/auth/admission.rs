//! Whether something may be tried now: counted before the work is done.

use actix_web::HttpRequest;

use super::device;
use crate::app::App;
use crate::kit::client;
use crate::kit::error::HttpError;
use crate::user::email_address::EmailAddress;
use crate::user::throttle::{self, Action, Admission, Granted, Who};

/// Who tries something about the account of `email`: a browser that has signed in to it before is counted by itself.
pub async fn who<'a>(
    request: &HttpRequest,
    app: &App,
    email: Option<&'a EmailAddress>,
) -> sqlx::Result<Who<'a>> {
    Ok(Who {
        account: email.map(EmailAddress::canonical),
        ip_address: client::ip_address(request),
        known_device: device::known_for(request, app, email).await?,
    })
}

/// Counts a try of `action` about the account of `email`, or answers 429.
pub async fn admit_about(
    request: &HttpRequest,
    app: &App,
    action: Action,
    email: &EmailAddress,
) -> Result<Granted, HttpError> {
    let who = who(request, app, Some(email)).await?;
    granted(throttle::admit(&app.pool, action, who).await?)
}

/// Counts a try of `action` where no device is known, or answers 429. `account` is as in [`Who`].
pub async fn admit(
    request: &HttpRequest,
    app: &App,
    action: Action,
    account: Option<&str>,
) -> Result<Granted, HttpError> {
    let who = Who { account, ip_address: client::ip_address(request), ..Who::default() };
    granted(throttle::admit(&app.pool, action, who).await?)
}

fn granted(admission: Admission) -> Result<Granted, HttpError> {
    match admission {
        Admission::Granted(granted) => Ok(granted),
        Admission::Refused { retry_after } => Err(HttpError::SlowDown { retry_after }),
    }
}
