//! From a letter to the bytes of a mail (RFC 5322, MIME). What goes into a header is made by lettre's types for it and
//! looked at once more: a line break from anybody's input would begin a header of theirs. The same row always gives
//! the same mail, so that a receiver can tell a duplicate.

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message as Mail};
use time::OffsetDateTime;
use uuid::Uuid;

use super::RenderedMail;

/// A mail, ready to go.
pub struct ComposedMail {
    /// The sender of the envelope.
    pub from: Address,
    /// The one recipient.
    pub to: Address,
    /// Head and body.
    pub bytes: Vec<u8>,
}

/// Why a mail cannot be made; trying again does not help.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The address has not the form of one.
    #[error("the recipient is not a valid email")]
    Recipient,
    /// Something else, which our own checks should have kept out.
    #[error("the mail cannot be built ({0})")]
    Other(&'static str),
}

/// The mail of outbox row `id` to `recipient`, from `from`; `host` is that of the public URL.
pub fn compose(
    id: Uuid,
    written_at: OffsetDateTime,
    from: &Mailbox,
    recipient: &str,
    host: &str,
    letter: &RenderedMail,
) -> Result<ComposedMail, ComposeError> {
    let to = address(recipient).ok_or(ComposeError::Recipient)?;
    if letter.subject.chars().any(char::is_control) {
        return Err(ComposeError::Other("a line break in the subject"));
    }
    let body = MultiPart::alternative()
        .boundary(format!("frontdesk-{}", id.simple()))
        .singlepart(SinglePart::plain(letter.text.clone()))
        .singlepart(SinglePart::html(letter.html.clone()));
    let mail = Mail::builder()
        .from(from.clone())
        // Without a name: it is typed by people, and mail arrives without it.
        .to(Mailbox::new(None, to.clone()))
        .subject(letter.subject.as_str())
        .date(written_at.into())
        .message_id(Some(format!("<{id}@{host}>")))
        // Nobody's out-of-office answers it (RFC 3834, 5).
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

/// A stored address with the domain as DNS has it, so that only a local part beyond ASCII needs a server that takes
/// such addresses (SMTPUTF8).
fn address(stored: &str) -> Option<Address> {
    let (local, domain) = stored.rsplit_once('@')?;
    if stored.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
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
        let letter = RenderedMail {
            subject: subject.to_owned(),
            text: text.to_owned(),
            html: "<p>Hello</p>\n".to_owned(),
        };
        let from =
            Mailbox::new(Some("The Grand, Ltd.".to_owned()), "desk@example.com".parse().unwrap());
        let id = Uuid::from_u128(7);
        compose(id, datetime!(2026-11-25 09:30 UTC), &from, recipient, "desk.example.com", &letter)
            .map(|mail| String::from_utf8(mail.bytes).unwrap())
    }

    #[test]
    fn a_mail_has_the_headers_of_one_and_is_the_same_each_time() {
        let mail = || super::tests::mail("Ada@Bücher.example", "Grüße", "Hello Ada,\n").unwrap();
        let text = mail();
        for line in [
            "From: =?utf-8?b?VGhlIEdyYW5kLCBMdGQu?= <desk@example.com>\r\n",
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
