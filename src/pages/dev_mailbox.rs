//! `GET /dev/mailbox`, `GET /dev/mailbox/{id}`: the mail that was not sent, for developers on this machine.
//!
//! The mails contain links that give access to accounts. So the pages exist only if no mail server is
//! configured, the public URL is a loopback address, the request comes from a loopback address, and its
//! `Host` names this machine (which excludes DNS rebinding). The text of a mail is shown, never its HTML,
//! which would run with the origin of this site.

use actix_web::guard::GuardContext;
use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use time::OffsetDateTime;
use url::Host;
use uuid::Uuid;

use crate::app::App;
use crate::config::MailTransport;
use crate::language::Text;
use crate::mail::outbox::{self, KeptMail};
use crate::web::error::HttpError;
use crate::web::page::Page;
use crate::web::relative_time::Time;

/// Maximum number of mails in the list.
const MAX_LISTED: usize = 100;

#[derive(Serialize)]
struct ListPage {
    mails: Vec<Summary>,
    /// There are older mails, which are not listed.
    has_more: bool,
}

#[derive(Serialize)]
struct Summary {
    id: Uuid,
    recipient: String,
    subject: String,
    created_at: Time,
}

#[derive(Serialize)]
struct MailPage {
    mail: Summary,
    from: String,
    parts: Vec<Part>,
}

/// A piece of the text. `link`: it is a URL of this site and is rendered as a link.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Part {
    text: String,
    link: bool,
}

/// Whether the mailbox exists for this request.
pub fn is_available(context: &GuardContext<'_>) -> bool {
    let Some(app) = context.app_data::<web::Data<App>>() else { return false };
    let config = &app.config;
    let host = context.head().headers().get(header::HOST).and_then(|host| host.to_str().ok());
    matches!(config.mail.transport, MailTransport::OutboxOnly)
        && config.public_url.is_loopback()
        && context.head().peer_addr.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
        && host.is_some_and(is_this_machine)
}

/// Whether a `Host` header can only name this machine.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    match Host::parse(name) {
        Ok(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Ok(Host::Ipv4(ip)) => ip.is_loopback(),
        Ok(Host::Ipv6(ip)) => ip.is_loopback(),
        Err(_) => false,
    }
}

/// `GET /dev/mailbox`.
#[tracing::instrument(name = "dev_mailbox", level = "debug", skip_all)]
pub async fn list(app: web::Data<App>, page: Page) -> Result<HttpResponse, HttpError> {
    let kept = outbox::list_kept(&app.pool, None, MAX_LISTED as i64 + 1).await?;
    let has_more = kept.len() > MAX_LISTED;
    let mails = kept.iter().take(MAX_LISTED).map(|kept| open(&app, kept).map(|(mail, _)| mail));
    let mails = mails.collect::<Result<_, _>>()?;
    page.show("dev_mailbox/list.html", &ListPage { mails, has_more })
}

/// `GET /dev/mailbox/{id}`.
#[tracing::instrument(name = "dev_mail", level = "debug", skip_all)]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    path: web::Path<String>,
) -> Result<HttpResponse, HttpError> {
    let id: Uuid = path.parse().map_err(|_| HttpError::NotFound)?;
    let kept = outbox::list_kept(&app.pool, Some(id), 1).await?;
    let (mail, text) = open(&app, kept.first().ok_or(HttpError::NotFound)?)?;
    let parts = parts(&text, app.config.public_url.origin().as_str());
    page.show(
        "dev_mailbox/show.html",
        &MailPage { mail, from: app.config.mail.from.to_string(), parts },
    )
}

/// Opens a mail and returns its summary and its text.
fn open(app: &App, kept: &KeptMail) -> Result<(Summary, String), HttpError> {
    let sealed = kept.sealed.as_deref();
    let message = sealed.and_then(|sealed| outbox::open(&app.sealer, kept.id, sealed));
    let (subject, text) = match message {
        Some(message) => {
            let count = kept.combined.unwrap_or(1);
            let rendered = app.mail_renderer.render_combined(&message, &kept.language, count);
            let rendered = rendered.map_err(HttpError::Internal)?;
            (rendered.subject, rendered.text)
        }
        None => {
            let (subject, why) = (Text::key("mailbox-sealed-title"), Text::key("mailbox-sealed"));
            (subject.to_string(), why.to_string())
        }
    };
    let summary = Summary {
        id: kept.id,
        recipient: kept.recipient.clone(),
        subject,
        created_at: Time::new(kept.created_at, OffsetDateTime::now_utc()),
    };
    Ok((summary, text))
}

/// Splits `text` into pieces. Only URLs that begin with `public` are links.
fn parts(text: &str, public: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(public) {
        let (before, from) = rest.split_at(at);
        let end = from.find(char::is_whitespace).unwrap_or(from.len());
        let (link, after) = from.split_at(end);
        if !before.is_empty() {
            parts.push(Part { text: before.to_owned(), link: false });
        }
        parts.push(Part { text: link.to_owned(), link: true });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part { text: rest.to_owned(), link: false });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_accepted() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "a.localhost"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in
            ["", "evil.example", "127.0.0.1.evil.example:80", "localhost@evil.example", "10.0.0.1"]
        {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn only_urls_of_this_site_are_links() {
        let found = parts("See http://a/x?y\nor javascript:z http://b/", "http://a/");
        let links: Vec<_> = found.iter().filter(|part| part.link).map(|part| &part.text).collect();
        assert_eq!(links, ["http://a/x?y"]);
        let all: String = found.iter().map(|part| part.text.as_str()).collect();
        assert_eq!(all, "See http://a/x?y\nor javascript:z http://b/");
    }
}
