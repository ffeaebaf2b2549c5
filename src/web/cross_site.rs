//! Protects against cross-site request forgery (CSRF). Every browser since 2020 sends `Sec-Fetch-Site` or
//! `Origin` with a cross-site request that has an unsafe method. So no token is needed, nothing is stored for
//! anonymous visitors, and a form that was open for a day still works. `same-site` is refused, because a
//! sibling subdomain may belong to another party. A request with neither header does not come from a browser,
//! so it cannot carry a victim's cookie.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN, UPGRADE};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use super::error::HttpError;
use crate::log::WarningLimit;

/// The origin of the site, as browsers write it in `Origin`.
#[derive(Clone, Debug)]
pub struct OwnOrigin(pub String);

/// The middleware: rejects cross-site requests with an unsafe method, and those that would open another protocol
/// (403).
pub async fn refuse(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let own =
        request.app_data::<web::Data<OwnOrigin>>().map(|own| own.0.as_str()).unwrap_or_default();
    if !is_safe(&request) && !is_own(request.headers(), own) {
        static REFUSALS: WarningLimit = WarningLimit::new();
        if let Some(suppressed) = REFUSALS.check() {
            log_refusal(request.headers(), own, suppressed);
        }
        return Err(HttpError::Forbidden.into());
    }
    next.call(request).await
}

/// The handshake of a WebSocket is a GET request. What is sent on the connection afterwards is not checked, and
/// browsers open it across sites, with cookies.
fn is_safe(request: &ServiceRequest) -> bool {
    request.method().is_safe() && !request.headers().contains_key(UPGRADE)
}

/// The values are logged as strings, which both log formats quote and escape, so that a header cannot forge a
/// log line. `suppressed`: the number of refusals that were not logged.
fn log_refusal(headers: &HeaderMap, own: &str, suppressed: u64) {
    const MAX_LOGGED: usize = 100;
    let sent = |name: HeaderName| {
        let values: Vec<_> = headers.get_all(name).map(HeaderValue::as_bytes).collect();
        let text = String::from_utf8_lossy(&values.join(&b", "[..])).into_owned();
        match text.char_indices().nth(MAX_LOGGED) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    };
    let (origin, site) = (sent(ORIGIN), sent(HeaderName::from_static("sec-fetch-site")));
    tracing::warn!(
        origin,
        sec_fetch_site = site,
        expected = own,
        suppressed,
        "refused a cross-site request; if the origin is your site, correct FRONTDESK_PUBLIC_URL"
    );
}

fn is_own(headers: &HeaderMap, own: &str) -> bool {
    let mut site = headers.get_all("sec-fetch-site");
    let mut origin = headers.get_all(ORIGIN);
    match ((site.next(), site.next()), (origin.next(), origin.next())) {
        ((Some(site), None), (_, None)) => {
            matches!(site.as_bytes(), b"same-origin" | b"none")
        }
        ((None, _), (Some(origin), None)) => origin.as_bytes() == own.as_bytes(),
        ((None, _), (None, _)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        is_own(&map, "https://desk.example")
    }

    #[test]
    fn unsafe_requests_are_allowed_only_from_the_same_origin_and_from_non_browser_clients() {
        assert!(allowed(&[]));
        assert!(allowed(&[("sec-fetch-site", "same-origin")]));
        assert!(allowed(&[("sec-fetch-site", "none")]));
        assert!(allowed(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(allowed(&[("origin", "https://desk.example")]));
        for refused in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "")],
            &[("sec-fetch-site", "Same-Origin")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://desk.example")],
            &[("origin", "null")],
            &[("origin", "https://desk.example.evil.example")],
            &[("origin", "http://desk.example")],
            &[("origin", "https://desk.example"), ("origin", "https://desk.example")],
        ] {
            assert!(!allowed(refused), "{refused:?}");
        }
    }
}
