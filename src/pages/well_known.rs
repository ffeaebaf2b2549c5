//! The addresses that browsers and security researchers try on every site: `/.well-known/change-password` and
//! `/.well-known/security.txt`. Outside the session middleware. `/robots.txt` and `/favicon.ico` are files in
//! `static/root/`.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, Time};

use crate::app::App;
use crate::paths::page_path;
use crate::web::error::HttpError;

const TEXT: &str = "text/plain; charset=utf-8";
/// How long what `security.txt` says is valid. RFC 9116 (2.5.5) recommends less than a year.
const VALID_FOR: Duration = Duration::days(30);

/// `GET /.well-known/change-password`: where password managers send users to change a password (W3C, "A
/// Well-Known URL for Changing Passwords").
pub async fn change_password() -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, page_path("/account/password")))
        .finish()
}

/// `GET /.well-known/security.txt` (RFC 9116). 404 unless `FRONTDESK_SECURITY_CONTACT` is set.
pub async fn security_txt(app: web::Data<App>) -> Result<HttpResponse, HttpError> {
    let contacts = &app.config.security_contacts;
    if contacts.is_empty() {
        return Err(HttpError::NotFound);
    }
    let public_url = &app.config.public_url;
    let mut text: String = contacts.iter().map(|uri| format!("Contact: {uri}\n")).collect();
    text += &format!("Expires: {}\nPreferred-Languages: en\n", expires(OffsetDateTime::now_utc())?);
    // Web URIs in this file begin with https (2.5.2).
    if public_url.is_https() {
        text += &format!("Canonical: {}.well-known/security.txt\n", public_url.origin());
    }
    Ok(HttpResponse::Ok().content_type(TEXT).body(text))
}

/// The same for every request of a day.
fn expires(now: OffsetDateTime) -> Result<String, HttpError> {
    let expires = (now + VALID_FOR).replace_time(Time::MIDNIGHT).format(&Rfc3339);
    expires.map_err(|error| HttpError::Internal(error.into()))
}
