//! The kinds of clients that send a request, which decide the form of a refusal: a person who opens a page gets a
//! redirect, a script gets JSON.

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT, HeaderMap};

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A browser opens a page.
    Navigation,
    /// A browser sends a form, and shows the answer as a page.
    FormPost,
    /// Everything else: `fetch`, an image, a frame, a handshake, a client without a browser.
    Script,
}

impl Caller {
    /// The kind of `request`, by the Fetch Metadata headers, or by `Accept` for browsers without them.
    pub fn of(request: &HttpRequest) -> Self {
        match (is_opened_as_page(request.headers()), request.method().is_safe()) {
            (true, true) => Self::Navigation,
            (true, false) => Self::FormPost,
            (false, _) => Self::Script,
        }
    }

    /// Whether an error is answered with a page: always, except for a script that says that it is one. A client
    /// that sends neither `Accept` nor `Sec-Fetch-Mode` accepts everything (RFC 9110, 12.5.1).
    pub fn accepts_page(request: &HttpRequest) -> bool {
        let headers = request.headers();
        let says_nothing = !headers.contains_key(ACCEPT) && !headers.contains_key("sec-fetch-mode");
        says_nothing || Self::of(request) != Self::Script
    }
}

fn is_opened_as_page(headers: &HeaderMap) -> bool {
    let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // The names are in lower case, whatever the client sends.
    let has_metadata = headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"));
    if has_metadata {
        return get("sec-fetch-mode") == Some("navigate")
            && get("sec-fetch-dest") == Some("document");
    }
    headers.get_all(ACCEPT).any(|accept| {
        let ranges = accept.to_str().unwrap_or_default().split(',');
        ranges
            .map(|range| range.split(';').next().unwrap_or_default().trim())
            .any(|range| range.eq_ignore_ascii_case("text/html"))
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::Method;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_kind_of_a_request_is_known_from_its_headers() {
        let navigate = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        for (method, headers, kind) in [
            (Method::GET, &navigate[..], Caller::Navigation),
            (Method::POST, &navigate[..], Caller::FormPost),
            (Method::GET, &[("accept", "text/html,*/*;q=0.8")], Caller::Navigation),
            (Method::HEAD, &[("accept", "application/xml, Text/HTML;q=0.9")], Caller::Navigation),
            (Method::POST, &[("accept", "text/html")], Caller::FormPost),
            (Method::GET, &[], Caller::Script),
            (Method::GET, &[("accept", "*/*")], Caller::Script),
            (Method::GET, &[("accept", "application/json")], Caller::Script),
            (Method::GET, &[("accept", "text/html"), ("sec-fetch-mode", "cors")], Caller::Script),
            (
                Method::GET,
                &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
                Caller::Script,
            ),
            (Method::GET, &[("accept", "text/html"), ("sec-fetch-site", "none")], Caller::Script),
        ] {
            let mut request = TestRequest::default().method(method.clone());
            for header in headers {
                request = request.append_header(*header);
            }
            assert_eq!(Caller::of(&request.to_http_request()), kind, "{method} {headers:?}");
        }
    }
}
