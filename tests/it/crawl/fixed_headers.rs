//! The headers that every response has, whatever its status.

use crate::support::Response;

/// Name and value of the headers with one value on every response.
const FIXED: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-xss-protection", "0"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// The policy of a file to download.
const DOWNLOAD_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// The policy of every other response.
fn policy(has_script: bool, has_connect: bool) -> String {
    let script = if has_script { "script-src 'self'; " } else { "" };
    let connect = if has_connect { "connect-src 'self'; " } else { "" };
    format!(
        "default-src 'none'; {script}style-src 'self'; img-src 'self'; {connect}form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// The exact policy. Pages with a password field have a script. `every_page_has_the_policy_of_its_address` knows
/// which addresses have `connect-src`.
fn assert_policy(response: &Response, found: &str, what: &str) {
    if response.header("content-disposition").is_some() {
        assert_eq!(found, DOWNLOAD_POLICY, "{what}");
        return;
    }
    if response.header("content-type").is_some_and(|kind| kind.starts_with("image/svg")) {
        assert_eq!(found, "sandbox", "{what}");
        return;
    }
    let is_page = response.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    let has_script = match is_page && response.body.is_empty() {
        // The response to HEAD has the policy of the page.
        true => found.contains("script-src"),
        false => is_page && response.body.contains("type=\"password\""),
    };
    assert_eq!(found, policy(has_script, found.contains("connect-src")), "{what}");
}

/// Asserts that the response has each of the fixed headers once. `is_https`: the public URL is https.
pub fn assert_fixed_headers(response: &Response, is_https: bool, what: &str) {
    let what = format!("{what}: {}", response.status);
    let only = |name: &str| {
        let mut values =
            response.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{what}: two headers {name}");
        value
    };
    let required = |name: &str| only(name).unwrap_or_else(|| panic!("{what}: no header {name}"));
    for (name, value) in FIXED {
        assert_eq!(required(name), value, "{what}: {name}");
    }
    assert_policy(response, required("content-security-policy"), &what);
    let referrer = required("referrer-policy");
    assert!(["same-origin", "no-referrer"].contains(&referrer), "{what}: {referrer}");
    for feature in ["camera=()", "geolocation=()", "microphone=()", "payment=()"] {
        assert!(required("permissions-policy").contains(feature), "{what}");
    }
    required("cache-control");
    assert_eq!(required("x-request-id").len(), 36, "{what}");
    let hsts = is_https.then_some("max-age=63072000; includeSubDomains");
    assert_eq!(only("strict-transport-security"), hsts, "{what}");
    assert_eq!(only("server"), None, "{what}");
    assert_eq!(only("access-control-allow-origin"), None, "{what}");
    if !response.body.is_empty() {
        let content_type = required("content-type");
        let is_text = content_type.contains("charset=utf-8");
        let is_binary =
            ["application/json", "image/"].iter().any(|kind| content_type.starts_with(kind));
        assert!(is_text || is_binary, "{what}: {content_type}");
    }
}
