//! The headers of every response, including errors.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::web;

use crate::config::Hsts;
use crate::paths::page_path;

/// A policy that allows the site's own style sheet, images and forms, and no scripts (ASVS 5.0 V3.4.3), except for
/// the directives `$script` and `$connect`.
macro_rules! policy {
    ($script:literal, $connect:literal) => {
        concat!(
            "default-src 'none'; ",
            $script,
            "style-src 'self'; img-src 'self'; ",
            $connect,
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
    };
}

/// The pages that are checked for search engines. Lighthouse requests `/robots.txt` under the policy of the page.
const SEARCHED: [&str; 3] = ["/", "/login", "/register"];
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

/// The headers of every response. A `static`, so that names and values are checked once, by the compiler.
static FIXED: [(HeaderName, HeaderValue); 9] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(BASE_POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // No address of this site, which may contain the token of a mailed link, is sent to another site (ASVS 5.0
    // V3.4.5). `no-referrer` would make browsers send `Origin: null` with forms.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (HeaderName::from_static("permissions-policy"), HeaderValue::from_static(PERMISSIONS_POLICY)),
    (header::X_XSS_PROTECTION, HeaderValue::from_static("0")),
];

/// The policy of a response without a password field and without a form that leads elsewhere.
pub const BASE_POLICY: &str = policy!("", "");

/// Whether `policy` is one of those of this module, and not one that a handler has set.
pub fn is_own(policy: &HeaderValue) -> bool {
    policy.as_bytes().ends_with(b"; base-uri 'none'; frame-ancestors 'none'")
}

/// The origin of the site's home page, if it is another one than that of this site. Application data.
#[derive(Clone, Debug, Default)]
pub struct ForeignHome(pub Option<String>);

impl ForeignHome {
    /// That of the site that answers `request`.
    pub(super) fn of(request: &HttpRequest) -> Option<&str> {
        request.app_data::<web::Data<Self>>()?.0.as_deref()
    }
}

/// The policy of the page at `path` with the markup `html`. A page with a password field has the site's own script
/// `show-password.js`. On a page that signs out, forms may lead to `foreign_home`, the origin of the home page if it
/// is another one: browsers apply the directive to redirects too.
pub(super) fn content_security_policy(
    path: &str,
    html: &str,
    foreign_home: Option<&str>,
) -> HeaderValue {
    // What users type is escaped, so that it cannot contain these.
    let has_password = html.contains("type=\"password\"");
    let signs_out = html.contains(&format!("action=\"{}\"", page_path("/logout")));
    let policy = match (has_password, SEARCHED.contains(&path)) {
        (false, false) => policy!("", ""),
        (true, false) => policy!("script-src 'self'; ", ""),
        (false, true) => policy!("", "connect-src 'self'; "),
        (true, true) => policy!("script-src 'self'; ", "connect-src 'self'; "),
    };
    let extended = foreign_home.filter(|_| signs_out).and_then(|home| with_forms_to(policy, home));
    extended.unwrap_or_else(|| HeaderValue::from_static(policy))
}

/// The policy of an error page that signs out, if the home page has another origin.
pub(super) fn policy_of_error_page(foreign_home: Option<&str>) -> Option<HeaderValue> {
    with_forms_to(BASE_POLICY, foreign_home?)
}

fn with_forms_to(policy: &str, origin: &str) -> Option<HeaderValue> {
    let forms = format!("form-action 'self' {origin}");
    HeaderValue::from_str(&policy.replace("form-action 'self'", &forms)).ok()
}

/// Adds the headers, except those that the handler has set. `hsts` is `None` unless the public URL is https.
pub fn apply(headers: &mut HeaderMap, hsts: Option<Hsts>) {
    headers.reserve(FIXED.len() + 2);
    for (name, value) in &FIXED {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
    if let Some(hsts) = hsts.and_then(strict_transport_security) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts);
    }
}
