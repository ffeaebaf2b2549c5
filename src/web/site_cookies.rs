//! The cookies of a site that is built on Frontdesk. Its handlers get them, and none of Frontdesk's.

use actix_web::HttpMessage as _;
use actix_web::HttpRequest;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{COOKIE, HeaderValue, SET_COOKIE};

use super::cookie_guard::{OWN_COOKIES, OwnCookie, SentCookies};
use super::error::HttpError;

/// The prefix of Frontdesk's cookies over https, in lower case.
const PREFIX: &[u8] = b"__host-";

/// Replaces the Cookie header by one with the cookies of the site, without those of Frontdesk: for the handlers of
/// a site, behind the session middleware or without it.
pub fn leave(request: &mut ServiceRequest) {
    let own = OwnCookie(request.headers().get_all(COOKIE).cloned().collect());
    let sent = request.extensions_mut().remove::<SentCookies>();
    let sent = match sent {
        Some(SentCookies(sent)) => sent,
        None => request.headers().get_all(COOKIE).cloned().collect(),
    };
    let pairs = sent.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let of_site: Vec<&[u8]> =
        pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty() && !is_own(pair)).collect();
    request.headers_mut().remove(COOKIE);
    if !of_site.is_empty()
        && let Ok(header) = HeaderValue::from_bytes(&of_site.join(&b"; "[..]))
    {
        request.headers_mut().insert(COOKIE, header);
    }
    // For the notice of the page, and for what checks the session after the handler.
    let mut extensions = request.extensions_mut();
    extensions.insert(SentCookies(sent));
    extensions.insert(own);
}

/// Marks a request whose response has a cookie of Frontdesk, which the handler of a site has set with its page.
struct SetByPage;

/// Notes that the response to `request` gets a cookie of Frontdesk.
pub(super) fn note_set_by_page(request: &HttpRequest) {
    request.extensions_mut().insert(SetByPage);
}

/// Refuses the response of a site's handler that sets a cookie with the name of one of Frontdesk's: it would not be
/// sent back to the site.
pub fn refuse_own_names<B: MessageBody>(response: &ServiceResponse<B>) -> Result<(), HttpError> {
    let set = response.headers().get_all(SET_COOKIE);
    let own = set.map(HeaderValue::as_bytes).find(|cookie| is_own(cookie));
    let Some(own) = own else { return Ok(()) };
    if response.request().extensions().get::<SetByPage>().is_some() {
        return Ok(());
    }
    let name = own.split(|byte| *byte == b'=').next().unwrap_or_default();
    Err(HttpError::Internal(anyhow::anyhow!(
        "a handler of the site sets the cookie {}, but Frontdesk has a cookie with this name: choose another one than {}",
        String::from_utf8_lossy(name),
        OWN_COOKIES.join(", ")
    )))
}

/// Whether a pair has the name of a cookie of Frontdesk, with any prefix and in any case.
fn is_own(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    let name = match name.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => name,
    };
    OWN_COOKIES.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_cookies_of_frontdesk_are_removed_and_those_of_the_site_stay() {
        let mut request = TestRequest::default()
            .append_header((COOKIE, "theme=dark; __Host-session=secret;cart=a%3Db"))
            .append_header((COOKIE, "SESSION=x; __Host-notice=y; device=z; sessions=3"))
            .to_srv_request();
        leave(&mut request);
        let left: Vec<_> = request.headers().get_all(COOKIE).collect();
        assert_eq!(left, ["theme=dark; cart=a%3Db; sessions=3"]);
        leave(&mut request);
        assert_eq!(request.headers().get_all(COOKIE).count(), 1, "the second time too");
        let mut request =
            TestRequest::default().append_header((COOKIE, "session=x")).to_srv_request();
        leave(&mut request);
        assert!(!request.headers().contains_key(COOKIE));
    }
}
