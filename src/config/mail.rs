//! How mail leaves the house.

use std::path::PathBuf;

use lettre::message::Mailbox;
use url::Url;

use super::parse::Reader;
use crate::crypto::secret::SecretText;

/// How mail leaves the house.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Where it goes.
    pub transport: MailTransport,
    /// Who it is from.
    pub from: Mailbox,
    /// Certificates (PEM) that a mail server is believed by, beside the system's.
    pub ca_certificates: Option<String>,
}

/// Where mail goes.
#[derive(Debug, Clone)]
pub enum MailTransport {
    /// Nowhere: it is kept in the outbox; on this machine `/dev/mailbox` shows it.
    OutboxOnly,
    /// A folder of `.eml` files.
    Folder(PathBuf),
    /// A mail server; `smtp://` (STARTTLS required) or `smtps://` with user and password in it.
    Smtp(SecretText),
}

pub(super) fn mail(read: &mut Reader<'_>) -> Mail {
    let smtp = read.secret("FRONTDESK_SMTP_URL");
    let folder = read.text("FRONTDESK_MAIL_DIR").map(PathBuf::from);
    if smtp.is_some() && folder.is_some() {
        read.problem("FRONTDESK_MAIL_DIR", "and FRONTDESK_SMTP_URL are both set. Set one of them");
    }
    let from = read.text("FRONTDESK_MAIL_FROM").unwrap_or_default();
    if smtp.is_some() && from.is_empty() {
        read.problem(
            "FRONTDESK_MAIL_FROM",
            "must be set with FRONTDESK_SMTP_URL, to an address like Frontdesk <desk@example.com>",
        );
    }
    let transport = match (smtp, folder) {
        (Some(url), _) => {
            let good = Url::parse(url.reveal()).is_ok_and(|url| {
                // Parameters, such as lettre's `tls=none`, are refused: nothing turns TLS off.
                matches!(url.scheme(), "smtp" | "smtps")
                    && url.has_host()
                    && matches!(url.path(), "" | "/")
                    && url.query().is_none()
                    && url.fragment().is_none()
            });
            if !good {
                read.problem(
                    "FRONTDESK_SMTP_URL",
                    "is not an address like smtps://user:password@mail.example.com",
                );
            }
            MailTransport::Smtp(url)
        }
        (None, Some(folder)) => MailTransport::Folder(folder),
        (None, None) => MailTransport::OutboxOnly,
    };
    let ca_certificates = read.text("FRONTDESK_SMTP_CA_FILE").and_then(|path| {
        std::fs::read_to_string(path)
            .map_err(|error| {
                let what = format!("names {path}, which cannot be read ({error})");
                read.problem("FRONTDESK_SMTP_CA_FILE", &what);
            })
            .ok()
    });
    let from = if from.is_empty() { "Frontdesk <desk@localhost>" } else { from };
    let from = mailbox(from).unwrap_or_else(|| {
        read.problem("FRONTDESK_MAIL_FROM", "is not an address like Frontdesk <desk@example.com>");
        "desk@localhost".parse().expect("this is an address")
    });
    Mail { transport, from, ca_certificates }
}

/// `desk@example.com`, or `Frontdesk, Ltd. <desk@example.com>`; quotes around the name may be left out.
fn mailbox(text: &str) -> Option<Mailbox> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let (name, address) = match text.strip_suffix('>') {
        Some(rest) => rest.rsplit_once('<')?,
        None => ("", text),
    };
    let name = name.trim().trim_matches('"');
    Some(Mailbox::new((!name.is_empty()).then(|| name.to_owned()), address.parse().ok()?))
}
