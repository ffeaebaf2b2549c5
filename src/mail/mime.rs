//! Builds the bytes of a mail (RFC 5322, MIME). Headers are built with lettre's types and checked again here,
//! because a line break in user input would allow header injection. The same row always gives the same bytes
//! and Message-ID, so that receivers can detect a duplicate.

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message as Mail};
use time::OffsetDateTime;
use uuid::Uuid;

use super::RenderedMail;

/// A mail, ready to be sent.
pub struct ComposedMail {
    /// The envelope sender.
    pub from: Address,
    /// The only recipient.
    pub to: Address,
    /// Header and body.
    pub bytes: Vec<u8>,
}

/// Why a mail cannot be built. A retry would fail too.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The recipient is not a valid email.
    #[error("the recipient is not a valid email")]
    Recipient,
    /// Another problem, which earlier checks should have prevented.
    #[error("the mail cannot be built ({0})")]
    Other(&'static str),
}

/// Who sends the mails.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The From address.
    pub from: Mailbox,
    /// Where answers go; `None`: to the From address.
    pub reply_to: Option<Mailbox>,
    /// The host of the public URL, for the Message-ID.
    pub host: String,
}

/// Builds the mail of outbox row `id`.
pub fn compose(
    id: Uuid,
    written_at: OffsetDateTime,
    sender: &Sender,
    recipient: &str,
    rendered: &RenderedMail,
) -> Result<ComposedMail, ComposeError> {
    let to = address(recipient).ok_or(ComposeError::Recipient)?;
    if rendered.subject.chars().any(char::is_control) {
        return Err(ComposeError::Other("a line break in the subject"));
    }
    let body = MultiPart::alternative()
        .boundary(format!("frontdesk-{}", id.simple()))
        .singlepart(SinglePart::plain(rendered.text.clone()))
        .singlepart(SinglePart::html(rendered.html.clone()));
    let mut mail = Mail::builder();
    if let Some(reply_to) = &sender.reply_to {
        mail = mail.reply_to(reply_to.clone());
    }
    let Sender { from, host, .. } = sender;
    let mail = mail
        .from(from.clone())
        // Without the display name, which is user input and not needed.
        .to(Mailbox::new(None, to.clone()))
        .subject(rendered.subject.as_str())
        .date(written_at.into())
        .message_id(Some(format!("<{id}@{host}>")))
        // Suppresses automatic replies (RFC 3834, 5).
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .multipart(body)
        .map_err(|_| ComposeError::Other("lettre rejects it"))?;
    let envelope = mail.envelope();
    if envelope.to() != [to.clone()] {
        return Err(ComposeError::Other("unexpected recipient"));
    }
    Ok(ComposedMail { from: from.email.clone(), to, bytes: mail.formatted() })
}

/// The stored email with its domain in ASCII (IDNA), so that only a non-ASCII local part needs a server with
/// SMTPUTF8.
fn address(stored: &str) -> Option<Address> {
    let (local, domain) = stored.rsplit_once('@')?;
    if stored.chars().any(|character| character.is_control() || character.is_whitespace()) {
        return None;
    }
    let domain = url::Host::parse(domain).ok()?.to_string();
    Address::new(local, domain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn mail(recipient: &str, subject: &str, text: &str) -> Result<String, ComposeError> {
        let rendered = RenderedMail {
            subject: subject.to_owned(),
            text: text.to_owned(),
            html: "<p>Hello</p>\n".to_owned(),
        };
        let from =
            Mailbox::new(Some("The Grand, Ltd.".to_owned()), "desk@example.com".parse().unwrap());
        let reply_to = Some("Help <help@example.com>".parse().unwrap());
        let sender = Sender { from, reply_to, host: "desk.example.com".to_owned() };
        let id = Uuid::from_u128(7);
        compose(id, datetime!(2026-11-25 09:30 UTC), &sender, recipient, &rendered)
            .map(|mail| String::from_utf8(mail.bytes).unwrap())
    }

    #[test]
    fn a_mail_has_all_headers_and_the_same_bytes_each_time() {
        let mail = || super::tests::mail("Ada@Bücher.example", "Grüße", "Hello Ada,\n").unwrap();
        let text = mail();
        for line in [
            "From: =?utf-8?b?VGhlIEdyYW5kLCBMdGQu?= <desk@example.com>\r\n",
            "Reply-To: Help <help@example.com>\r\n",
            "To: Ada@xn--bcher-kva.example\r\n",
            "Date: Wed, 25 Nov 2026 09:30:00 +0000\r\n",
            "Message-ID: <00000000-0000-0000-0000-000000000007@desk.example.com>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "MIME-Version: 1.0\r\n",
            "Content-Type: multipart/alternative;",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "Content-Type: text/html; charset=utf-8\r\n",
            "Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        assert_eq!(text, mail());
    }

    #[test]
    fn no_line_break_reaches_a_header() {
        for recipient in [
            "ada@example.com\r\nBcc: eve@example.com",
            "ada\n@example.com",
            "ada@example.com, eve@example.com",
            "ada@example.com> <eve@example.com",
            "ada",
            "",
        ] {
            assert!(mail(recipient, "Hello", "Hello\n").is_err(), "{recipient:?}");
        }
        assert!(mail("ada@example.com", "Hello\r\nBcc: eve@example.com", "Hello\n").is_err());
        let text = mail("ada@example.com", "Hello", "Hello\r\n\r\nBcc: eve@example.com\n").unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("eve"), "{head}");
    }
}
