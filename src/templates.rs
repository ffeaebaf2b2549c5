//! The embedded templates of pages and mails. tera escapes HTML in files that end in `.html`. Only mail has
//! `.txt` templates, for subjects and plain text, which are not escaped.

use anyhow::Context as _;
use rust_embed::RustEmbed;
use serde::Serialize;
use tera::{Context, Tera};

#[derive(RustEmbed)]
#[folder = "templates/"]
struct Files;

/// Parses and checks all templates.
pub fn load() -> anyhow::Result<Tera> {
    let mut tera = Tera::default();
    let mut files = Vec::new();
    for path in Files::iter() {
        let file = Files::get(&path).context("an embedded template is listed but missing")?;
        let text = String::from_utf8(file.data.into_owned())
            .with_context(|| format!("the template {path} is not valid UTF-8"))?;
        files.push((path.into_owned(), text));
    }
    tera.add_raw_templates(files).context("the templates are invalid")?;
    Ok(tera)
}

/// The templates below `mail/`, with a folder for each kind of message. Values are inserted as text and never
/// parsed as templates.
pub struct MailTemplates(Tera);

impl MailTemplates {
    /// Parses and checks them.
    pub fn load() -> anyhow::Result<Self> {
        load().map(Self)
    }

    /// Renders subject, plain text and HTML of the message `kind` with `data`.
    pub fn render(&self, kind: &str, data: &impl Serialize) -> anyhow::Result<[String; 3]> {
        let context = Context::from_serialize(data)?;
        let part = |name: &str| {
            self.0
                .render(&format!("mail/{kind}/{name}"), &context)
                .with_context(|| format!("the mail {kind} cannot be rendered"))
        };
        Ok([part("subject.txt")?, part("body.txt")?, part("body.html")?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_has_an_ending_that_decides_escaping() {
        let names: Vec<_> = Files::iter().collect();
        assert!(!names.is_empty());
        let is_known = |name: &str| {
            name.ends_with(".html") || (name.starts_with("mail/") && name.ends_with(".txt"))
        };
        assert!(names.iter().all(|name| is_known(name)), "{names:?}");
        assert!(load().is_ok());
    }

    #[test]
    fn html_is_escaped_plain_text_is_not_and_values_are_never_templates() {
        let mut tera = Tera::default();
        let files = [("mail/x/body.html", "{{ name }}"), ("mail/x/body.txt", "{{ name }}")];
        tera.add_raw_templates(files).unwrap();
        let context =
            Context::from_serialize(&serde_json::json!({ "name": "<b> {{7*7}}" })).unwrap();
        assert_eq!(tera.render("mail/x/body.html", &context).unwrap(), "&lt;b&gt; {{7*7}}");
        assert_eq!(tera.render("mail/x/body.txt", &context).unwrap(), "<b> {{7*7}}");
    }
}
