//! The settings of mail.

use std::path::PathBuf;

use lettre::message::Mailbox;
use url::Url;

use super::parse::SettingsReader;
use crate::crypto::secret::SecretText;

/// The mail settings.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Where mail is delivered to.
    pub transport: MailTransport,
    /// The sender.
    pub from: Mailbox,
    /// Where answers go; `None`: to the sender.
    pub reply_to: Option<Mailbox>,
    /// CA certificates (PEM) to trust for the mail server, in addition to the system's.
    pub ca_certificates: Option<String>,
}

impl Mail {
    /// Whether mail leaves the outbox.
    pub fn is_sent(&self) -> bool {
        !matches!(self.transport, MailTransport::OutboxOnly)
    }
}

/// Where mail is delivered to.
#[derive(Debug, Clone)]
pub enum MailTransport {
    /// Nowhere: mail stays in the outbox. If the public URL is a loopback address, `/dev/mailbox` shows it.
    OutboxOnly,
    /// A folder of `.eml` files.
    Folder(PathBuf),
    /// The URL of a mail server: `smtp://` (STARTTLS required) or `smtps://`, with user and password.
    Smtp(SecretText),
}

impl MailTransport {
    /// The value of `servers.mail`.
    pub fn name(&self) -> &'static str {
        match self {
            MailTransport::OutboxOnly => "kept",
            MailTransport::Folder(_) => "folder",
            MailTransport::Smtp(_) => "smtp",
        }
    }

    /// The names of the transports that do more with mail than this one. A server leaves mail to a running server
    /// with one of them.
    pub fn preferred_transports(&self) -> &'static [&'static str] {
        match self {
            MailTransport::OutboxOnly => &["smtp", "folder"],
            MailTransport::Folder(_) => &["smtp"],
            MailTransport::Smtp(_) => &[],
        }
    }
}

pub(super) fn mail(read: &mut SettingsReader<'_>) -> Mail {
    let smtp = read.secret("FRONTDESK_SMTP_URL");
    let folder = read.text("FRONTDESK_MAIL_DIR").map(PathBuf::from);
    if smtp.is_some() && folder.is_some() {
        read.problem(
            "FRONTDESK_MAIL_DIR",
            "and FRONTDESK_SMTP_URL are both set. Set only one of them",
        );
    }
    let from = read.text("FRONTDESK_MAIL_FROM").unwrap_or_default();
    if smtp.is_some() && from.is_empty() {
        read.problem(
            "FRONTDESK_MAIL_FROM",
            "must be set if FRONTDESK_SMTP_URL is set, for example to Frontdesk <desk@example.com>",
        );
    }
    let transport = match (smtp, folder) {
        (Some(url), _) => {
            let is_valid = Url::parse(url.reveal()).is_ok_and(|url| {
                // Parameters are refused, because lettre's `tls=none` would turn TLS off.
                matches!(url.scheme(), "smtp" | "smtps")
                    && url.has_host()
                    && matches!(url.path(), "" | "/")
                    && url.query().is_none()
                    && url.fragment().is_none()
            });
            if !is_valid {
                read.problem(
                    "FRONTDESK_SMTP_URL",
                    "is not a URL like smtps://user:password@mail.example.com",
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
                let problem = format!("points to {path}, which cannot be read ({error})");
                read.problem("FRONTDESK_SMTP_CA_FILE", &problem);
            })
            .ok()
    });
    let from = if from.is_empty() { "Frontdesk <desk@localhost>" } else { from };
    let from = mailbox(from).unwrap_or_else(|| {
        read.problem("FRONTDESK_MAIL_FROM", "is not an email like Frontdesk <desk@example.com>");
        "desk@localhost".parse().expect("a valid email")
    });
    let reply_to = read.text("FRONTDESK_MAIL_REPLY_TO").and_then(|text| {
        let mailbox = mailbox(text);
        if mailbox.is_none() {
            let problem = "is not an email like Help <help@example.com>";
            read.problem("FRONTDESK_MAIL_REPLY_TO", problem);
        }
        mailbox
    });
    Mail { transport, from, reply_to, ca_certificates }
}

/// Parses `desk@example.com`, or `Frontdesk, Ltd. <desk@example.com>`. Quotes around the name are optional.
fn mailbox(text: &str) -> Option<Mailbox> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let (name, email) = match text.strip_suffix('>') {
        Some(rest) => rest.rsplit_once('<')?,
        None => ("", text),
    };
    let name = name.trim().trim_matches('"');
    Some(Mailbox::new((!name.is_empty()).then(|| name.to_owned()), email.parse().ok()?))
}
