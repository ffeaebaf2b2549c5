//! Style sheet and images: embedded in the program, compressed once at start, and served under names with a
//! fingerprint, so that browsers cache them for a year. Served without a session lookup.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;

use actix_web::http::header::{
    self, AcceptEncoding, ContentEncoding, Encoding, Header as _, HeaderValue,
};
use actix_web::{HttpRequest, HttpResponse, web};
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

use super::error::HttpError;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Files;

/// All assets, by the last segment of their URL.
pub struct Assets {
    by_url: HashMap<String, Asset>,
    urls: BTreeMap<String, String>,
}

struct Asset {
    media_type: &'static str,
    plain: web::Bytes,
    gzip: web::Bytes,
    brotli: web::Bytes,
}

impl Assets {
    /// Fingerprints and compresses the files in `static/`.
    pub fn load() -> anyhow::Result<Self> {
        let mut by_url = HashMap::new();
        let mut urls = BTreeMap::new();
        for path in Files::iter() {
            let Some(file) = Files::get(&path) else {
                continue;
            };
            let Some(media_type) = media_type(&path) else {
                continue;
            };
            let (stem, ending) = path.rsplit_once('.').unwrap_or((&path, ""));
            let fingerprint = hex::encode(&Sha256::digest(&file.data)[..6]);
            let name = format!("{}-{fingerprint}.{ending}", stem.replace('/', "-"));
            urls.insert(path.to_string(), format!("/static/{name}"));
            let plain = web::Bytes::copy_from_slice(&file.data);
            let asset = Asset { media_type, gzip: gzip(&plain)?, brotli: brotli(&plain)?, plain };
            by_url.insert(name, asset);
        }
        Ok(Self { by_url, urls })
    }

    /// URLs by path below `static/`, for templates.
    pub fn urls(&self) -> &BTreeMap<String, String> {
        &self.urls
    }
}

/// `GET /static/{name}`.
pub async fn serve(
    request: HttpRequest,
    assets: web::Data<Assets>,
    name: web::Path<String>,
) -> Result<HttpResponse, HttpError> {
    let asset = assets.by_url.get(name.as_str()).ok_or(HttpError::NotFound)?;
    let encoding = negotiated(&request);
    let body = match &encoding {
        Encoding::Known(ContentEncoding::Brotli) => &asset.brotli,
        Encoding::Known(ContentEncoding::Gzip) => &asset.gzip,
        _ => &asset.plain,
    };
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type)))
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::VARY, "Accept-Encoding"));
    if encoding != Encoding::identity() {
        response.insert_header((header::CONTENT_ENCODING, encoding.to_string()));
    }
    Ok(response.body(body.clone()))
}

/// The encoding that the client prefers. If it accepts none, the file is sent unencoded (RFC 9110, 12.5.3).
fn negotiated(request: &HttpRequest) -> Encoding {
    let supported = [Encoding::brotli(), Encoding::gzip(), Encoding::identity()];
    AcceptEncoding::parse(request)
        .ok()
        .and_then(|accepted| accepted.negotiate(supported.iter()))
        .unwrap_or_else(Encoding::identity)
}

fn media_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml; charset=utf-8"),
        "png" => Some("image/png"),
        "ico" => Some("image/x-icon"),
        _ => None,
    }
}

fn gzip(plain: &[u8]) -> std::io::Result<web::Bytes> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?.into())
}

fn brotli(plain: &[u8]) -> std::io::Result<web::Bytes> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 9, 22);
    encoder.write_all(plain)?;
    encoder.flush()?;
    Ok(encoder.into_inner().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn the_encoding_follows_the_weights_and_brotli_wins_a_tie() {
        for (accepted, encoding) in [
            ("gzip, deflate, br, zstd", "br"),
            ("gzip, br", "br"),
            ("GZIP", "gzip"),
            ("br;q=0, gzip", "gzip"),
            ("br;q=0.0, gzip", "gzip"),
            ("br;q=0.5, gzip;q=0.8", "gzip"),
            ("identity, gzip;q=0.5", "identity"),
            ("deflate", "identity"),
            ("*", "identity"),
            ("*;q=0", "identity"),
            ("br;q=2", "identity"),
            ("", "identity"),
        ] {
            let request = TestRequest::default().insert_header(("Accept-Encoding", accepted));
            let negotiated = negotiated(&request.to_http_request()).to_string();
            assert_eq!(negotiated, encoding, "{accepted:?}");
        }
        assert_eq!(negotiated(&TestRequest::default().to_http_request()), Encoding::identity());
    }
}
