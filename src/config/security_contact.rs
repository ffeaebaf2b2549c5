//! Where to report security problems (RFC 9116).

use lettre::Address;
use url::Url;

use super::parse::SettingsReader;

/// The contacts as URIs, in the order of the setting; empty if it is not set.
pub(super) fn security_contacts(read: &mut SettingsReader<'_>) -> Vec<String> {
    let name = "FRONTDESK_SECURITY_CONTACT";
    let text = read.text(name).unwrap_or_default().to_owned();
    let mut contacts = Vec::new();
    if text.contains(',') && text.split(',').all(|part| part.trim().is_empty()) {
        read.problem(name, "contains only commas");
    }
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match contact(part) {
            Some(uri) => contacts.push(uri),
            None => read.problem(
                name,
                &format!("is “{part}”, but must be an email, or an https:, mailto: or tel: URI (such as tel:+1-201-555-0123); several are separated by commas"),
            ),
        }
    }
    contacts
}

/// The URI of one contact. RFC 9116 (2.5.3) requires a URI, and https for web pages.
fn contact(text: &str) -> Option<String> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    if text.parse::<Address>().is_ok() {
        return Some(format!("mailto:{text}"));
    }
    let url = Url::parse(text).ok()?;
    let is_valid = match url.scheme() {
        "https" => url.has_host() && url.password().is_none(),
        "mailto" => url.path().parse::<Address>().is_ok(),
        "tel" => is_global_number(url.path()),
        _ => false,
    };
    is_valid.then(|| text.to_owned())
}

/// Whether `number` is a global number of RFC 3966 (section 3) without parameters: `+`, digits and separators.
fn is_global_number(number: &str) -> bool {
    let Some(digits) = number.strip_prefix('+') else { return false };
    digits.starts_with(|char: char| char.is_ascii_digit())
        && digits.chars().all(|char| char.is_ascii_digit() || "-.()".contains(char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_are_uris_and_an_email_becomes_one() {
        for (text, uri) in [
            ("security@example.com", Some("mailto:security@example.com")),
            ("mailto:security@example.com", Some("mailto:security@example.com")),
            ("https://example.com/security", Some("https://example.com/security")),
            ("tel:+1-201-555-0123", Some("tel:+1-201-555-0123")),
            ("http://example.com/security", None),
            ("example.com", None),
            ("https://", None),
            ("mailto:", None),
            ("mailto:nobody", None),
            ("tel:", None),
            ("tel:abc", None),
            ("tel:555-0123", None),
            ("tel:+", None),
            ("javascript:alert(1)", None),
            ("security@example.com\nExpires: 2099-01-01T00:00:00Z", None),
            ("Security Team <security@example.com>", None),
        ] {
            assert_eq!(contact(text).as_deref(), uri, "{text:?}");
        }
    }
}
