//! Style sheet, images and scripts: embedded in the program, compressed once at start, and served under names with a
//! fingerprint, so that browsers cache them for a year. Served without a session lookup.

use std::collections::{BTreeMap, HashMap};

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

use super::content_coding::{ContentCoding, FOR_FILES, brotli, gzip};
use super::error::HttpError;
use crate::templates::Folder;

/// They are compressed once, at start.
const GZIP_LEVEL: u32 = 9;
const BROTLI_QUALITY: u32 = 9;

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
    /// Fingerprints and compresses the files in `static/`: those of Frontdesk, and those of the site, which replace
    /// them by name.
    pub fn load(site: &Folder) -> anyhow::Result<Self> {
        let own =
            Files::iter().filter_map(|path| Some((path.to_string(), Files::get(&path)?.data)));
        let mut files: Folder = own.filter(|(path, _)| media_type(path).is_some()).collect();
        for (path, bytes) in site {
            if media_type(path).is_none() {
                anyhow::bail!("static/{path} has an ending that is not served: {ENDINGS}");
            }
            files.insert(path.clone(), bytes.clone());
        }
        let mut by_url = HashMap::new();
        let mut urls = BTreeMap::new();
        for (path, data) in &files {
            let media_type = media_type(path).unwrap_or_default();
            let (stem, ending) = path.rsplit_once('.').unwrap_or((path, ""));
            let fingerprint = hex::encode(&Sha256::digest(data)[..6]);
            let name = format!("{}-{fingerprint}.{ending}", stem.replace('/', "-"));
            urls.insert(path.clone(), format!("/static/{name}"));
            let plain = web::Bytes::copy_from_slice(data);
            let (gzip, brotli) = (gzip(&plain, GZIP_LEVEL)?, brotli(&plain, BROTLI_QUALITY)?);
            let asset = Asset { media_type, gzip, brotli, plain };
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
    let coding = ContentCoding::preferred(request.headers(), &FOR_FILES);
    let body = match coding {
        ContentCoding::Brotli => &asset.brotli,
        ContentCoding::Gzip => &asset.gzip,
        ContentCoding::Identity => &asset.plain,
    };
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type)))
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::VARY, "Accept-Encoding"));
    if let Some(name) = coding.header() {
        response.insert_header((header::CONTENT_ENCODING, name));
    }
    Ok(response.body(body.clone()))
}

/// `GET /favicon.ico`, which browsers request for an answer that is not a page, and old ones for every page.
/// Pages name `favicon.svg`.
pub async fn icon(assets: web::Data<Assets>) -> Result<HttpResponse, HttpError> {
    let name = assets.urls.get("favicon.ico").and_then(|url| url.strip_prefix("/static/"));
    let asset = name.and_then(|name| assets.by_url.get(name)).ok_or(HttpError::NotFound)?;
    Ok(HttpResponse::Ok().content_type(asset.media_type).body(asset.plain.clone()))
}

/// The endings of the files that are served, for a message.
const ENDINGS: &str = "css, js, mjs, json, svg, png, jpg, webp, avif, gif, ico, woff2, txt, xml, pdf, webmanifest and mp4 are";

fn media_type(path: &str) -> Option<&'static str> {
    Some(match path.rsplit_once('.')?.1 {
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml; charset=utf-8",
        "png" => "image/png",
        "jpg" => "image/jpeg",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "gif" => "image/gif",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "webmanifest" => "application/manifest+json",
        "mp4" => "video/mp4",
        _ => return None,
    })
}
