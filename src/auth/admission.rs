//! Whether something may be tried now: counted before the work is done.

use actix_web::HttpRequest;

use crate::app::App;
use crate::kit::client;
use crate::kit::error::HttpError;
use crate::user::throttle::{self, Action, Admission, Granted, Who};

/// Counts a try of `action`, or answers 429. `account` is a canonical address, whether it has an account or not.
pub async fn admit(
    request: &HttpRequest,
    app: &App,
    action: Action,
    account: Option<&str>,
) -> Result<Granted, HttpError> {
    let who = Who { account, ip_address: client::ip_address(request), ..Who::default() };
    match throttle::admit(&app.pool, action, who).await? {
        Admission::Granted(granted) => Ok(granted),
        Admission::Refused { retry_after } => Err(HttpError::SlowDown { retry_after }),
    }
}
