//! Looks for a cookie in the raw Cookie headers of a request. Unlike the parser of actix-web it neither decodes
//! nor trims, and says if a cookie is repeated.

use actix_web::http::header::HeaderValue;
use memchr::memchr;
use percent_encoding::percent_decode;

/// In bytes. A sealed session cookie has about 130, a notice with the longest email and name less than 1,500.
const MAX_VALUE_LENGTH: usize = 2_048;

/// A search for a cookie in the raw Cookie headers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CookieMatch<'a> {
    None,
    One(&'a str),
    /// A repeated, misspelled or malformed cookie.
    Suspicious,
}

/// Looks for the only byte-exact pair of `name` in Cookie headers.
pub(super) fn find<'a>(
    headers: impl IntoIterator<Item = &'a HeaderValue>,
    name: &str,
) -> CookieMatch<'a> {
    let mut found = CookieMatch::None;
    for pair in headers.into_iter().flat_map(|line| pairs(line.as_bytes())) {
        // One space follows the semicolon (RFC 6265, 4.2.1); nothing else is trimmed.
        let pair = pair.strip_prefix(b" ").unwrap_or(pair);
        let (raw, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        if raw == name.as_bytes() {
            let value = std::str::from_utf8(value).ok();
            match (&found, value) {
                (CookieMatch::None, Some(value))
                    if value.len() <= MAX_VALUE_LENGTH && value.bytes().all(is_cookie_octet) =>
                {
                    found = CookieMatch::One(value);
                }
                _ => return CookieMatch::Suspicious,
            }
        } else if could_be_read_as(raw, name) {
            return CookieMatch::Suspicious;
        }
    }
    found
}

/// A byte that a cookie value may contain (RFC 6265, 4.1.1). A quoted value is not one: actix-web would remove
/// the quotes.
fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// The parts of a Cookie header between semicolons.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = memchr(b';', line);
        rest = end.map(|end| &line[end + 1..]);
        Some(&line[..end.unwrap_or(line.len())])
    })
}

/// Whether a lenient parser could read `raw` as `name`.
fn could_be_read_as(raw: &[u8], name: &str) -> bool {
    let is_plain = raw.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'%');
    if is_plain {
        return raw.eq_ignore_ascii_case(name.as_bytes());
    }
    let mut text = String::from_utf8_lossy(raw).into_owned();
    for _ in 0..2 {
        text = percent_decode(text.as_bytes()).decode_utf8_lossy().into_owned();
    }
    text.trim_matches(|character: char| character.is_whitespace() || character.is_control())
        .eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&[u8]]) -> Vec<HeaderValue> {
        lines.iter().map(|line| HeaderValue::from_bytes(line).unwrap()).collect()
    }

    #[test]
    fn one_byte_exact_pair_passes() {
        let map = headers(&[b"a=b; __Host-session=abc%2Fd; c=d"]);
        assert_eq!(find(&map, "__Host-session"), CookieMatch::One("abc%2Fd"));
    }

    #[test]
    fn repeated_misspelled_and_malformed_cookies_are_suspicious() {
        let long = format!("__Host-session={}", "a".repeat(MAX_VALUE_LENGTH + 1));
        for lines in [
            &[&b"__Host-session=a; __Host-session=a"[..]][..],
            &[b"__Host-session=a", b"__Host-session=b"],
            &[b"%5F%5FHost-session=a"],
            &[b"__Host-session=a; %5F%5FHost-session=b"],
            &[b"%255F%255FHost-session=a"],
            &[b"\xe2\x80\x80__Host-session=a"],
            &[b"__Host-session\xc2\xa0=a"],
            &[b"  __Host-session=a"],
            &[b"__host-session=a"],
            &[b"__Host-session=a b"],
            &[b"__Host-session=\xff"],
            &[b"__Host-session=\"a\" "],
            &[b"__Host-session=\"a\""],
            &[b"__Host-session=\"\""],
            &[b"__Host-session=\"a"],
            &[b"__Host-session=a\""],
            &[b"__Host-session=a,b"],
            &[b"__Host-session=a\\b"],
            &[long.as_bytes()],
        ] {
            assert_eq!(
                find(&headers(lines), "__Host-session"),
                CookieMatch::Suspicious,
                "{lines:?}"
            );
        }
        assert_eq!(find(&headers(&[b"a=b; session2=c"]), "session"), CookieMatch::None);
    }
}
