//! The extractors [`CurrentUser`], for pages that require a signed-in user, and [`OptionalUser`], for pages that
//! do not.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_identity::IdentityExt as _;
use actix_web::body::EitherBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};

use super::origin::origin;
use crate::app::App;
use crate::crypto::secret::Secret;
use crate::db;
use crate::session::{Account, Requester, SessionInfo};
use crate::site;
use crate::web::caller::Caller;
use crate::web::cookie_guard;
use crate::web::error::HttpError;
use crate::web::page_templates::Viewer;
use crate::web::resumed_form::SessionBinding;
use crate::web::return_to;

/// A signed-in user. Clients without a session are redirected to /login, and back to the page after signing
/// in.
#[derive(Clone, Debug)]
pub struct CurrentUser {
    /// The account, as loaded with the session.
    pub account: Arc<Account>,
    /// The session of the request.
    pub session: Arc<SessionInfo>,
}

impl CurrentUser {
    /// The requester for a domain transaction, which checks again that the session exists. The extractor
    /// checked it when the request headers arrived.
    pub fn requester(&self, request: &HttpRequest) -> Requester {
        // A loaded session has a cookie, so the fallback is not reached. A random secret matches no session.
        let secret = cookie_guard::secret(request).unwrap_or_else(Secret::generate);
        Requester {
            user: self.account.id,
            session: self.session.id,
            token_digest: Some(secret.digest()),
            origin: origin(request),
        }
    }
}

/// The signed-in user, if there is one.
#[derive(Clone, Debug)]
pub struct OptionalUser(pub Option<CurrentUser>);

/// The user of `session`. `None` if actix-identity stores a different user id than the session store.
pub(super) fn identify(request: &ServiceRequest, session: Arc<SessionInfo>) -> Option<CurrentUser> {
    let account = session.user.clone()?;
    let identity = request.get_identity().ok()?.id().ok()?;
    (identity == account.id.to_string()).then_some(CurrentUser { account, session })
}

/// Makes `user` available to the extractors and to the page header. For unsafe methods, also stores the
/// session binding that seals a form.
pub(super) fn provide(request: &ServiceRequest, user: CurrentUser) {
    let mut extensions = request.extensions_mut();
    if !request.method().is_safe() {
        extensions
            .insert(SessionBinding { session: user.session.id.uuid(), age: user.session.age() });
    }
    extensions.insert(Viewer {
        account: user.account.id.uuid(),
        session: user.session.id.uuid(),
        display_name: user.account.display_name.clone(),
        email: user.account.email.clone(),
        groups: user.account.groups.to_vec(),
    });
    extensions.insert(user);
}

/// Checks the session again after a form of `user` was processed. If the session has ended, the response
/// becomes [`HttpError::SignInAgain`], or [`HttpError::SignInRequired`] for a script of the site. Changes are checked in
/// their own transactions; this check protects the data that the page shows. Redirects and server errors contain no
/// account data and are not checked.
pub(super) async fn recheck<B>(
    response: ServiceResponse<B>,
    user: &CurrentUser,
) -> ServiceResponse<EitherBody<B>> {
    let status = response.status();
    if status.is_redirection() || status.is_server_error() {
        return response.map_into_left_body();
    }
    let request = response.request();
    let error = match is_live(request, user).await {
        Ok(true) => return response.map_into_left_body(),
        Ok(false) if is_script_of_site(request) => HttpError::SignInRequired,
        Ok(false) => HttpError::SignInAgain,
        Err(error) => error,
    };
    // If the body was not read completely, the connection still has to be closed.
    let connection = response.response().head().connection_type();
    let (request, _) = response.into_parts();
    let mut response = ServiceResponse::from_err(error, request).map_into_right_body();
    response.response_mut().head_mut().set_connection_type(connection);
    response
}

/// Frontdesk's own pages redirect every client.
fn is_script_of_site(request: &HttpRequest) -> bool {
    site::is_path_of_site(request.uri()) && Caller::of(request) == Caller::Script
}

async fn is_live(request: &HttpRequest, user: &CurrentUser) -> Result<bool, HttpError> {
    let app = request.app_data::<web::Data<App>>();
    let app = app.ok_or_else(|| HttpError::Internal(anyhow::anyhow!("the app is not set up")))?;
    Ok(user.requester(request).is_live(db::on(&app.pool)).await?)
}

impl FromRequest for CurrentUser {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let found = request.extensions().get::<CurrentUser>().cloned();
        ready(found.ok_or_else(|| HttpError::SignInFirst {
            next: if request.method().is_safe() {
                return_to::own_address(request.uri())
            } else {
                String::new()
            },
        }))
    }
}

impl FromRequest for OptionalUser {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(OptionalUser(request.extensions().get::<CurrentUser>().cloned())))
    }
}
