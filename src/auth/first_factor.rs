//! The only way from a first factor to a session. One transaction locks the account, compares it with what was proven,
//! deletes the session that this browser had and inserts the new one; the cookie is set after its commit. The session
//! middleware writes nothing: what was in the session before a sign-in ends with its row.

use actix_web::HttpRequest;

use super::known_device;
use super::origin::origin;
use crate::app::App;
use crate::db;
use crate::session::NewSession;
use crate::user::User;
use crate::web::cookie_guard::{self, CookieChange};
use crate::web::error::HttpError;

/// A credential that was verified in this request, together with the account that it was verified for. The account is
/// never read again: what is compared when the session is inserted is what was proven.
#[derive(Debug)]
pub struct FirstFactor {
    /// The account as it was when the credential was verified, or as this request's own transaction left it.
    pub user: User,
    /// The method (RFC 8176: `pwd`).
    pub method: &'static str,
}

/// The outcome of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum SignIn {
    /// The session is committed and its cookie is set.
    SignedIn,
    /// Password, email or role changed since the credential was verified, or the account was disabled or deleted. No
    /// session was inserted, and the browser's former session continues.
    Overtaken,
}

/// Signs in the user of `proven` in this browser. With `remembered`, the cookie outlives the browser.
pub async fn first_factor(
    request: &HttpRequest,
    app: &App,
    proven: FirstFactor,
    remembered: bool,
) -> Result<SignIn, HttpError> {
    let FirstFactor { user, method } = proven;
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
    let Some(created) = created else {
        tracing::info!("the account changed while its user signed in; no session was inserted");
        return Ok(SignIn::Overtaken);
    };
    if let Some(replaced) = created.replaced {
        app.sessions.invalidate_replaced(replaced).await;
    }
    known_device::remember(request, app, id, user.password_changed_at);
    cookie_guard::override_cookie(request, |override_cookie| {
        override_cookie.change = CookieChange::Replace(created.secret.reveal());
        override_cookie.max_age = remembered.then_some(app.config.session.remembered_absolute);
    });
    Ok(SignIn::SignedIn)
}
