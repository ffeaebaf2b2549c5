//! Errors of a site's handlers.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};

use crate::db::{self, Failure};
use crate::site::BoxError;
use crate::web::error::HttpError;

/// Why a handler does not return its page. Frontdesk renders the error page.
///
/// The operator `?` turns every type that implements [`std::error::Error`] into one: an error of the database that means
/// "unavailable" becomes 503 with `Retry-After`, every other one 500 with the request ID. The cause is logged and never
/// shown. For other types, such as `anyhow::Error`, write `map_err(Error::internal)`.
///
/// ```
/// use frontdesk::{Error, Page, PageResult, Path};
/// use serde_json::json;
///
/// async fn show(page: Page, id: Path<i64>) -> PageResult {
///     if *id < 1 {
///         return Err(Error::not_found());
///     }
///     page.render("note.html", &json!({ "id": *id }))
/// }
/// ```
// Does not implement `std::error::Error`: the implementation of `From` below would then conflict with that of
// the standard library for `From<Error> for Error`.
pub struct Error(HttpError);

/// The result of a handler that renders a page.
///
/// ```
/// use frontdesk::{Page, PageResult};
///
/// async fn about(page: Page) -> PageResult {
///     page.render("about.html", &serde_json::json!({}))
/// }
/// ```
pub type PageResult = Result<HttpResponse, Error>;

impl Error {
    /// 404: it does not exist, or belongs to another user.
    pub fn not_found() -> Self {
        Self(HttpError::NotFound)
    }

    /// 403: the user may not do this.
    pub fn forbidden() -> Self {
        Self(HttpError::NoAccess)
    }

    /// 400: the request cannot be understood.
    pub fn bad_request() -> Self {
        Self(HttpError::BadRequest)
    }

    /// 503: something that the site depends on is temporarily unavailable. `cause` is logged.
    pub fn unavailable(cause: impl Into<BoxError>) -> Self {
        Self(HttpError::unavailable(anyhow::Error::from_boxed(cause.into())))
    }

    /// 500: a bug, or a failure that a retry does not fix. `cause` is logged, and never shown.
    pub fn internal(cause: impl Into<BoxError>) -> Self {
        Self(HttpError::Internal(anyhow::Error::from_boxed(cause.into())))
    }

    pub(super) fn of(error: HttpError) -> Self {
        Self(error)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let error = anyhow::Error::new(error);
        let error = match error.downcast::<HttpError>() {
            Ok(error) => return Self(error),
            Err(error) => error,
        };
        Self(match error.downcast::<sqlx::Error>() {
            Ok(error) if db::is_wrong_name(&error) => HttpError::Internal(error.into()),
            Ok(error) => error.into(),
            Err(error) => HttpError::Internal(error),
        })
    }
}

/// For jobs and commands, whose errors are only logged or printed.
impl From<Error> for BoxError {
    fn from(error: Error) -> Self {
        match error.0 {
            HttpError::Unavailable { cause: Some(cause), .. } | HttpError::Internal(cause) => {
                cause.into()
            }
            other => Box::new(other),
        }
    }
}

impl Failure for Error {
    fn database_error(&self) -> Option<&sqlx::Error> {
        match &self.0 {
            HttpError::Unavailable { cause: Some(cause), .. } | HttpError::Internal(cause) => {
                cause.downcast_ref()
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.0.status_code()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.0.error_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_job_says_its_cause() {
        let failed = Error::from(sqlx::Error::RowNotFound);
        for (error, cause) in [
            (failed, sqlx::Error::RowNotFound.to_string()),
            (Error::unavailable("no paper"), "no paper".to_owned()),
            (Error::not_found(), "not found".to_owned()),
        ] {
            assert_eq!(BoxError::from(error).to_string(), cause);
        }
    }
}
