//! [`Confirmed`]: somebody who proved who they are a moment ago, in this very session. For pages that risk something.

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use time::OffsetDateTime;

use super::CurrentUser;
use crate::kit::error::HttpError;

/// A proof counts as fresh for so long (ASVS 5.0 V7.5.1).
pub const FRESH_FOR: Duration = Duration::from_secs(15 * 60);

/// Somebody who is signed in and proved it lately. Others are asked to say who they are again.
#[derive(Clone, Debug)]
pub struct Confirmed(pub CurrentUser);

impl FromRequest for Confirmed {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let user = CurrentUser::from_request(request, payload).into_inner();
        let fresh = |user: &CurrentUser| {
            let proved = user.session.authenticated_at;
            proved.is_some_and(|at| OffsetDateTime::now_utc() - at < FRESH_FOR)
        };
        ready(match user {
            Ok(user) if fresh(&user) => Ok(Confirmed(user)),
            Ok(_) => Err(HttpError::ConfirmFirst {
                next: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
            }),
            Err(error) => Err(error),
        })
    }
}
