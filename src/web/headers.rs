//! The headers of every response, including errors.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::Hsts;

/// Allows only the site's own style sheet, images and forms, and no scripts (ASVS 5.0 V3.4.3).
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// No page uses any of these features.
const PERMISSIONS_POLICY: &str =
    "camera=(), geolocation=(), microphone=(), payment=(), usb=(), interest-cohort=()";
/// The value of `Strict-Transport-Security` on an https site. Two years (ASVS 5.0 V3.4.1).
fn strict_transport_security(hsts: Hsts) -> Option<HeaderValue> {
    match hsts {
        Hsts::Subdomains => Some(HeaderValue::from_static("max-age=63072000; includeSubDomains")),
        Hsts::Host => Some(HeaderValue::from_static("max-age=63072000")),
        Hsts::Off => None,
    }
}

/// For a page whose URL contains a secret: the browser does not send the URL to any other page (ASVS 5.0
/// V3.4.5).
pub fn without_referrer(mut response: HttpResponse) -> HttpResponse {
    let none = HeaderValue::from_static("no-referrer");
    response.headers_mut().insert(header::REFERRER_POLICY, none);
    response
}

/// Adds the headers, except those that the handler has set. `hsts` is `None` unless the public URL is https.
pub fn apply(headers: &mut HeaderMap, hsts: Option<Hsts>) {
    let fixed: [(HeaderName, &'static str); 9] = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY),
        (header::X_XSS_PROTECTION, "0"),
    ];
    for (name, value) in fixed {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Some(hsts) = hsts.and_then(strict_transport_security) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    }
}
