//! Tells the user of a browser whose session has ended why. Only for a browser with a cookie that this site
//! sealed: its user was signed in. Whether the account was disabled or deleted is not told, because the sign-in
//! form does not tell it either.

use actix_web::HttpRequest;

use crate::app::App;
use crate::session::revoke::{self, Cause};
use crate::web::cookie_guard;
use crate::web::error::HttpError;

const UNKNOWN: &str =
    "Your session has ended, for example because it expired. Sign in to continue.";

/// The sentence for the browser of `request`, which is not signed in. `None` if it shows no cookie of an ended
/// session; then there is no query.
pub(super) async fn explain(
    request: &HttpRequest,
    app: &App,
) -> Result<Option<&'static str>, HttpError> {
    let Some(secret) = cookie_guard::secret(request) else { return Ok(None) };
    let cause = revoke::find_cause(&app.pool, &secret.digest()).await?;
    Ok(Some(cause.map_or(UNKNOWN, sentence)))
}

fn sentence(cause: Cause) -> &'static str {
    match cause {
        Cause::Revoked => {
            "You've been signed out from another device or by the site's administrators. Sign in to continue."
        }
        Cause::PasswordChanged | Cause::PasswordReset => {
            "You've been signed out because your password was changed. Sign in with the new one."
        }
        Cause::EmailChanged => {
            "You've been signed out because the email address of your account was changed. Sign in to continue."
        }
        Cause::EmailChangeUndone => {
            "You've been signed out because a change of your email address was undone. Sign in to continue."
        }
        Cause::DeletionRequested => {
            "You've been signed out because the deletion of your account was requested. To keep it, sign in."
        }
        Cause::SessionLimit => {
            "You've been signed out because you signed in on more devices than this site allows. Sign in to continue."
        }
        Cause::SignedOut => "You've signed out. Sign in to continue.",
        Cause::Expired
        | Cause::Replaced
        | Cause::RoleChanged
        | Cause::Disabled
        | Cause::Deleted => UNKNOWN,
    }
}
