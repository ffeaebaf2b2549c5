//! The second arrival of a form gets the answer of the first: after a double click the browser shows only the
//! second answer, which would otherwise say that the email is taken, or that the password is wrong. The same
//! holds for a reload of a form whose answer was lost. The two may arrive at different servers, and the second
//! one while the first is being processed; then it waits.
//!
//! Only answers of forms that did what the user wanted are kept (`form_answers.rs`): every page answers such a
//! form with a redirect. A form that was refused is processed at each arrival, and each counts as an attempt. The
//! same holds for an export, whose answer is a file.
//!
//! An answer is given only to the client that sent the form first: to the same session, to a client with the
//! same session cookie, or to the browser with the same value in its cookie (`web/cookie_check.rs`); if the answer
//! removed the session cookie, to the same device. A client without any cookie never gets one. If the answer sets the cookie of a session that has ended in the
//! meantime, the form is processed again.

use std::future::ready;
use std::time::Duration;

use actix_http::BoxedPayloadStream;
use actix_web::body::{BodySize, EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse, web};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::known_device;
use crate::app::App;
use crate::crypto::secret::Secret;
use crate::form_answers::{self, Arrival, SentForm};
use crate::web::cookie_guard::{self, CookieChange, CookieOverride, override_cookie};
use crate::web::error::HttpError;
use crate::web::form;
use crate::web::form_token::{Client, FormToken, SIGN_OUT};
use crate::web::page_templates::Viewer;
use crate::web::{cookie_check, resumed_form};
use crate::{db, log};

/// The pause before asking again whether the first arrival was answered. It doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The answer to the first arrival, as it is kept.
#[derive(Serialize, Deserialize)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    session_cookie: CookieOverride,
    /// What the first arrival showed of its client, see [`identity`].
    client: Option<String>,
    /// The device of the account in the first arrival, see [`known_device::device_id`].
    #[serde(default)]
    device: Option<Uuid>,
}

/// The middleware directly around the handlers. Runs after the check against cross-site requests.
pub async fn answer_once<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let (form, token) = match receive(&mut request).await {
        Ok(Some(received)) => received,
        Ok(None) => return Ok(next.call(request).await?.map_into_left_body()),
        Err(error) => return Ok(request.error_response(error).map_into_right_body()),
    };
    let Some(app) = request.app_data::<web::Data<App>>().cloned() else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    match first_answer(&app, request.request(), &form, &token).await? {
        Outcome::Answered(response) => Ok(request.into_response(response).map_into_right_body()),
        Outcome::Untracked => Ok(next.call(request).await?.map_into_left_body()),
        Outcome::First => Ok(process(app, request, next, form, token).await?.map_into_left_body()),
    }
}

/// Reads the form of `request`, for the handler too. `None` if its arrivals are not tracked. The error is
/// [`HttpError::OtherAccount`]: also a handler that takes no form must not act for another account. All other
/// errors are for the handler.
async fn receive(request: &mut ServiceRequest) -> Result<Option<(SentForm, FormToken)>, HttpError> {
    // Any other body is for the handler of a site to read.
    let is_tracked = request.method() == Method::POST
        && request.path() != SIGN_OUT
        && request.content_type().eq_ignore_ascii_case("application/x-www-form-urlencoded");
    if !is_tracked {
        return Ok(None);
    }
    let received = {
        let (request, payload) = request.parts_mut();
        form::receive(request, payload)
    };
    let received = received.await;
    // For a handler of a site that reads the body itself; the others take the form that is kept.
    let again = received.as_ref().map(|received| received.body.clone());
    let again = again.map_err(|_| PayloadError::Overflow);
    let again: BoxedPayloadStream = Box::pin(stream::once(ready(again)));
    request.set_payload(Payload::from(again));
    let request = request.request();
    match received {
        Ok(received) => {
            form::keep_for_handler(request, Ok(received.form));
            let Some(token) = received.token else { return Ok(None) };
            let target = resumed_form::target(request);
            Ok(Some((SentForm::new(&token.secret, &target, received.digest), token)))
        }
        Err(HttpError::OtherAccount) => Err(HttpError::OtherAccount),
        Err(error) => {
            form::keep_for_handler(request, Err(error));
            Ok(None)
        }
    }
}

enum Outcome {
    /// The form has to be processed, and its answer kept.
    First,
    /// The form has to be processed, and its answer is not kept.
    Untracked,
    /// The answer to the first arrival.
    Answered(HttpResponse),
}

/// Waits for the answer to the first arrival of `form`, if this is not the first.
async fn first_answer(
    app: &App,
    request: &HttpRequest,
    form: &SentForm,
    token: &FormToken,
) -> Result<Outcome, HttpError> {
    let browser = cookie_check::read(request);
    let is_recognizable = match token.client {
        Client::Any => browser.is_some(),
        Client::Browser(value) => browser == Some(value),
        Client::Session { .. } => true,
    };
    if !is_recognizable {
        return Ok(Outcome::Untracked);
    }
    let mut pause = FIRST_PAUSE;
    loop {
        match form_answers::arrive(&app.pool, form).await {
            Ok(Arrival::First) => return Ok(Outcome::First),
            Ok(Arrival::Answered(answer)) => {
                let answer = restore(app, request, token.client, &answer).await;
                return Ok(answer.map_or(Outcome::Untracked, Outcome::Answered));
            }
            // Ends: the claim of an arrival that is never answered expires.
            Ok(Arrival::Running) => tokio::time::sleep(pause).await,
            Err(error) if db::is_unavailable(&error) => return Err(error.into()),
            Err(error) => {
                let what = "the arrivals of a form could not be counted; it is processed";
                db::log_failure(what, &error.into());
                return Ok(Outcome::Untracked);
            }
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Processes the form and keeps the answer, in a task of its own: a browser that sends a form a second time
/// closes the connection of the first.
async fn process<B: MessageBody + 'static>(
    app: web::Data<App>,
    request: ServiceRequest,
    next: Next<B>,
    form: SentForm,
    token: FormToken,
) -> Result<ServiceResponse<B>, Error> {
    let task = log::spawn_local(async move {
        let mut outcome = next.call(request).await;
        let answer = match &mut outcome {
            Ok(response) => answer_to_keep(&app, response, token.client),
            Err(_) => None,
        };
        let kept = match answer {
            Some(answer) => form_answers::keep(&app.pool, &form, &answer).await,
            None => form_answers::release(&app.pool, &form).await,
        };
        if let Err(error) = kept {
            db::log_failure("the answer to a form could not be kept", &error.into());
        }
        outcome
    });
    match task.await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(HttpError::unavailable(anyhow::Error::new(error)).into()),
    }
}

/// The answer in the form in which it is kept. `None` unless the form did what the user wanted.
fn answer_to_keep<B: MessageBody>(
    app: &App,
    response: &mut ServiceResponse<B>,
    client: Client,
) -> Option<Vec<u8>> {
    let is_done = response.status().is_redirection() && response.response().error().is_none();
    let is_empty = matches!(response.response().body().size(), BodySize::None | BodySize::Sized(0));
    if !is_done || !is_empty {
        return None;
    }
    known_device::set_cookie(response);
    let text = |value: &actix_web::http::header::HeaderValue| value.to_str().map(str::to_owned);
    let headers =
        response.headers().iter().map(|(name, value)| Some((name.to_string(), text(value).ok()?)));
    let headers = headers.collect::<Option<Vec<_>>>()?;
    let request = response.request();
    let device = match client {
        Client::Session { account, .. } => known_device::device_id(request, app, account),
        Client::Any | Client::Browser(_) => None,
    };
    let answer = Answer {
        status: response.status().as_u16(),
        headers,
        session_cookie: request.extensions().get().cloned().unwrap_or_default(),
        client: identity(request, client),
        device,
    };
    serde_json::to_vec(&answer).ok()
}

/// What a request shows of its client beside the form: a digest of its session's secret, or the value of the
/// browser's cookie. `None`: no cookie.
fn identity(request: &HttpRequest, client: Client) -> Option<String> {
    match client {
        Client::Session { .. } => {
            cookie_guard::secret(request).map(|secret| hex::encode(secret.digest().as_bytes()))
        }
        Client::Any | Client::Browser(_) => cookie_check::read(request).map(|id| id.to_string()),
    }
}

/// Opens a kept answer, for `request`. `None` if it belongs to another client, or if the session that it signs
/// in has ended.
async fn restore(
    app: &App,
    request: &HttpRequest,
    client: Client,
    answer: &[u8],
) -> Option<HttpResponse> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let has_same_identity = answer.client.is_some() && answer.client == identity(request, client);
    let is_same_client = match client {
        // The answer may have changed the secret of the session, and the browser may know it already. Or it ended
        // the session, and the browser has removed the cookie already.
        Client::Session { session, account } => {
            let viewer = request.extensions().get::<Viewer>().map(|viewer| viewer.session);
            let is_signed_out = matches!(answer.session_cookie.change, CookieChange::Clear)
                && cookie_guard::secret(request).is_none();
            let has_same_device = answer.device.is_some()
                && answer.device == known_device::device_id(request, app, account);
            viewer == Some(session) || has_same_identity || (is_signed_out && has_same_device)
        }
        Client::Any | Client::Browser(_) => has_same_identity,
    };
    if !is_same_client {
        return None;
    }
    if let CookieChange::Replace(secret) = &answer.session_cookie.change {
        let digest = Secret::parse(secret)?.digest();
        if !app.sessions.is_live(digest).await.unwrap_or(false) {
            return None;
        }
    }
    override_cookie(request, |cookie| *cookie = answer.session_cookie);
    let mut response = HttpResponse::build(StatusCode::from_u16(answer.status).ok()?);
    for header in answer.headers {
        response.append_header(header);
    }
    tracing::debug!("a form arrived again and gets the answer of the first arrival");
    Some(response.finish())
}
