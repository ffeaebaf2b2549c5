//! The cookies of a site.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::COOKIE;
use actix_web::{FromRequest, HttpRequest};
use percent_encoding::percent_decode;

/// The cookies of the site in a request, without those of Frontdesk.
///
/// A cookie of the site must not be called `session`, `browser`, `device`, `link`, `notice` or `registration`, with or
/// without the prefix `__Host-`: Frontdesk has cookies with these names. A response that sets one is replaced by 500,
/// with the reason in the log.
///
/// ```
/// use frontdesk::{Cookies, Page, PageResult};
/// use serde_json::json;
///
/// async fn start(page: Page, cookies: Cookies) -> PageResult {
///     page.render("start.html", &json!({ "theme": cookies.get("theme") }))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Cookies(BTreeMap<String, String>);

impl Cookies {
    /// The value of the cookie `name`, percent-decoded. Of several cookies with one name, the first.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl FromRequest for Cookies {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut cookies = BTreeMap::new();
        let lines = request.headers().get_all(COOKIE).filter_map(|line| line.to_str().ok());
        for (name, value) in
            lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='))
        {
            let value = percent_decode(value.trim().as_bytes()).decode_utf8_lossy().into_owned();
            cookies.entry(name.trim().to_owned()).or_insert(value);
        }
        ready(Ok(Self(cookies)))
    }
}
