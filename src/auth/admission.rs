//! Whether something may be tried now: counted before the work is done.

use actix_web::HttpRequest;

use crate::app::App;
use crate::kit::client;
use crate::kit::error::HttpError;
use crate::user::throttle::{self, Action, Admission, Granted, Who};

/// Counts a try of `action`; the answer says whether it may be done. `account` is a canonical address, whether it has an
/// account or not.
pub async fn count(
    request: &HttpRequest,
    app: &App,
    action: Action,
    account: Option<&str>,
) -> sqlx::Result<Admission> {
    let who = Who { account, ip_address: client::ip_address(request), ..Who::default() };
    throttle::admit(&app.pool, action, who).await
}

/// The same for a page without a form to show again: too many are answered with 429.
pub async fn admit(
    request: &HttpRequest,
    app: &App,
    action: Action,
    account: Option<&str>,
) -> Result<Granted, HttpError> {
    match count(request, app, action, account).await? {
        Admission::Granted(granted) => Ok(granted),
        Admission::Refused { retry_after } => Err(HttpError::SlowDown { retry_after }),
    }
}
