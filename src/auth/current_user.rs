//! The extractors: [`CurrentUser`] for pages that need one, [`Visitor`] for pages that do not.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_identity::IdentityExt as _;
use actix_session::SessionExt as _;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, web};

use super::known_device;
use super::origin::origin;
use crate::app::App;
use crate::crypto::secret::Secret;
use crate::session::{Account, Requester, SessionInfo};
use crate::web::cookie_guard;
use crate::web::error::HttpError;
use crate::web::page::Viewer;
use crate::web::resumed_form::SessionBinding;

/// Somebody who is signed in. A stranger is sent to sign in and comes back afterwards.
#[derive(Clone, Debug)]
pub struct CurrentUser {
    /// Who.
    pub account: Arc<Account>,
    /// In which session.
    pub session: Arc<SessionInfo>,
}

impl CurrentUser {
    /// Who requests what `request` asks for: for the domain, which checks in its transaction that the session still
    /// exists. This extractor only knows that it existed when the head of the request arrived.
    pub fn requester(&self, request: &HttpRequest) -> Requester {
        // A session is loaded by its cookie, so there is one. A random secret is that of no session.
        let secret = cookie_guard::secret(request).unwrap_or_else(Secret::generate);
        Requester {
            user: self.account.id,
            session: self.session.id,
            token_digest: Some(secret.digest()),
            origin: origin(request),
        }
    }
}

/// Whoever it is.
#[derive(Clone, Debug)]
pub struct Visitor(pub Option<CurrentUser>);

/// The middleware right inside the session: reads once who it is, for the extractors, the page's header
/// and the cookie's age. A form whose session ended while its body arrived is answered with the way to sign in.
pub async fn recognize(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let current = SessionInfo::of(&request.get_session());
    if let Some(current) = current {
        if current.remembered {
            let left = std::time::Duration::from_secs(current.absolute_seconds.max(0) as u64);
            cookie_guard::override_cookie(request.request(), |override_cookie| {
                override_cookie.max_age = Some(left)
            });
        }
        // actix-identity says who it is; the store says what we know of them. They must agree.
        let identity = request.get_identity().ok().and_then(|identity| identity.id().ok());
        if let Some(account) = current.user.clone()
            && identity.as_deref() == Some(account.id.to_string().as_str())
        {
            let viewer =
                Viewer { display_name: account.display_name.clone(), email: account.email.clone() };
            if !request.method().is_safe() {
                let holder = SessionBinding { session: current.id.uuid(), age: current.age() };
                request.extensions_mut().insert(holder);
            }
            request.extensions_mut().insert(viewer);
            request.extensions_mut().insert(CurrentUser { account, session: current });
        }
    }
    let form_of = match request.method().is_safe() {
        true => None,
        false => request.extensions().get::<CurrentUser>().cloned(),
    };
    let response = next.call(request).await?;
    let mut response = match form_of {
        Some(user) => unless_ended(response, &user).await,
        None => response.map_into_left_body(),
    };
    known_device::set(&mut response);
    Ok(response)
}

/// The response to a form of `user`; [`HttpError::SignInAgain`] in place of a page if the session has ended. What a form
/// changes is checked where it is changed; this covers what its page shows. A redirect shows nothing of the account, and
/// neither does the page of a server error.
async fn unless_ended<B>(
    response: ServiceResponse<B>,
    user: &CurrentUser,
) -> ServiceResponse<EitherBody<B>> {
    let status = response.status();
    if status.is_redirection() || status.is_server_error() {
        return response.map_into_left_body();
    }
    let error = match is_live(response.request(), user).await {
        Ok(true) => return response.map_into_left_body(),
        Ok(false) => HttpError::SignInAgain,
        Err(error) => error,
    };
    // Where the body was not read to its end, the connection still has to be closed.
    let connection = response.response().head().connection_type();
    let (request, _) = response.into_parts();
    let mut response = ServiceResponse::from_err(error, request).map_into_right_body();
    response.response_mut().head_mut().set_connection_type(connection);
    response
}

async fn is_live(request: &HttpRequest, user: &CurrentUser) -> Result<bool, HttpError> {
    let app = request.app_data::<web::Data<App>>();
    let app = app.ok_or_else(|| HttpError::Internal(anyhow::anyhow!("the app is not set up")))?;
    Ok(user.requester(request).is_live(&app.pool).await?)
}

impl FromRequest for CurrentUser {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let found = request.extensions().get::<CurrentUser>().cloned();
        ready(found.ok_or_else(|| HttpError::SignInFirst {
            next: if request.method().is_safe() {
                request.uri().path_and_query().map(ToString::to_string).unwrap_or_default()
            } else {
                String::new()
            },
        }))
    }
}

impl FromRequest for Visitor {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Visitor(request.extensions().get::<CurrentUser>().cloned())))
    }
}
