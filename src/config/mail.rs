//! How mail leaves the house.

use std::path::PathBuf;

use url::Url;

use super::parse::Reader;
use crate::secret::SecretText;

/// How mail leaves the house.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Where it goes.
    pub transport: MailTransport,
    /// Who it is from.
    pub from: String,
}

/// Where mail goes.
#[derive(Debug, Clone)]
pub enum MailTransport {
    /// Nowhere: it is kept in the outbox; on this machine `/dev/mailbox` shows it.
    Kept,
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
    let from = read.text("FRONTDESK_MAIL_FROM").unwrap_or_default().to_owned();
    if smtp.is_some() && from.is_empty() {
        read.problem(
            "FRONTDESK_MAIL_FROM",
            "must be set with FRONTDESK_SMTP_URL, to an address like Frontdesk <desk@example.com>",
        );
    }
    let transport = match (smtp, folder) {
        (Some(url), _) => {
            let good = Url::parse(url.reveal())
                .is_ok_and(|url| matches!(url.scheme(), "smtp" | "smtps") && url.has_host());
            if !good {
                read.problem(
                    "FRONTDESK_SMTP_URL",
                    "is not an address like smtps://user:password@mail.example.com",
                );
            }
            MailTransport::Smtp(url)
        }
        (None, Some(folder)) => MailTransport::Folder(folder),
        (None, None) => MailTransport::Kept,
    };
    let from = if from.is_empty() { "Frontdesk <desk@localhost>".to_owned() } else { from };
    Mail { transport, from }
}
