//! Links and redirects to an address that came with a request: its own path and query, or `next`, the page to
//! return to after signing in. Prevents open redirects: only pages of the site's own origin pass. No other
//! module makes a link from the address of a request.

use std::sync::LazyLock;

use actix_web::http::Uri;
use actix_web::http::header::{HOST, REFERER};
use actix_web::{HttpRequest, web};
use url::Url;

use super::cross_site::OwnOrigin;

/// In bytes. The limit of `next`.
const MAX_LENGTH: usize = 2048;
/// Pages that would sign the user out again or redirect in a loop.
const EXCLUDED: [&str; 8] = [
    "/logout",
    "/login",
    "/register",
    "/forgot-password",
    "/verify-email",
    "/reset-password",
    "/undo-email-change",
    "/invitation",
];
/// Links from mails, which can be used only once.
const EXCLUDED_PREFIXES: [&str; 4] =
    ["/verify-email/", "/reset-password/", "/undo-email-change/", "/invitation/"];

/// Path and query of the request to `uri`, normalized, for a link to the same page. `/` if a browser could read
/// them as the address of another site: the path `//evil.example/login` is a URL with another host.
pub fn own_address(uri: &Uri) -> String {
    static SITE: LazyLock<Url> =
        LazyLock::new(|| "https://site.invalid".parse().expect("a valid URL"));
    let address = uri.path_and_query().and_then(|address| local(address.as_str(), &SITE));
    address.map_or_else(|| "/".to_owned(), |url| path_and_query(&url))
}

/// Path and query of `next`, normalized; `None` if it is not a page of the origin `own` to return to.
pub fn checked(next: &str, own: &Url) -> Option<String> {
    if next.len() > MAX_LENGTH {
        return None;
    }
    let url = local(next, own)?;
    let path = url.path();
    if EXCLUDED.contains(&path) || EXCLUDED_PREFIXES.iter().any(|folder| path.starts_with(folder)) {
        return None;
    }
    Some(path_and_query(&url))
}

/// Path and query of the page with the form or link that caused `request`, if it is a page of this site to return to.
/// From `Referer`, which browsers send to the same origin (`headers.rs`).
pub fn referring_page(request: &HttpRequest) -> Option<String> {
    let own: Url = request.app_data::<web::Data<OwnOrigin>>()?.0.parse().ok()?;
    let referrer: Url = request.headers().get(REFERER)?.to_str().ok()?.parse().ok()?;
    // A server without a proxy may be reached by several names.
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let same = host.and_then(|host| Url::parse(&format!("{}://{host}", own.scheme())).ok());
    let is_own = |url: &Url| url.origin() == referrer.origin();
    if !is_own(&own) && !same.as_ref().is_some_and(is_own) {
        return None;
    }
    checked(&path_and_query(&referrer), &own)
}

/// The URL of `address` on the site `own`, if `address` is a path that no browser and no lenient parser reads
/// as the address of another site.
fn local(address: &str, own: &Url) -> Option<Url> {
    // Browsers read `\` as `/`, but only before the query.
    let before_query = address.split('?').next().unwrap_or_default();
    let is_plain = before_query.starts_with('/')
        && !before_query.starts_with("//")
        && !before_query.contains('\\')
        && !address.chars().any(char::is_control);
    if !is_plain {
        return None;
    }
    let url = own.join(address).ok()?;
    if url.origin() != own.origin() || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let decoded = percent_encoding::percent_decode_str(url.path()).decode_utf8_lossy();
    let is_misleading = decoded.starts_with("//")
        || decoded.chars().any(|character| character == '\\' || character.is_control());
    (!is_misleading).then_some(url)
}

fn path_and_query(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(next: &str) -> Option<String> {
        checked(next, &Url::parse("https://desk.example").unwrap())
    }

    #[test]
    fn pages_of_the_same_origin_pass() {
        for (next, to) in [
            ("/account/sessions", "/account/sessions"),
            ("/account?x=1&y=//evil.example", "/account?x=1&y=//evil.example"),
            ("/account/sessions?a=\\x", "/account/sessions?a=\\x"),
            ("/?\\\\evil.example", "/?\\\\evil.example"),
            ("/account/../account/profile#part", "/account/profile"),
            ("/", "/"),
        ] {
            assert_eq!(check(next).as_deref(), Some(to), "{next}");
        }
    }

    #[test]
    fn everything_else_is_rejected() {
        for next in [
            "",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/account\\evil.example?x",
            "/#\\?x",
            "/account?x\n",
            "/account?\\\t/evil.example",
            "https:evil.example",
            "https://evil.example/",
            "http://desk.example/",
            "/\t/evil.example",
            "\t//evil.example",
            "/%09/evil.example",
            "/%5cevil.example",
            "/%2f/evil.example",
            "/.//evil.example",
            "/a/..//evil.example",
            "/..//evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "account",
            "?x",
            "#x",
            "@evil.example",
            ".evil.example",
            "/\n/evil.example",
            "/\u{0}",
            " /account",
            "/logout",
            "/login?next=/login",
            "/register",
            "/forgot-password?sent",
            "/verify-email/x",
            "/reset-password",
            "/undo-email-change?x",
            "/reset-password/x",
            "/account/../undo-email-change/x",
        ] {
            assert_eq!(check(next), None, "{next:?}");
        }
        assert_eq!(check(&format!("/{}", "a".repeat(3000))), None);
    }

    #[test]
    fn the_referring_page_is_one_of_the_same_origin() {
        let page = |referrer: &str| {
            let own = OwnOrigin("https://desk.example".to_owned());
            let request = actix_web::test::TestRequest::post()
                .app_data(web::Data::new(own))
                .insert_header((REFERER, referrer));
            referring_page(&request.to_http_request())
        };
        let found = page("https://desk.example/notes?page=2#end");
        assert_eq!(found.as_deref(), Some("/notes?page=2"));
        for other in [
            "https://evil.example/notes",
            "http://desk.example/notes",
            "https://desk.example:8443/notes",
            "https://desk.example/logout",
            "https://desk.example//evil.example",
            "/notes",
            "",
        ] {
            assert_eq!(page(other), None, "{other}");
        }
    }

    #[test]
    fn the_own_address_of_a_request_keeps_the_query_and_never_leads_to_another_site() {
        for (requested, address) in [
            (
                "/login?next=/account&x=%2F%2Fevil.example",
                "/login?next=/account&x=%2F%2Fevil.example",
            ),
            ("/account/sessions?", "/account/sessions?"),
            ("/", "/"),
            ("/reset-password/x", "/reset-password/x"),
            ("https://evil.example/login?next=/", "/login?next=/"),
            ("/a/../login", "/login"),
            ("//evil.example/login", "/"),
            ("///evil.example/login?next=/account", "/"),
            ("/.//evil.example", "/"),
            ("/a/..//evil.example", "/"),
            ("/%2e%2e//evil.example", "/"),
            ("/%2Fevil.example", "/"),
            ("/%5Cevil.example", "/"),
            ("/%09/evil.example", "/"),
            ("*", "/"),
            // A backslash is accepted in the target of a request.
            ("/\\evil.example", "/"),
            ("/\\evil.example?x=1", "/"),
            ("/account\\?x", "/"),
            ("/account/sessions?a=\\x", "/account/sessions?a=\\x"),
            ("/?\\\\evil.example", "/?\\\\evil.example"),
        ] {
            let uri: Uri = requested.parse().unwrap();
            assert_eq!(own_address(&uri), address, "{requested}");
        }
        let long = format!("/login?{}", "x".repeat(5000));
        assert_eq!(own_address(&long.parse().unwrap()), long);
    }
}
