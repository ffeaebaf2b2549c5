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

/// What the directives of the policy may contain. `default-src` and `frame-ancestors` must be there.
const POLICY: [(&str, &[&str]); 9] = [
    ("default-src", &["'none'"]),
    ("frame-ancestors", &["'none'"]),
    ("base-uri", &["'none'"]),
    ("form-action", &["'self'"]),
    ("style-src", &["'self'"]),
    ("img-src", &["'self'"]),
    ("script-src", &["'self'"]),
    ("connect-src", &["'self'"]),
    ("sandbox", &[""]),
];

fn assert_policy(policy: &str, what: &str) {
    let directives: Vec<(&str, &str)> = policy
        .split(';')
        .map(|directive| directive.trim().split_once(' ').unwrap_or((directive.trim(), "")))
        .collect();
    for (name, value) in &directives {
        let known = POLICY.iter().find(|(known, _)| known == name);
        let (_, values) = known.unwrap_or_else(|| panic!("{what}: unknown directive in {policy}"));
        assert!(values.contains(value), "{what}: {policy}");
    }
    let has = |name| directives.iter().any(|(found, _)| *found == name);
    assert!(has("default-src") && has("frame-ancestors"), "{what}: {policy}");
    // A file to download is in a sandbox, which allows no form.
    assert!(has("sandbox") || has("base-uri") && has("form-action"), "{what}: {policy}");
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
    assert_policy(required("content-security-policy"), &what);
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
