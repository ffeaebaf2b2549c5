//! Renders messages as subject, plain text and HTML. All links begin with the public URL. User input must
//! never appear in a subject, and a mail to an unverified email must not contain the display name: otherwise
//! an attacker could make the site send arbitrary text to anyone (mail spam, phishing).

use serde_json::{Map, Value, json};
use url::Url;

use super::{Message, Source};
use crate::config::{PublicUrl, SiteValues};
use crate::lifetimes;
use crate::look::Look;
use crate::paths::page_path;
use crate::role::Role;
use crate::templates::MailTemplates;
use crate::web::relative_time;

/// The values of every mail, which a site cannot replace. `count` is added at last.
const OF_EVERY_MAIL: [&str; 5] = ["site", "look", "name", "lifetimes", "links"];

/// A rendered message.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedMail {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// The same content as HTML.
    pub html: String,
}

/// Renders messages.
pub struct MailRenderer {
    templates: MailTemplates,
    site: SiteValues,
    look: Look,
    public_url: Url,
}

impl MailRenderer {
    /// A renderer for the site with these values ([`SiteValues::for_mail`]) and this public URL.
    pub fn new(
        templates: MailTemplates,
        site: SiteValues,
        look: Look,
        public_url: &PublicUrl,
    ) -> Self {
        Self { templates, site, look, public_url: public_url.origin().clone() }
    }

    /// Renders `message` in a language (`mail_outbox.language`).
    pub fn render(&self, message: &Message, language: &str) -> anyhow::Result<RenderedMail> {
        self.render_combined(message, language, 1)
    }

    /// Renders `message` as the latest of `count` notices, the others of which are not sent.
    pub fn render_combined(
        &self,
        message: &Message,
        language: &str,
        count: i32,
    ) -> anyhow::Result<RenderedMail> {
        let values = || self.values(message, count);
        let [subject, text, html] = self.templates.render(message.kind(), language, values)?;
        Ok(RenderedMail {
            // A message of the catalog may have several lines.
            subject: one_line(&subject),
            text: normalize_lines(&text),
            html: html.trim().to_owned() + "\n",
        })
    }

    /// The values of the templates, for `count` notices.
    pub fn values(&self, message: &Message, count: i32) -> Value {
        let mut data = self.data(message);
        data["count"] = count.into();
        data
    }

    fn data(&self, message: &Message) -> Value {
        let mut data = json!({
            "site": self.site,
            "look": self.look,
            "name": null,
            "at": null,
            "device": null,
            "ip_address": null,
            "lifetimes": lifetimes::for_templates(),
            "links": self.links(),
        });
        match message {
            // The email may belong to a stranger, so the mail contains no text that someone chose.
            Message::AddressRemoved | Message::AlreadyRegistered { .. } => {}
            Message::VerifyRegistration { token, code, .. }
            | Message::VerifyEmail { token, code, .. }
            | Message::ChangeEmail { token, code, .. } => {
                data["link"] = self.page_url(&format!("/verify-email/{token}")).into();
                data["code"] = code.as_str().into();
            }
            Message::ResetPassword { display_name, token }
            | Message::NewPasswordRequired { display_name, token } => {
                data["name"] = greeting_name(display_name);
                data["link"] = self.page_url(&format!("/reset-password/{token}")).into();
            }
            // Only a link that was opened proves the email, so the mail contains no name.
            Message::AccountCreated { token } => {
                data["link"] = self.page_url(&format!("/reset-password/{token}")).into();
            }
            Message::Invitation { token } => {
                data["link"] = self.page_url(&format!("/invitation/{token}")).into();
            }
            Message::EmailChanged { display_name, new_email, undo_token, source } => {
                insert_person_and_source(&mut data, display_name, source);
                data["new_email"] = one_line(new_email).into();
                data["link"] = self.page_url(&format!("/undo-email-change/{undo_token}")).into();
            }
            Message::PasswordChanged { display_name, by_reset, by_operator, source } => {
                insert_person_and_source(&mut data, display_name, source);
                data["by_reset"] = (*by_reset).into();
                data["by_operator"] = (*by_operator).into();
            }
            Message::FailedSignIns { display_name, in_session, source } => {
                insert_person_and_source(&mut data, display_name, source);
                data["in_session"] = (*in_session).into();
            }
            Message::SignInAfterFailures { display_name, failures, source } => {
                insert_person_and_source(&mut data, display_name, source);
                data["failures"] = (*failures).into();
            }
            Message::NewDevice { display_name, source }
            | Message::DeletionCanceled { display_name, source }
            | Message::AccountDisabled { display_name, source }
            | Message::AccountEnabled { display_name, source }
            | Message::DataExported { display_name, source } => {
                insert_person_and_source(&mut data, display_name, source);
            }
            Message::RoleChanged { display_name, role, source } => {
                insert_person_and_source(&mut data, display_name, source);
                data["is_admin"] = (*role == Role::Admin).into();
            }
            Message::DeletionScheduled { display_name, due_at, source } => {
                insert_person_and_source(&mut data, display_name, source);
                data["due_at"] = relative_time::exact(*due_at).into();
            }
            Message::EmailConfirmed { display_name, restored, deletion_canceled, source } => {
                insert_person_and_source(&mut data, display_name, source);
                data["restored"] = (*restored).into();
                data["deletion_canceled"] = (*deletion_canceled).into();
            }
            Message::AccountDeleted { display_name } => data["name"] = greeting_name(display_name),
            Message::OfSite { display_name, data: own, .. } => {
                insert_of_site(&mut data, display_name, own)
            }
        }
        data
    }

    /// The links that any mail may have.
    fn links(&self) -> Value {
        json!({
            "login": self.page_url("/login"),
            "forgot": self.page_url("/forgot-password"),
            "account": self.page_url("/account"),
            "password": self.page_url("/account/password"),
            "sessions": self.page_url("/account/sessions"),
            "activity": self.page_url("/account/activity"),
        })
    }

    /// The URL of the page at `path`.
    fn page_url(&self, path: &str) -> String {
        let mut url = self.public_url.clone();
        url.set_path(&page_path(path));
        url.into()
    }
}

/// The values that a site passes, without those of every mail.
fn insert_of_site(data: &mut Value, display_name: &str, own: &Map<String, Value>) {
    data["name"] = greeting_name(display_name);
    for (name, value) in own {
        if !OF_EVERY_MAIL.contains(&name.as_str()) {
            data[name] = value.clone();
        }
    }
}

fn insert_person_and_source(data: &mut Value, display_name: &str, source: &Source) {
    insert_source(data, source);
    data["name"] = greeting_name(display_name);
}

fn insert_source(data: &mut Value, source: &Source) {
    data["at"] = source.at.map(relative_time::exact).into();
    data["device"] = source.device.as_deref().map(one_line).into();
    data["ip_address"] = source.ip_address.as_deref().map(one_line).into();
}

/// The display name for the greeting. `null` if it looks like a URL, because mail clients turn such text into
/// a link.
fn greeting_name(name: &str) -> Value {
    let name = one_line(name);
    let parts: Vec<&str> = name.split('.').collect();
    let has_domain = parts.windows(2).any(|pair| {
        pair[0].ends_with(char::is_alphanumeric)
            && pair[1].chars().take_while(|character| character.is_alphanumeric()).count() > 1
    });
    if has_domain || name.contains("://") || name.contains('@') || name.is_empty() {
        Value::Null
    } else {
        name.into()
    }
}

/// The text without line breaks and other control characters.
fn one_line(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Collapses empty lines between paragraphs into one, and removes them at the start and end. The signature
/// separator ("-- ") keeps its space.
fn normalize_lines(text: &str) -> String {
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
    use std::sync::Arc;

    use tera::Context;

    use super::*;
    use crate::config::Config;
    use crate::language::ENGLISH;
    use crate::mail::samples::samples;
    use crate::templates::{AssetUrls, Layers, Templates};

    fn renderer(site_name: &str) -> MailRenderer {
        let settings = BTreeMap::from([
            ("FRONTDESK_PUBLIC_URL".to_owned(), "http://127.0.0.1:8080".to_owned()),
            ("FRONTDESK_SITE_NAME".to_owned(), site_name.to_owned()),
        ]);
        let config = Config::from_map(&settings).unwrap();
        let templates = Templates::load(Layers::default(), &AssetUrls::default(), Context::new());
        let templates = MailTemplates::new(Arc::new(templates.unwrap()));
        MailRenderer::new(templates, config.site().for_mail(), Look::default(), &config.public_url)
    }

    #[test]
    fn every_message_has_a_subject_text_and_html_and_links_only_to_the_public_url() {
        let renderer = renderer("The Grand & Sons");
        for message in samples("Ada {{1234567*7}} <b>") {
            let kind = message.kind();
            let mail = renderer.render(&message, ENGLISH).unwrap();
            assert!(mail.subject.contains("The Grand & Sons"), "{kind}: {}", mail.subject);
            assert!(mail.text.contains("\n-- \nThe Grand & Sons\n"), "{kind}: {}", mail.text);
            assert!(mail.html.contains("The Grand &amp; Sons"), "{kind}: {}", mail.html);
            assert!(!mail.html.contains("<b>"), "{kind}: {}", mail.html);
            for part in [&mail.subject, &mail.text, &mail.html] {
                let rest = part.replace("{{1234567*7}}", "");
                assert!(
                    !rest.contains("{{") && !rest.contains("{%") && !rest.contains("null"),
                    "{part}"
                );
                assert!(!rest.contains("8641969"), "{kind}: {part}");
            }
            assert!(!mail.text.contains("\n\n\n"), "{kind}: {}", mail.text);
            for link in mail.text.split("://").skip(1).chain(mail.html.split("://").skip(1)) {
                assert!(link.starts_with("127.0.0.1:8080/"), "{kind}: {link}");
            }
            for secret in message.secrets() {
                assert!(mail.text.contains(secret) && mail.html.contains(secret), "{kind}");
                assert!(!mail.subject.contains(secret), "{kind}: {}", mail.subject);
            }
        }
    }

    #[test]
    fn security_notices_link_to_the_sessions_and_contain_no_secret() {
        let renderer = renderer("Frontdesk");
        for message in samples("Ada") {
            let mail = renderer.render(&message, ENGLISH).unwrap();
            if message.secrets().is_empty() && !mail.text.contains("/login") {
                let has_none = ["account_deleted", "account_disabled", "address_removed"];
                let has_none = has_none.contains(&message.kind());
                for part in [&mail.text, &mail.html] {
                    assert!(has_none || part.contains("/account/sessions"), "{part}");
                }
            }
        }
    }

    #[test]
    fn the_greeting_contains_no_link_and_no_unverified_name() {
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
                let text = renderer.render(&message, ENGLISH).unwrap().text;
                let unverified = [
                    "verify_registration",
                    "already_registered",
                    "verify_email",
                    "change_email",
                    "address_removed",
                    "account_created",
                    "invitation",
                ];
                let is_verified = !unverified.contains(&message.kind());
                let first = if is_verified { greeting } else { "Hello," };
                assert_eq!(text.lines().next(), Some(first), "{}", message.kind());
                let text = renderer.render(&message.without_name(), ENGLISH).unwrap().text;
                assert_eq!(text.lines().next(), Some("Hello,"), "{}", message.kind());
            }
        }
    }

    #[test]
    fn a_combined_mail_says_how_many_notices_it_stands_for() {
        let renderer = renderer("Frontdesk");
        for message in samples("Ada") {
            let kind = message.kind();
            let one = renderer.render(&message, ENGLISH).unwrap();
            assert_eq!(
                renderer.render_combined(&message, ENGLISH, 1).unwrap().text,
                one.text,
                "{kind}"
            );
            let many = renderer.render_combined(&message, ENGLISH, 17).unwrap();
            for part in [&many.text, &many.html] {
                assert!(part.contains("17 "), "{kind}: {part}");
                assert!(part.contains("/account/activity"), "{kind}: {part}");
            }
        }
        let device = samples("Ada").into_iter().find(|message| message.kind() == "new_device");
        let mail = renderer.render_combined(&device.unwrap(), ENGLISH, 3).unwrap();
        assert_eq!(mail.subject, "3 new sign-ins to your account at Frontdesk");
    }
}
