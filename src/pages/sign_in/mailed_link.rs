//! Moves the token of a mailed link out of the address (ASVS 5.0 V14.2.1), so that it stays neither in the
//! history of the browser nor in what the address is copied to.
//!
//! `GET /reset-password/{token}` seals the token into a cookie and redirects to `/reset-password`. That page
//! reads the cookie and seals the token into a hidden field of its form. A form is submitted with its own
//! token, so a second link that was opened in another tab does not change what the first tab does. GET changes
//! nothing on the server, and a mail scanner that follows the link gets a cookie of its own.

use actix_web::cookie::{Cookie, time::Duration};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::app::App;
use crate::crypto::secret::Secret;
use crate::lifetimes;
use crate::paths::page_path;
use crate::web::cookie_guard::{self, own_cookie};
use crate::web::error::HttpError;
use crate::web::flash::Notice;
use crate::web::form::Form;
use crate::web::page::Page;

/// The hidden field with the sealed token.
const FIELD: &str = "link";

/// The page that the links of one kind lead to.
#[derive(Clone, Copy)]
pub(super) struct LinkPage {
    /// The address without a token.
    path: &'static str,
}

/// `/reset-password/{token}`.
pub(super) const RESET_PASSWORD: LinkPage = LinkPage { path: "/reset-password" };
/// `/invitation/{token}`.
pub(super) const INVITATION: LinkPage = LinkPage { path: "/invitation" };
/// `/undo-email-change/{token}`.
pub(super) const UNDO_EMAIL_CHANGE: LinkPage = LinkPage { path: "/undo-email-change" };
/// `/verify-email/{token}`. At `/verify-email` the code is entered.
pub(super) const VERIFY_EMAIL: LinkPage = LinkPage { path: "/verify-email/link" };

/// `__Host-link`, or `link` in development without TLS.
pub fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-link" } else { "link" }
}

impl LinkPage {
    /// 303 to the page, with `token` in the cookie. The page shows `notice`.
    pub(super) fn redirect(
        self,
        page: &Page,
        app: &App,
        token: &Secret,
        notice: Option<&Notice>,
    ) -> HttpResponse {
        let response = match notice {
            Some(notice) => page.redirect_with(&page_path(self.path), notice),
            None => page.redirect(&page_path(self.path)),
        };
        let mut cookie = cookie(app, self.seal(app, token));
        cookie.set_max_age(Duration::seconds(lifetimes::LINK_PAGE.as_secs() as i64));
        add(response, &cookie)
    }

    /// The token in the cookie of the request.
    pub(super) fn token(self, request: &HttpRequest, app: &App) -> Option<Secret> {
        let name = cookie_name(app.config.public_url.is_https());
        self.open(app, &cookie_guard::other_cookie(request, name)?)
    }

    /// The token that a form was submitted with: in its hidden field. A form of the previous version has the
    /// token in its address, and a script may send neither.
    pub(super) fn submitted_token(
        self,
        request: &HttpRequest,
        app: &App,
        form: &mut Form,
    ) -> Option<Secret> {
        if form.has(FIELD) {
            return self.open(app, &form.take(FIELD).ok()?);
        }
        match request.match_info().get("token") {
            Some(token) => Secret::parse(token),
            None => self.token(request, app),
        }
    }

    /// The value of the hidden field with `token`. Different each time.
    pub(super) fn seal(self, app: &App, token: &Secret) -> String {
        let sealed = app.sealer.seal(&self.purpose(), token.reveal().as_bytes());
        URL_SAFE_NO_PAD.encode(sealed)
    }

    fn open(self, app: &App, sealed: &str) -> Option<Secret> {
        let token = app.sealer.open(&self.purpose(), &URL_SAFE_NO_PAD.decode(sealed).ok()?)?;
        Secret::parse(std::str::from_utf8(&token).ok()?)
    }

    /// A link of one kind is of no use at the page of another.
    fn purpose(self) -> String {
        format!("link:{}", self.path)
    }
}

/// The token in the path of a request to the address of a link.
pub(super) fn token_in_path(request: &HttpRequest) -> Option<Secret> {
    Secret::parse(request.match_info().get("token")?)
}

/// The page for a browser that shows no cookie: it blocks cookies, or the page was reloaded too late (410).
pub(super) fn show_unopened(page: &Page) -> Result<HttpResponse, HttpError> {
    #[derive(Serialize)]
    struct Data {}
    page.show_with(StatusCode::GONE, "sign_in/link_unopened.html", &Data {})
}

/// Clears the cookie in `response`, after the link was used.
pub(super) fn clear(response: HttpResponse, app: &App) -> HttpResponse {
    let mut cookie = cookie(app, String::new());
    cookie.make_removal();
    add(response, &cookie)
}

fn cookie(app: &App, value: String) -> Cookie<'static> {
    let https = app.config.public_url.is_https();
    own_cookie(cookie_name(https), value, https)
}

fn add(mut response: HttpResponse, cookie: &Cookie<'_>) -> HttpResponse {
    response.add_cookie(cookie).expect("base64 is a valid header value");
    response
}
