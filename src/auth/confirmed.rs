//! [`RecentlyAuthenticated`]: somebody who proved who they are a moment ago, in this very session. For pages that risk something.
//! A page is asked for again afterwards; a form is carried along, sealed, and completes. Must stand before the `Form`
//! of a handler: whoever comes first takes the body.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::{Error, FromRequest, HttpRequest, HttpResponse, web};
use futures_util::future::LocalBoxFuture;
use serde::Serialize;

use super::CurrentUser;
use crate::crypto::seal::Sealer;
use crate::session::SessionInfo;
use crate::web::error::HttpError;
use crate::web::form::{Form, FormView};
use crate::web::page::Page;
use crate::web::resumed_form::{self, SessionBinding};

/// A proof counts as fresh for so long (ASVS 5.0 V7.5.1).
pub const RECENT_FOR: Duration = Duration::from_secs(15 * 60);

/// Somebody who is signed in and proved it lately. Others are asked to say who they are again.
#[derive(Clone, Debug)]
pub struct RecentlyAuthenticated(pub CurrentUser);

impl RecentlyAuthenticated {
    /// Whether the last proof in `session` is fresh, by the database's clock.
    pub fn is_fresh(session: &SessionInfo) -> bool {
        session.authentication_age().is_some_and(|age| age < RECENT_FOR)
    }
}

#[derive(Serialize)]
struct Data<'a> {
    form: FormView,
    email: &'a str,
    original_request: &'a str,
}

/// The page that asks to say who you are again; `original` is a sealed form, or nothing.
pub fn ask(
    page: &Page,
    user: &CurrentUser,
    status: StatusCode,
    form: FormView,
    original: &str,
) -> Result<HttpResponse, HttpError> {
    let data = Data { form, email: &user.account.email, original_request: original };
    page.show_with(status, "account/confirm.html", &data)
}

/// The same after too many tries; what is to be done afterwards is kept.
pub fn ask_later(
    page: &Page,
    user: &CurrentUser,
    mut form: FormView,
    original: &str,
    retry_after: Duration,
) -> Result<HttpResponse, HttpError> {
    form.throttle("Too many attempts.", retry_after);
    let data = Data { form, email: &user.account.email, original_request: original };
    page.show_throttled("account/confirm.html", &data, retry_after)
}

impl FromRequest for RecentlyAuthenticated {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let user = match CurrentUser::from_request(request, payload).into_inner() {
            Ok(user) => user,
            Err(error) => return Box::pin(async move { Err(error.into()) }),
        };
        if Self::is_fresh(&user.session) {
            return Box::pin(async move { Ok(RecentlyAuthenticated(user)) });
        }
        let target = resumed_form::target(request);
        if request.method().is_safe() {
            return Box::pin(
                async move { Err(HttpError::ReauthenticateFirst { next: target }.into()) },
            );
        }
        let form = Form::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let page = Page::extract(&request).await?;
            let sealer = request.app_data::<web::Data<Sealer>>();
            let (Some(sealer), Some(holder)) = (sealer, SessionBinding::of(&request)) else {
                return Err(HttpError::Internal(anyhow::anyhow!("sealing is not set up")).into());
            };
            let original = holder.seal(sealer, &target, &form.await?)?;
            let view = FormView { next: target, ..FormView::default() };
            // 403: what was asked for is not done yet, and no script must take it for done.
            let answer = ask(&page, &user, StatusCode::FORBIDDEN, view, &original)?;
            Err(InternalError::from_response("confirm first", answer).into())
        })
    }
}
