//! Tells the user of a browser whose session has ended why. Only for a browser with a cookie that this site
//! sealed: its user was signed in. Whether the account was disabled or deleted is not told, because the sign-in
//! form does not tell it either.

use actix_web::HttpRequest;

use crate::app::App;
use crate::language::Text;
use crate::session::revoke::{self, Cause};
use crate::web::cookie_guard;
use crate::web::error::HttpError;

/// The message for every other cause.
const UNKNOWN: &str = "ended-session";

/// The sentence for the browser of `request`, which is not signed in. `None` if it shows no cookie of an ended
/// session; then there is no query.
pub(super) async fn explain(request: &HttpRequest, app: &App) -> Result<Option<Text>, HttpError> {
    let Some(secret) = cookie_guard::secret(request) else { return Ok(None) };
    let cause = revoke::find_cause(&app.pool, &secret.digest()).await?;
    Ok(Some(Text::key(cause.map_or(UNKNOWN, key))))
}

/// The key of the message.
fn key(cause: Cause) -> &'static str {
    match cause {
        Cause::Revoked => "ended-session-revoked",
        Cause::PasswordChanged | Cause::PasswordReset => "ended-session-password",
        Cause::EmailChanged => "ended-session-email",
        Cause::EmailChangeUndone => "ended-session-email-undone",
        Cause::DeletionRequested => "ended-session-deletion",
        Cause::SessionLimit => "ended-session-limit",
        Cause::SignedOut => "ended-session-signed-out",
        Cause::Expired
        | Cause::Replaced
        | Cause::RoleChanged
        | Cause::Disabled
        | Cause::Deleted => UNKNOWN,
    }
}
