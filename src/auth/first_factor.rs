//! Creates a session from a verified first factor; no other code does. One transaction locks the account,
//! checks that it has not changed since the verification, deletes the browser's former session and inserts
//! the new one. The session middleware writes nothing: the state of the former session is deleted with its
//! row.

use actix_web::HttpRequest;

use super::known_device;
use super::origin::origin;
use crate::app::App;
use crate::db;
use crate::session::{CreatedSession, NewSession};
use crate::user::User;
use crate::web::cookie_guard;
use crate::web::error::HttpError;

/// A credential that was verified in this request, together with the account that it was verified for. The
/// account is not read a second time: it is compared with the row when the session is inserted.
#[derive(Debug)]
pub struct FirstFactor {
    /// The account as it was when the credential was verified, including changes that this request made.
    pub user: User,
    /// The method (RFC 8176: `pwd`).
    pub method: &'static str,
}

/// What the page after a sign-in has to tell the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The number of other sessions of the user that ended because of `FRONTDESK_SESSIONS_PER_USER`.
    pub ended_by_limit: usize,
    /// The account is scheduled for deletion: every sign-in leads to the page where that can be canceled.
    pub is_deletion_scheduled: bool,
}

/// The outcome of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum SignInOutcome {
    /// The session is committed and its cookie is set.
    SignedIn(SignedIn),
    /// Password, email or role changed since the credential was verified, or the account was disabled or
    /// deleted. No session was inserted, and the browser's former session continues.
    AccountChanged,
}

/// Creates the session in one transaction. `None` if the account changed after the verification: see
/// [`SignInOutcome::AccountChanged`].
pub(super) async fn create_session(
    request: &HttpRequest,
    app: &App,
    factor: FirstFactor,
    remembered: bool,
) -> Result<Option<CreatedSession>, HttpError> {
    let FirstFactor { user, method } = factor;
    let new_session = NewSession {
        remembered,
        auth_methods: vec![method.to_owned()],
        origin: origin(request),
        password_changed_at: user.password_changed_at,
        on_new_device: !known_device::is_known(request, app, &user),
        verified_account: Some((user.email.clone(), user.role)),
    };
    let former = cookie_guard::secret(request).map(|secret| secret.digest());
    let (store, id) = (app.sessions.clone(), user.id);
    let created = db::transaction::<_, sqlx::Error, _>(&app.pool, move |connection| {
        Box::pin(async move { store.create(connection, id, new_session, former).await })
    })
    .await?;
    if created.is_none() {
        tracing::info!("the account changed while its user signed in; no session was inserted");
    }
    Ok(created)
}
