//! What happens directly around the handlers of a site.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;

use crate::web::{site_cookies, site_policy};

/// The middleware directly around the handlers of a site: they get the site's cookies, and none of Frontdesk's, and
/// cannot set one of Frontdesk's. Their responses have the site's Content-Security-Policy.
pub async fn leave_cookies(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    site_cookies::leave(&mut request);
    let mut response = next.call(request).await?;
    site_policy::extend(&mut response);
    match site_cookies::refuse_own_names(&response) {
        Ok(()) => Ok(response.map_into_left_body()),
        Err(error) => {
            let response = ServiceResponse::from_err(error, response.into_parts().0);
            Ok(response.map_into_right_body())
        }
    }
}
