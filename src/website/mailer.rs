//! The site's mail, for handlers.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::error::Error;
use crate::events::Mailer;

impl FromRequest for Mailer {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mailer = request.app_data::<Mailer>().cloned();
        ready(mailer.ok_or_else(|| Error::internal("no website is set up")))
    }
}
