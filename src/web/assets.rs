//! Style sheets, images and scripts. They are embedded in the program or come from the operator's folder, and are
//! compressed once, at start. Their URLs contain a hash of all files of their layer, so that browsers cache them for
//! a year, and relative references between them work. Served without a session lookup.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use actix_web::http::header::{self, EntityTag, HeaderValue, IfNoneMatch};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

use super::content_coding::{ContentCoding, FOR_FILES, brotli, gzip};
use super::error::HttpError;
use super::site_policy;
use crate::config::ColorScheme;
use crate::folder::{self, Folder};
use crate::look;
use crate::templates::AssetUrls;

/// They are compressed once, at start.
const GZIP_LEVEL: u32 = 9;
const BROTLI_QUALITY: u32 = 9;

/// The content of the URL never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// The URL has the hash of another version, which may run beside this one.
const REVALIDATED: &str = "no-cache";
/// Files at the root, whose URL has no hash.
const ONE_HOUR: &str = "public, max-age=3600";
/// A script inside an SVG image has no access to the site.
const SVG_POLICY: &str = "sandbox";
/// Files below this folder are served at the root.
const ROOT: &str = "root/";
/// What is escaped in a URL path besides control characters and what is not ASCII (WHATWG URL, path percent-encode
/// set).
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');

#[derive(RustEmbed)]
#[folder = "static/"]
struct Files;

/// All assets.
pub struct Assets {
    /// By their path below `static/`, each from the strongest layer that has it.
    by_path: HashMap<String, Asset>,
    /// By the path of their URL.
    at_root: BTreeMap<String, Asset>,
    urls: AssetUrls,
}

struct Asset {
    media_type: &'static str,
    /// The part of the URL that names layer and hash.
    layer: Arc<str>,
    etag: String,
    plain: web::Bytes,
    /// `None`: it is as short without compression.
    gzip: Option<web::Bytes>,
    brotli: Option<web::Bytes>,
}

impl Assets {
    /// Hashes and compresses the files in `static/`: those of Frontdesk, and those of the site, which replace them by
    /// name.
    pub fn load(site: &Folder, scheme: ColorScheme) -> anyhow::Result<Self> {
        let own =
            Files::iter().filter_map(|path| Some((path.to_string(), Files::get(&path)?.data)));
        let own: Folder = own.collect();
        let (own, site) = (&in_scheme(&own, scheme), &in_scheme(site, scheme));
        let mut strongest = BTreeMap::new();
        for (letter, files) in [('f', own), ('s', site)] {
            let layer: Arc<str> = format!("{letter}-{}", hash_of_all(files)).into();
            let files = files.iter().filter(|(path, _)| !is_hidden(path));
            strongest.extend(files.map(|(path, bytes)| (path, (Arc::clone(&layer), bytes))));
        }
        let (mut by_path, mut at_root) = (HashMap::new(), BTreeMap::new());
        let mut urls = BTreeMap::new();
        for (path, (layer, bytes)) in strongest {
            let asset = Asset::new(path, layer, bytes)?;
            if let Some(rest) = path.strip_prefix(ROOT) {
                at_root.insert(format!("/{rest}"), asset);
                continue;
            }
            let encoded = utf8_percent_encode(path, PATH);
            urls.insert(path.clone(), format!("/static/{}/{encoded}", asset.layer));
            by_path.insert(path.clone(), asset);
        }
        Ok(Self { by_path, at_root, urls: Arc::new(urls) })
    }

    /// URLs by path below `static/`, for templates.
    pub fn urls(&self) -> &AssetUrls {
        &self.urls
    }

    /// The URL paths of the files that are served at the root, and whether they are Frontdesk's.
    pub fn at_root(&self) -> impl Iterator<Item = (&str, bool)> {
        self.at_root.iter().map(|(path, asset)| (path.as_str(), asset.is_of_frontdesk()))
    }

    /// The file with the URL `/static/{path}`, and whether its URL has the hash of this version.
    fn find(&self, path: &str) -> Option<(&Asset, bool)> {
        match path.split_once('/') {
            Some((layer, name)) => {
                let asset = self.by_path.get(name)?;
                Some((asset, *asset.layer == *layer))
            }
            None => Some((self.by_path.get(&former_name(path)?)?, false)),
        }
    }
}

/// The files with style sheets of one color scheme, if the site has only one.
fn in_scheme(files: &Folder, scheme: ColorScheme) -> Folder {
    let mut files = files.clone();
    if scheme != ColorScheme::Auto {
        for (_, bytes) in files.iter_mut().filter(|(path, _)| path.ends_with(".css")) {
            let css = look::with_fixed_scheme(&String::from_utf8_lossy(bytes), scheme);
            *bytes = Cow::Owned(css.into_bytes());
        }
    }
    files
}

/// The file that a version before had at `/static/style-0123456789ab.css`.
fn former_name(name: &str) -> Option<String> {
    let (stem, ending) = name.rsplit_once('.')?;
    let (stem, hash) = stem.rsplit_once('-')?;
    let is_hash = hash.len() == 12 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| format!("{stem}.{ending}"))
}

/// Whether a file is skipped because of its name or that of a folder.
fn is_hidden(path: &str) -> bool {
    path.split('/').any(folder::is_hidden)
}

fn hash_of_all(files: &Folder) -> String {
    let mut hash = Sha256::new();
    for (path, bytes) in files {
        for part in [path.as_bytes(), bytes] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    short(&hash.finalize())
}

fn short(digest: &[u8]) -> String {
    hex::encode(&digest[..6])
}

impl Asset {
    fn new(path: &str, layer: Arc<str>, bytes: &[u8]) -> anyhow::Result<Self> {
        let Some(media_type) = media_type(path) else {
            anyhow::bail!("static/{path} {NOT_SERVED}");
        };
        let (mut gzipped, mut brotlied) = (None, None);
        if is_compressible(media_type) {
            gzipped = Some(gzip(bytes, GZIP_LEVEL)?);
            brotlied = Some(brotli(bytes, BROTLI_QUALITY)?);
        }
        let is_shorter = |compressed: &web::Bytes| compressed.len() < bytes.len();
        Ok(Self {
            media_type,
            layer,
            etag: short(&Sha256::digest(bytes)),
            plain: web::Bytes::copy_from_slice(bytes),
            gzip: gzipped.filter(is_shorter),
            brotli: brotlied.filter(is_shorter),
        })
    }

    fn is_of_frontdesk(&self) -> bool {
        self.layer.starts_with('f')
    }

    /// A worker has the policy of its script, not that of the page: for a site's script it is the site's.
    fn policy(&self, request: &HttpRequest) -> Option<HeaderValue> {
        match self.media_type {
            SVG => Some(HeaderValue::from_static(SVG_POLICY)),
            SCRIPT if !self.is_of_frontdesk() => site_policy::of_site(request),
            _ => None,
        }
    }

    /// 200 with the file, or 304 if the client has it already.
    fn answer(&self, request: &HttpRequest, caching: &'static str) -> HttpResponse {
        let coding = ContentCoding::preferred(request.headers(), &FOR_FILES);
        let (body, coding) = match coding {
            ContentCoding::Brotli => (self.brotli.as_ref(), coding),
            ContentCoding::Gzip => (self.gzip.as_ref(), coding),
            ContentCoding::Identity => (None, coding),
        };
        // Weak: the compressed forms have the same one.
        let etag = EntityTag::new_weak(self.etag.clone());
        let is_known = match request.get_header::<IfNoneMatch>() {
            Some(IfNoneMatch::Any) => true,
            Some(IfNoneMatch::Items(known)) => known.iter().any(|one| one.weak_eq(&etag)),
            None => false,
        };
        let mut response = match is_known {
            true => HttpResponse::NotModified(),
            false => HttpResponse::Ok(),
        };
        response
            .insert_header((header::CACHE_CONTROL, caching))
            .insert_header((header::VARY, "Accept-Encoding"))
            .insert_header(header::ETag(etag));
        if let Some(policy) = self.policy(request) {
            response.insert_header((header::CONTENT_SECURITY_POLICY, policy));
        }
        if is_known {
            return response.finish();
        }
        response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(self.media_type)));
        if let (Some(_), Some(name)) = (body, coding.header()) {
            response.insert_header((header::CONTENT_ENCODING, name));
        }
        response.body(body.unwrap_or(&self.plain).clone())
    }
}

/// `GET /static/{path}`: a layer with its hash, and the path of the file. If the hash is that of another version, the
/// answer is this version's file, which is not cached: one of the two servers behind a proxy answered with the page,
/// the other one is asked for its files.
pub async fn serve(
    request: HttpRequest,
    assets: web::Data<Assets>,
    path: web::Path<String>,
) -> Result<HttpResponse, HttpError> {
    let (asset, is_current) = assets.find(&path).ok_or(HttpError::NotFound)?;
    Ok(asset.answer(&request, if is_current { IMMUTABLE } else { REVALIDATED }))
}

/// `GET` of a file in `static/root/`. Its route has the path of the file.
pub async fn serve_at_root(
    request: HttpRequest,
    assets: web::Data<Assets>,
) -> Result<HttpResponse, HttpError> {
    let asset = request.match_pattern().and_then(|path| assets.at_root.get(&path));
    Ok(asset.ok_or(HttpError::NotFound)?.answer(&request, ONE_HOUR))
}

/// Why the file `path` in `static/` is not served, to follow its path in a message.
pub fn problem(path: &str) -> Option<&'static str> {
    match path.strip_prefix(ROOT) {
        _ if is_hidden(path) => None,
        _ if media_type(path).is_none() => Some(NOT_SERVED),
        // They would be a pattern of the router.
        Some(name) if name.contains(['{', '}']) => Some("has a brace in its name. Rename it."),
        _ => None,
    }
}

/// The path of the URL of a file in `static/`, if it is served at the root.
pub fn url_at_root(path: &str) -> Option<String> {
    path.strip_prefix(ROOT).filter(|name| !is_hidden(name)).map(|name| format!("/{name}"))
}

const NOT_SERVED: &str = "has an ending that is not served. Use css, js, mjs, json, svg, png, jpg, webp, avif, gif, ico, woff2, txt, xml, pdf, webmanifest or mp4, or remove it.";
const SVG: &str = "image/svg+xml; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

fn media_type(path: &str) -> Option<&'static str> {
    Some(match path.rsplit_once('.')?.1 {
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => SCRIPT,
        "json" => "application/json",
        "svg" => SVG,
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

/// Whether compression makes such a file shorter. The other types are compressed already.
fn is_compressible(media_type: &str) -> bool {
    [
        "text/",
        "application/json",
        "application/xml",
        "application/manifest",
        "image/svg",
        "image/x-icon",
    ]
    .iter()
    .any(|start| media_type.starts_with(start))
}
