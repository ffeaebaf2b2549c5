//! What a message looks like when it is written: subject, plain text and HTML. Links begin with the public URL and
//! nothing else. Must never put what a person typed into a subject, nor call a stranger's mailbox by a name that
//! somebody else chose: that would make our mail carry their words.

use anyhow::ensure;
use serde_json::{Value, json};
use url::Url;

use super::{Message, Source};
use crate::config::PublicUrl;
use crate::templates::MailTemplates;
use crate::web::relative_time;

/// A message, written.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedMail {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// Writes messages.
pub struct MailRenderer {
    templates: MailTemplates,
    site_name: String,
    base: Url,
}

impl MailRenderer {
    /// In the name of the site, with links to its public URL.
    pub fn new(site_name: &str, public_url: &PublicUrl) -> anyhow::Result<Self> {
        Ok(Self {
            templates: MailTemplates::load()?,
            site_name: site_name.to_owned(),
            base: public_url.origin().clone(),
        })
    }

    /// The letter of `message`.
    pub fn render(&self, message: &Message) -> anyhow::Result<RenderedMail> {
        let [subject, text, html] = self.templates.render(message.kind(), &self.data(message))?;
        let subject = subject.trim().to_owned();
        ensure!(!subject.chars().any(char::is_control), "the subject of a mail has a line break");
        Ok(RenderedMail { subject, text: tidy(&text), html: html.trim().to_owned() + "\n" })
    }

    /// What the templates may name.
    fn data(&self, message: &Message) -> Value {
        let mut data = json!({
            "site": { "name": self.site_name, "url": self.base.as_str() },
            "name": null,
            "at": null,
            "device": null,
            "ip_address": null,
            "links": {
                "login": self.page(&["login"]),
                "forgot": self.page(&["forgot-password"]),
                "account": self.page(&["account"]),
                "password": self.page(&["account", "password"]),
                "sessions": self.page(&["account", "sessions"]),
            },
        });
        match message {
            // Whose mailbox it is, is not known yet, so nobody is called by name.
            Message::VerifyRegistration { token, code, .. }
            | Message::VerifyEmail { token, code, .. }
            | Message::ChangeEmail { token, code, .. } => {
                data["link"] = self.page(&["verify-email", token]).into();
                data["code"] = code.as_str().into();
            }
            Message::ResetPassword { display_name, token } => {
                data["name"] = greeted(display_name);
                data["link"] = self.page(&["reset-password", token]).into();
            }
            Message::EmailChanged { display_name, new_email, undo_token, source } => {
                put_source(&mut data, source);
                data["name"] = greeted(display_name);
                data["new_email"] = one_line(new_email).into();
                data["link"] = self.page(&["undo-email-change", undo_token]).into();
            }
            Message::PasswordChanged { display_name, by_reset, by_operator, source } => {
                put_source(&mut data, source);
                data["name"] = greeted(display_name);
                data["by_reset"] = (*by_reset).into();
                data["by_operator"] = (*by_operator).into();
            }
            Message::NewDevice { display_name, source }
            | Message::DeletionCanceled { display_name, source } => {
                put_source(&mut data, source);
                data["name"] = greeted(display_name);
            }
            Message::DeletionScheduled { display_name, due_at, source } => {
                put_source(&mut data, source);
                data["name"] = greeted(display_name);
                data["due_at"] = relative_time::exact(*due_at).into();
            }
            // Whose mailbox it is, nobody knows.
            Message::AddressRemoved => {}
            Message::EmailConfirmed { display_name, restored, deletion_canceled, source } => {
                put_source(&mut data, source);
                data["name"] = greeted(display_name);
                data["restored"] = (*restored).into();
                data["deletion_canceled"] = (*deletion_canceled).into();
            }
            Message::AlreadyRegistered { display_name }
            | Message::AccountDeleted { display_name } => data["name"] = greeted(display_name),
        }
        data
    }

    /// The address of a page of ours.
    fn page(&self, path: &[&str]) -> String {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        url.into()
    }
}

fn put_source(data: &mut Value, source: &Source) {
    data["at"] = source.at.map(relative_time::exact).into();
    data["device"] = source.device.as_deref().map(one_line).into();
    data["ip_address"] = source.ip_address.as_deref().map(one_line).into();
}

/// The name to greet by. Mail programs make links of what looks like one, so a name that does is left out.
fn greeted(name: &str) -> Value {
    let name = one_line(name);
    let parts: Vec<&str> = name.split('.').collect();
    let has_domain = parts.windows(2).any(|pair| {
        pair[0].ends_with(char::is_alphanumeric)
            && pair[1].chars().take_while(|letter| letter.is_alphanumeric()).count() > 1
    });
    if has_domain || name.contains("://") || name.contains('@') || name.is_empty() {
        Value::Null
    } else {
        name.into()
    }
}

/// Without line breaks and other control characters.
fn one_line(text: &str) -> String {
    let text: String =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One empty line between paragraphs, none at the ends; the mark of a signature ("-- ") keeps its space.
fn tidy(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.trim().lines() {
        let line = if line == "-- " { line } else { line.trim_end() };
        if !line.is_empty() || lines.last().is_some_and(|last| !last.is_empty()) {
            lines.push(line);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Config;
    use crate::mail::samples::samples;

    fn renderer(site_name: &str) -> MailRenderer {
        let settings = BTreeMap::from([
            ("FRONTDESK_PUBLIC_URL".to_owned(), "http://127.0.0.1:8080".to_owned()),
            ("FRONTDESK_SITE_NAME".to_owned(), site_name.to_owned()),
        ]);
        let config = Config::from_map(&settings).unwrap();
        MailRenderer::new(&config.site_name, &config.public_url).unwrap()
    }

    #[test]
    fn every_message_has_a_subject_text_and_html_and_links_to_the_public_url_alone() {
        let renderer = renderer("The Grand & Sons");
        for message in samples("Ada {{7*7}} <b>") {
            let kind = message.kind();
            let letter = renderer.render(&message).unwrap();
            assert!(letter.subject.contains("The Grand & Sons"), "{kind}: {}", letter.subject);
            assert!(letter.text.contains("\n-- \nThe Grand & Sons\n"), "{kind}: {}", letter.text);
            assert!(letter.html.contains("The Grand &amp; Sons"), "{kind}: {}", letter.html);
            assert!(!letter.html.contains("<b>"), "{kind}: {}", letter.html);
            for part in [&letter.subject, &letter.text, &letter.html] {
                let rest = part.replace("{{7*7}}", "");
                assert!(
                    !rest.contains("{{") && !rest.contains("{%") && !rest.contains("null"),
                    "{part}"
                );
                assert!(!rest.contains("49"), "{kind}: {part}");
            }
            assert!(!letter.text.contains("\n\n\n"), "{kind}: {}", letter.text);
            for link in letter.text.split("://").skip(1).chain(letter.html.split("://").skip(1)) {
                assert!(link.starts_with("127.0.0.1:8080/"), "{kind}: {link}");
            }
            for secret in message.secrets() {
                assert!(letter.text.contains(secret) && letter.html.contains(secret), "{kind}");
                assert!(!letter.subject.contains(secret), "{kind}: {}", letter.subject);
            }
        }
    }

    #[test]
    fn what_tells_of_a_change_leads_to_the_sessions_and_opens_nothing() {
        let renderer = renderer("Frontdesk");
        for message in samples("Ada") {
            let letter = renderer.render(&message).unwrap();
            if message.secrets().is_empty() && !letter.text.contains("/login") {
                let has_none = ["account_deleted", "address_removed"].contains(&message.kind());
                for part in [&letter.text, &letter.html] {
                    assert!(has_none || part.contains("/account/sessions"), "{part}");
                }
            }
        }
    }

    #[test]
    fn nobody_is_greeted_by_a_link_or_by_a_strangers_words() {
        for (name, greeting) in [
            ("Ada", "Hello Ada,"),
            ("O'Neil-Smith, Jr. <3", "Hello O'Neil-Smith, Jr. <3,"),
            ("J.R.R. Tolkien", "Hello J.R.R. Tolkien,"),
            ("Ada\r\nBcc: eve", "Hello Ada Bcc: eve,"),
            ("Win at evil.example", "Hello,"),
            ("https://evil", "Hello,"),
            ("write to eve@evil", "Hello,"),
        ] {
            let renderer = renderer("Frontdesk");
            for message in samples(name) {
                let text = renderer.render(&message).unwrap().text;
                let unproven =
                    ["verify_registration", "verify_email", "change_email", "address_removed"];
                let is_proven = !unproven.contains(&message.kind());
                let first = if is_proven { greeting } else { "Hello," };
                assert_eq!(text.lines().next(), Some(first), "{}", message.kind());
            }
        }
    }
}
