//! The extractors: [`CurrentUser`] for pages that need one, [`Visitor`] for pages that do not.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_identity::IdentityExt as _;
use actix_session::SessionExt as _;
use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest};

use super::device;
use crate::kit::cookie_guard;
use crate::kit::error::HttpError;
use crate::kit::page::Viewer;
use crate::kit::replay::Holder;
use crate::session::{Current, Person};

/// Somebody who is signed in. A stranger is sent to sign in and comes back afterwards.
#[derive(Clone, Debug)]
pub struct CurrentUser {
    /// Who.
    pub person: Arc<Person>,
    /// In which session.
    pub session: Arc<Current>,
}

/// Whoever it is.
#[derive(Clone, Debug)]
pub struct Visitor(pub Option<CurrentUser>);

/// The middleware right inside the session: reads once who it is, for the extractors, the page's header
/// and the cookie's age.
pub async fn recognize(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let current = Current::of(&request.get_session());
    if let Some(current) = current {
        if current.remembered {
            let left = std::time::Duration::from_secs(current.absolute_seconds.max(0) as u64);
            cookie_guard::wish(request.request(), |wish| wish.max_age = Some(left));
        }
        // actix-identity says who it is; the store says what we know of them. They must agree.
        let identity = request.get_identity().ok().and_then(|identity| identity.id().ok());
        if let Some(person) = current.user.clone()
            && identity.as_deref() == Some(person.id.to_string().as_str())
        {
            let viewer =
                Viewer { display_name: person.display_name.clone(), email: person.email.clone() };
            if !request.method().is_safe() {
                let holder = Holder { session: current.id.uuid(), age: current.age() };
                request.extensions_mut().insert(holder);
            }
            request.extensions_mut().insert(viewer);
            request.extensions_mut().insert(CurrentUser { person, session: current });
        }
    }
    let mut response = next.call(request).await?;
    device::set(&mut response);
    Ok(response)
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
