//! The errors of handlers, one for each status. A handler returns `Err(HttpError)` instead of its page, and
//! [`super::outer`] renders an error page. Invalid input is not an error: the handler shows the form again,
//! with 422.

use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};

use serde_json::json;

use crate::db;
use crate::paths::page_path;

/// Why a handler does not return its page.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// 303 to the sign-in page, and back to `next` from there.
    #[error("sign in first")]
    SignInFirst {
        /// Path and query of the request; empty if it was a form.
        next: String,
    },
    /// 303 to the sign-in page: the session was revoked during the request. The cookie is not removed,
    /// because the browser may have signed in again in another tab.
    #[error("sign in again")]
    SignInAgain,
    /// 401 with JSON, for a script: it cannot use a redirect to the sign-in page.
    #[error("sign in required")]
    SignInRequired,
    /// 403 with JSON, for a script: the user has to re-authenticate first.
    #[error("re-authentication required")]
    ReauthenticationRequired,
    /// 303 to the re-authentication page, and back to `next` from there.
    #[error("re-authenticate first")]
    ReauthenticateFirst {
        /// Path and query of the request.
        next: String,
    },
    /// 400.
    #[error("the request cannot be understood")]
    BadRequest,
    /// 403: a cross-site request.
    #[error("refused")]
    Forbidden,
    /// 403: the user may not do this.
    #[error("no access")]
    NoAccess,
    /// 403 with JSON, for a script: the user may not do this.
    #[error("no access")]
    NoAccessForScript,
    /// 404: it does not exist or belongs to another user.
    #[error("not found")]
    NotFound,
    /// 408, and the connection is closed.
    #[error("the body did not arrive in time")]
    RequestTimeout,
    /// 409: the form belongs to another account than the signed-in one. Nothing was changed.
    #[error("another account is signed in")]
    OtherAccount,
    /// 413.
    #[error("the body is too large")]
    PayloadTooLarge,
    /// 415.
    #[error("the content type is not supported")]
    UnsupportedMediaType,
    /// 429.
    #[error("too many requests")]
    TooManyRequests {
        /// How long to wait.
        retry_after: Duration,
    },
    /// 503: the database or another dependency is temporarily unavailable. No cookie is removed.
    #[error("unavailable")]
    Unavailable {
        /// How long to wait.
        retry_after: Duration,
        /// For the log.
        #[source]
        cause: Option<anyhow::Error>,
    },
    /// 500 in development: a template is broken. The page says where.
    #[error("a template is broken: {0}")]
    BrokenTemplate(String),
    /// 500: a bug, or a failure that retrying does not fix.
    #[error("internal")]
    Internal(#[source] anyhow::Error),
}

/// Marks a response as [`HttpError::NoAccess`]. The other 403 is a cross-site request.
pub(super) struct NoAccess;

/// Marks a response as [`HttpError::BrokenTemplate`].
pub(super) struct BrokenTemplate(pub(super) String);

/// `Retry-After` while the database is unavailable.
const DATABASE_RETRY: Duration = Duration::from_secs(5);

impl HttpError {
    /// A 503 with the cause for the log.
    pub fn unavailable(cause: impl Into<anyhow::Error>) -> Self {
        Self::Unavailable { retry_after: DATABASE_RETRY, cause: Some(cause.into()) }
    }
}

impl From<sqlx::Error> for HttpError {
    fn from(error: sqlx::Error) -> Self {
        if db::is_hook_failure(&error) {
            // Logged where it failed, with the name of the hook. Nothing was changed, so a retry is safe.
            Self::Unavailable { retry_after: DATABASE_RETRY, cause: None }
        } else if db::is_unavailable(&error) {
            Self::unavailable(error)
        } else {
            Self::Internal(anyhow::Error::new(error))
        }
    }
}

impl ResponseError for HttpError {
    fn status_code(&self) -> StatusCode {
        match self {
            HttpError::SignInFirst { .. }
            | HttpError::SignInAgain
            | HttpError::ReauthenticateFirst { .. } => StatusCode::SEE_OTHER,
            HttpError::SignInRequired => StatusCode::UNAUTHORIZED,
            HttpError::ReauthenticationRequired => StatusCode::FORBIDDEN,
            HttpError::BadRequest => StatusCode::BAD_REQUEST,
            HttpError::Forbidden | HttpError::NoAccess | HttpError::NoAccessForScript => {
                StatusCode::FORBIDDEN
            }
            HttpError::NotFound => StatusCode::NOT_FOUND,
            HttpError::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            HttpError::OtherAccount => StatusCode::CONFLICT,
            HttpError::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            HttpError::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            HttpError::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            HttpError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            HttpError::Internal(_) | HttpError::BrokenTemplate(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// Status and headers. [`super::outer`] adds the page.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            HttpError::SignInFirst { next } => {
                response.insert_header((header::LOCATION, with_next(&page_path("/login"), next)));
            }
            HttpError::SignInAgain => {
                response.insert_header((header::LOCATION, page_path("/login")));
            }
            HttpError::ReauthenticateFirst { next } => {
                response.insert_header((
                    header::LOCATION,
                    with_next(&page_path("/account/confirm"), next),
                ));
            }
            HttpError::TooManyRequests { retry_after } => {
                response.insert_header((header::RETRY_AFTER, seconds(*retry_after)));
            }
            HttpError::Unavailable { retry_after, cause } => {
                if let Some(cause) = cause {
                    db::log_failure("answered 503", cause);
                }
                response.insert_header((header::RETRY_AFTER, seconds(*retry_after)));
            }
            HttpError::RequestTimeout => {
                response.force_close();
            }
            HttpError::Internal(cause) => {
                tracing::error!(error = db::explain(cause), "answered 500");
            }
            HttpError::SignInRequired => {
                return response.json(json!({ "error": "sign_in_required" }));
            }
            HttpError::ReauthenticationRequired => {
                return response.json(json!({ "error": "reauthentication_required" }));
            }
            HttpError::NoAccessForScript => {
                return response.json(json!({ "error": "forbidden" }));
            }
            HttpError::BrokenTemplate(problem) => {
                tracing::error!("a template is broken: {problem}");
                response.extensions_mut().insert(BrokenTemplate(problem.clone()));
            }
            HttpError::NoAccess => {
                let mut response = response.finish();
                response.extensions_mut().insert(NoAccess);
                return response;
            }
            _ => {}
        }
        response.finish()
    }
}

/// `path` with the page to return to.
pub fn with_next(path: &str, next: &str) -> String {
    if next.is_empty() {
        return path.to_owned();
    }
    let query: String =
        form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    format!("{path}?{query}")
}

/// Sets `Retry-After`.
pub(super) fn with_retry_after(mut response: HttpResponse, wait: Duration) -> HttpResponse {
    if let Ok(seconds) = header::HeaderValue::from_str(&seconds(wait)) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// The value of `Retry-After`, as set by [`HttpError`] and [`with_retry_after`].
pub(super) fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn seconds(wait: Duration) -> String {
    wait.as_secs_f64().ceil().max(1.0).to_string()
}
