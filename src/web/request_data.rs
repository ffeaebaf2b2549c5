//! Keeps what actix-session and actix-identity store with a request apart from what Frontdesk stores there. They
//! also cause actix-web to keep the parsed cookies of the request, which are those of Frontdesk: the handler of a
//! site must not get them from `HttpRequest::cookies`.

use actix_web::dev::Extensions;
use actix_web::{HttpMessage as _, HttpRequest};

/// App data of a website: only its handlers get requests in which something is kept apart.
pub struct KeptApart;

/// What was stored with a request before the session middleware.
struct BeforeSession(Extensions);

/// What the session middleware and the identity middleware have stored.
struct OfSession(Extensions);

/// Puts everything aside. Called directly outside of the session middleware.
pub(super) fn put_aside(request: &HttpRequest) {
    if request.app_data::<KeptApart>().is_none() {
        return;
    }
    let mut extensions = request.extensions_mut();
    let before = std::mem::take(&mut *extensions);
    extensions.insert(BeforeSession(before));
}

/// Puts the data of the session aside, in exchange for that of `put_aside`. Called directly inside of the session
/// and identity middleware.
pub fn leave_session(request: &HttpRequest) {
    let mut extensions = request.extensions_mut();
    if let Some(BeforeSession(before)) = extensions.remove() {
        let of_session = std::mem::replace(&mut *extensions, before);
        extensions.insert(OfSession(of_session));
    }
}

/// Adds the data of the session again, for the way back.
pub fn return_to_session(request: &HttpRequest) {
    let mut extensions = request.extensions_mut();
    if let Some(OfSession(of_session)) = extensions.remove() {
        extensions.extend(of_session);
    }
}

#[cfg(test)]
mod tests {
    use actix_web::cookie::Cookie;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_parsed_cookies_stay_with_the_session() {
        let request = TestRequest::default().cookie(Cookie::new("session", "x"));
        let request = request.app_data(KeptApart).to_http_request();
        request.extensions_mut().insert(1_u8);
        put_aside(&request);
        assert!(request.extensions().get::<u8>().is_none());
        request.extensions_mut().insert("of the session");
        assert_eq!(request.cookies().unwrap().len(), 1);
        leave_session(&request);
        assert_eq!(request.extensions().get::<u8>(), Some(&1));
        assert!(request.extensions().get::<&str>().is_none());
        request.extensions_mut().insert(2_u8);
        return_to_session(&request);
        assert_eq!(request.extensions().get::<u8>(), Some(&2));
        assert_eq!(request.extensions().get::<&str>(), Some(&"of the session"));
    }
}
