//! Content codings (compression): which one a client accepts, and which pages are compressed.
//!
//! Compression leaks the content of an encrypted page through its length if a secret and text that an attacker
//! chose are in the same page (BREACH). So a page is compressed only if nothing in it comes from its request:
//! see `compress_page`.

use std::io::Write as _;

use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;

/// In bytes. A shorter page fits in one packet anyway.
const MIN_LENGTH: usize = 1024;
/// Fast ones. Higher levels make a page hardly smaller.
const PAGE_BROTLI_QUALITY: u32 = 3;
const PAGE_GZIP_LEVEL: u32 = 3;

/// A coding that the server can produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentCoding {
    /// `br`.
    Brotli,
    /// `gzip`.
    Gzip,
    /// Not encoded.
    Identity,
}

/// For files that are compressed once, in the order in which the codings win a tie.
pub(super) const FOR_FILES: [ContentCoding; 3] =
    [ContentCoding::Brotli, ContentCoding::Gzip, ContentCoding::Identity];
/// For pages, which are compressed for each request: of a page, gzip makes as much in a quarter of the time.
const FOR_PAGES: [ContentCoding; 3] =
    [ContentCoding::Gzip, ContentCoding::Brotli, ContentCoding::Identity];

impl ContentCoding {
    /// The one of `supported` that the client prefers (RFC 9110, 12.5.3); the first one wins a tie. A coding
    /// with the weight 0, or with one that is not a weight, is never chosen. `Identity` if the client accepts
    /// none, or does not say.
    pub fn preferred(headers: &HeaderMap, supported: &[Self]) -> Self {
        let accepted = Accepted::read(headers);
        let mut best = (ContentCoding::Identity, 0);
        for coding in supported {
            let weight = accepted.weight(*coding);
            if weight > best.1 {
                best = (*coding, weight);
            }
        }
        best.0
    }

    /// The value of `Content-Encoding`. `None`: the header is not sent.
    pub fn header(self) -> Option<HeaderValue> {
        match self {
            ContentCoding::Brotli => Some(HeaderValue::from_static("br")),
            ContentCoding::Gzip => Some(HeaderValue::from_static("gzip")),
            ContentCoding::Identity => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            ContentCoding::Brotli => "br",
            ContentCoding::Gzip => "gzip",
            ContentCoding::Identity => "identity",
        }
    }
}

/// The elements of `Accept-Encoding`: names in lower case and weights in thousandths.
struct Accepted(Vec<(String, u16)>);

impl Accepted {
    fn read(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::ACCEPT_ENCODING).filter_map(|line| line.to_str().ok());
        let elements = lines.flat_map(|line| line.split(','));
        Self(elements.filter_map(element).collect())
    }

    fn weight(&self, coding: ContentCoding) -> u16 {
        // Acceptable unless excluded, and preferred to nothing that is listed.
        let unlisted = if coding == ContentCoding::Identity { 1 } else { 0 };
        self.of(coding.name()).or_else(|| self.of("*")).unwrap_or(unlisted)
    }

    /// If a name is repeated with different weights, the lowest counts.
    fn of(&self, name: &str) -> Option<u16> {
        let weights = self.0.iter().filter(|(listed, _)| listed == name);
        weights.map(|(_, weight)| *weight).min()
    }
}

fn element(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
    let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
    let weight = match (parts.next(), parts.next()) {
        (None, _) => 1000,
        (Some(parameter), None) => weight(parameter).unwrap_or(0),
        (Some(_), Some(_)) => 0,
    };
    // RFC 9110, 8.4.1.3: an old name of the same coding.
    let name = if name == "x-gzip" { "gzip".to_owned() } else { name };
    Some((name, weight))
}

/// Parses `q=0.123` (RFC 9110, 12.4.2) into thousandths.
fn weight(parameter: &str) -> Option<u16> {
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// Compresses the page in `response` if that is safe, and the client accepts it: the answer to a GET without a
/// query and without a parameter in its path, with status 200. Nothing in such a page was chosen by the author
/// of the link that led to it. Error pages, refused forms and pages with a query may repeat text of the request
/// and are sent as they are. The random tokens in forms are sealed again for each page, so pages cannot be
/// compared to find them. `pattern`: of the route.
pub(super) fn compress_page(
    response: ServiceResponse<BoxBody>,
    pattern: Option<&str>,
) -> ServiceResponse<BoxBody> {
    let has_fixed_path = pattern.is_some_and(|pattern| !pattern.contains('{'));
    if !has_fixed_path || !is_page_without_query(&response) {
        return response;
    }
    let coding = ContentCoding::preferred(response.request().headers(), &FOR_PAGES);
    response.map_body(|head, body| {
        let vary = HeaderValue::from_static("Accept-Encoding");
        head.headers.append(header::VARY, vary);
        let plain = match body.try_into_bytes() {
            Ok(plain) => plain,
            Err(streamed) => return streamed,
        };
        let compressed = match coding {
            _ if plain.len() < MIN_LENGTH => None,
            ContentCoding::Brotli => brotli(&plain, PAGE_BROTLI_QUALITY).ok(),
            ContentCoding::Gzip => gzip(&plain, PAGE_GZIP_LEVEL).ok(),
            ContentCoding::Identity => None,
        };
        match (compressed, coding.header()) {
            (Some(compressed), Some(name)) => {
                head.headers.insert(header::CONTENT_ENCODING, name);
                BoxBody::new(compressed)
            }
            _ => BoxBody::new(plain),
        }
    })
}

fn is_page_without_query(response: &ServiceResponse<BoxBody>) -> bool {
    let request = response.request();
    let headers = response.headers();
    let is_html = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    is_html
        && response.status() == StatusCode::OK
        && matches!(*request.method(), Method::GET | Method::HEAD)
        && request.uri().query().is_none()
        && !headers.contains_key(header::CONTENT_ENCODING)
}

/// `level`: from 1 (fastest) to 9.
pub(super) fn gzip(plain: &[u8], level: u32) -> std::io::Result<Bytes> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(plain)?;
    Ok(encoder.finish()?.into())
}

/// `quality`: from 0 (fastest) to 11.
pub(super) fn brotli(plain: &[u8], quality: u32) -> std::io::Result<Bytes> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, quality, 22);
    encoder.write_all(plain)?;
    encoder.flush()?;
    Ok(encoder.into_inner().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(lines: &[&'static str]) -> &'static str {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        ContentCoding::preferred(&headers, &FOR_FILES).name()
    }

    #[test]
    fn the_coding_follows_the_weights_and_brotli_wins_a_tie() {
        for (accepted, coding) in [
            ("gzip, deflate, br, zstd", "br"),
            ("gzip, br", "br"),
            ("GZIP", "gzip"),
            ("x-gzip", "gzip"),
            ("Br ; Q=1.000", "br"),
            ("br;q=0.5, gzip;q=0.8", "gzip"),
            ("br;q=0.001", "br"),
            ("identity, gzip;q=0.5", "identity"),
            ("identity;q=0.5, gzip;q=0.4", "identity"),
            ("identity;q=0, gzip;q=0.1", "gzip"),
            ("deflate", "identity"),
            ("*", "br"),
            ("*;q=0.5, br;q=0", "gzip"),
            ("identity;q=0, *", "br"),
            ("br;q=0, gzip;q=0, *", "identity"),
            ("gzip, *;q=0", "gzip"),
            // Nothing is acceptable: sent as it is.
            ("*;q=0", "identity"),
            ("identity;q=0", "identity"),
            ("br;q=0, gzip;q=0, identity;q=0", "identity"),
            ("", "identity"),
            (",, ,", "identity"),
        ] {
            assert_eq!(preferred(&[accepted]), coding, "{accepted:?}");
        }
        assert_eq!(preferred(&[]), "identity");
        assert_eq!(preferred(&["gzip;q=0.5", "br;q=0.4"]), "gzip", "repeated headers are one list");
    }

    #[test]
    fn a_coding_with_the_weight_zero_or_with_an_invalid_weight_is_not_chosen() {
        for weight in
            ["0", "0.", "0.0", "0.00", "0.000", "2", "1.5", "1.001", "0.0000", "-1", "", "x", ".5"]
        {
            for form in [format!("br;q={weight}"), format!("br ;\tq={weight} , deflate")] {
                let mut headers = HeaderMap::new();
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::try_from(&form).unwrap());
                assert_eq!(
                    ContentCoding::preferred(&headers, &FOR_FILES).name(),
                    "identity",
                    "{form:?}"
                );
            }
        }
        assert_eq!(preferred(&["br;q=0, br"]), "identity");
        assert_eq!(preferred(&["br;level=1;q=1"]), "identity");
    }

    #[test]
    fn a_compressed_page_is_the_page() {
        use std::io::Read as _;
        let page = "<p>a page of the site</p>".repeat(100);
        let mut unpacked = String::new();
        let packed = gzip(page.as_bytes(), PAGE_GZIP_LEVEL).unwrap();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, page);
        let packed = brotli(page.as_bytes(), PAGE_BROTLI_QUALITY).unwrap();
        let mut unpacked = Vec::new();
        brotli::BrotliDecompress(&mut &packed[..], &mut unpacked).unwrap();
        assert_eq!(unpacked, page.as_bytes());
    }
}
