//! The errors of pages, named by what the visitor must do. A handler answers `Err(HttpError)` for what
//! is not its page; [`super::outer`] makes the page of it. What a person typed wrong is no error:
//! that is the form again, with 422.

use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};

use crate::db;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// 303 to the sign-in page, and back to `next` from there.
    #[error("sign in first")]
    SignInFirst {
        /// Path and query that were asked for; empty after a form.
        next: String,
    },
    /// 303 to the sign-in page: the session ended while the request was under way. The cookie is left
    /// alone: the browser may have signed in again in another tab.
    #[error("sign in again")]
    SignInAgain,
    /// 303 to the page that asks to say who you are again, and on to `next` from there.
    #[error("confirm first")]
    ReauthenticateFirst {
        /// Path and query that were asked for.
        next: String,
    },
    /// 400.
    #[error("the request cannot be understood")]
    BadRequest,
    /// 403: it did not come from our own pages.
    #[error("refused")]
    Forbidden,
    /// 404: there is none, or it is somebody else's.
    #[error("not found")]
    NotFound,
    /// 408, and the connection is closed.
    #[error("the body did not arrive in time")]
    RequestTimeout,
    /// 413.
    #[error("the body is too large")]
    PayloadTooLarge,
    /// 415.
    #[error("not a form")]
    UnsupportedMediaType,
    /// 429.
    #[error("slow down")]
    TooManyRequests {
        /// When to come back.
        retry_after: Duration,
    },
    /// 503: something that we need is away for now. Nobody is signed out by it.
    #[error("unavailable")]
    Unavailable {
        /// When to come back.
        retry_after: Duration,
        /// For the log.
        #[source]
        cause: Option<anyhow::Error>,
    },
    /// 500: our fault.
    #[error("internal")]
    Internal(#[source] anyhow::Error),
}

/// When to come back while the database is away.
const DATABASE_RETRY: Duration = Duration::from_secs(5);

impl HttpError {
    /// Something that we need is away.
    pub fn unavailable(cause: impl Into<anyhow::Error>) -> Self {
        Self::Unavailable { retry_after: DATABASE_RETRY, cause: Some(cause.into()) }
    }
}

impl From<sqlx::Error> for HttpError {
    fn from(error: sqlx::Error) -> Self {
        if db::is_unavailable(&error) {
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
            HttpError::BadRequest => StatusCode::BAD_REQUEST,
            HttpError::Forbidden => StatusCode::FORBIDDEN,
            HttpError::NotFound => StatusCode::NOT_FOUND,
            HttpError::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            HttpError::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            HttpError::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            HttpError::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            HttpError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            HttpError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Status and headers; the envelope adds the page.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            HttpError::SignInFirst { next } => {
                response.insert_header((header::LOCATION, with_next("/login", next)));
            }
            HttpError::SignInAgain => {
                response.insert_header((header::LOCATION, "/login"));
            }
            HttpError::ReauthenticateFirst { next } => {
                response.insert_header((header::LOCATION, with_next("/account/confirm", next)));
            }
            HttpError::TooManyRequests { retry_after } => {
                response.insert_header((header::RETRY_AFTER, seconds(*retry_after)));
            }
            HttpError::Unavailable { retry_after, cause } => {
                if let Some(cause) = cause {
                    tracing::warn!(error = format!("{cause:#}"), "answered 503");
                }
                response.insert_header((header::RETRY_AFTER, seconds(*retry_after)));
            }
            HttpError::RequestTimeout => {
                response.force_close();
            }
            HttpError::Internal(cause) => {
                tracing::error!(error = format!("{cause:#}"), "answered 500");
            }
            _ => {}
        }
        response.finish()
    }
}

fn with_next(path: &str, next: &str) -> String {
    if next.is_empty() {
        return path.to_owned();
    }
    let query: String =
        form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    format!("{path}?{query}")
}

/// The response, with when to come back.
pub(super) fn with_retry_after(mut response: HttpResponse, wait: Duration) -> HttpResponse {
    if let Ok(seconds) = header::HeaderValue::from_str(&seconds(wait)) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// When to come back, as [`HttpError`] and [`with_retry_after`] say it.
pub(super) fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn seconds(wait: Duration) -> String {
    wait.as_secs_f64().ceil().max(1.0).to_string()
}
