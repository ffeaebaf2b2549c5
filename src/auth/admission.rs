//! Whether something may be tried now: counted before the work is done.

use actix_web::HttpRequest;

use super::{CurrentUser, known_device};
use crate::app::App;
use crate::user::email::address::EmailAddress;
use crate::user::rate_limit::{self, Action, Admission, Granted, Who};
use crate::web::client;
use crate::web::error::HttpError;

/// Who tries something about the account of `email`: a browser that has signed in to it before is counted by itself.
pub async fn who<'a>(
    request: &HttpRequest,
    app: &App,
    email: Option<&'a EmailAddress>,
) -> sqlx::Result<Who<'a>> {
    Ok(Who {
        account: email.map(EmailAddress::canonical),
        ip_address: client::ip_address(request),
        known_device: known_device::find_for(request, app, email).await?,
    })
}

/// Counts a try of `action` about the account of `email`; the answer says whether it may be done.
pub async fn count_about(
    request: &HttpRequest,
    app: &App,
    action: Action,
    email: &EmailAddress,
) -> sqlx::Result<Admission> {
    let who = who(request, app, Some(email)).await?;
    rate_limit::admit(&app.pool, action, who).await
}

/// Counts a try of `action` where no device is known. `account` is as in [`Who`].
pub async fn count(
    request: &HttpRequest,
    app: &App,
    action: Action,
    account: Option<&str>,
) -> sqlx::Result<Admission> {
    let who = Who { account, ip_address: client::ip_address(request), ..Who::default() };
    rate_limit::admit(&app.pool, action, who).await
}

/// As [`count`], on behalf of the session of `user`, which must still exist: an attempt of a session that has ended is not
/// counted.
pub async fn count_in_session(
    request: &HttpRequest,
    app: &App,
    user: &CurrentUser,
    action: Action,
    account: Option<&str>,
) -> Result<Admission, HttpError> {
    let who = Who { account, ip_address: client::ip_address(request), ..Who::default() };
    Ok(rate_limit::admit_for(&app.pool, &user.requester(request), action, who).await??)
}

/// As [`count_in_session`], for a page without a form to show again: too many are answered with 429.
pub async fn admit_in_session(
    request: &HttpRequest,
    app: &App,
    user: &CurrentUser,
    action: Action,
    account: Option<&str>,
) -> Result<Granted, HttpError> {
    granted(count_in_session(request, app, user, action, account).await?)
}

/// As [`count_about`], for a page without a form to show again: too many are answered with 429.
pub async fn admit_about(
    request: &HttpRequest,
    app: &App,
    action: Action,
    email: &EmailAddress,
) -> Result<Granted, HttpError> {
    granted(count_about(request, app, action, email).await?)
}

/// As [`count`], for a page without a form to show again: too many are answered with 429.
pub async fn admit(
    request: &HttpRequest,
    app: &App,
    action: Action,
    account: Option<&str>,
) -> Result<Granted, HttpError> {
    granted(count(request, app, action, account).await?)
}

fn granted(admission: Admission) -> Result<Granted, HttpError> {
    match admission {
        Admission::Granted(granted) => Ok(granted),
        Admission::Refused { retry_after } => Err(HttpError::TooManyRequests { retry_after }),
    }
}
