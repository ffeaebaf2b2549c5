//! `next`: the page to return to after signing in. Prevents open redirects: only pages of the site's own
//! origin pass.

use url::Url;

/// In bytes.
const MAX_LENGTH: usize = 2048;
/// Pages that would sign the user out again or redirect in a loop.
const EXCLUDED: [&str; 5] = ["/logout", "/login", "/register", "/forgot-password", "/verify-email"];
/// Links from mails, which can be used only once.
const EXCLUDED_PREFIXES: [&str; 3] = ["/verify-email/", "/reset-password/", "/undo-email-change/"];

/// Path and query of `next`, normalized; `None` if it is not a page of the origin `own` to return to.
pub fn checked(next: &str, own: &Url) -> Option<String> {
    let plain = next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= MAX_LENGTH
        && !next.chars().any(|character| character == '\\' || character.is_control());
    if !plain {
        return None;
    }
    let url = own.join(next).ok()?;
    if url.origin() != own.origin() || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let path = url.path();
    // A lenient parser could read such a path as a URL with another host.
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    if decoded.starts_with("//")
        || decoded.chars().any(|character| character == '\\' || character.is_control())
        || EXCLUDED.contains(&path)
        || EXCLUDED_PREFIXES.iter().any(|folder| path.starts_with(folder))
    {
        return None;
    }
    Some(match url.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    })
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
            "/reset-password/x",
            "/account/../undo-email-change/x",
        ] {
            assert_eq!(check(next), None, "{next:?}");
        }
        assert_eq!(check(&format!("/{}", "a".repeat(3000))), None);
    }
}
