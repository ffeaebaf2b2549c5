//! Style sheet and pictures: in the program, under names that carry their fingerprint, compressed once at
//! start, cached by browsers for ever. Outside the session scope: they cost no look-up.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

use super::error::HttpError;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Files;

/// Every asset by the last part of its URL.
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
    /// Fingerprints and compresses what is in `static/`.
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

    /// URLs by file name, for templates.
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
    let accepted = request
        .headers()
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let accepts = |coding: &str| {
        accepted.split(',').any(|part| {
            let mut words = part.split(';').map(str::trim);
            words.next() == Some(coding) && !words.any(|weight| weight.replace(' ', "") == "q=0")
        })
    };
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type)))
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::VARY, "Accept-Encoding"));
    let body = if accepts("br") {
        response.insert_header((header::CONTENT_ENCODING, "br"));
        &asset.brotli
    } else if accepts("gzip") {
        response.insert_header((header::CONTENT_ENCODING, "gzip"));
        &asset.gzip
    } else {
        &asset.plain
    };
    Ok(response.body(body.clone()))
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
