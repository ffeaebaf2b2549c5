//! The embedded templates of pages and mails. tera escapes HTML in files that end in `.html`. Only mail has
//! `.txt` templates, for subjects and plain text, which are not escaped.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use rust_embed::RustEmbed;
use serde::Serialize;
use tera::{Context, Kwargs, State, Tera};

pub use crate::folder::Folder;
use crate::paths::page_path;

#[derive(RustEmbed)]
#[folder = "templates/"]
struct Files;

/// The URLs of static files, by their path below `static/`.
pub type AssetUrls = Arc<BTreeMap<String, String>>;

/// The prefixes of the layers, the strongest first. A plain name finds the file of the strongest layer that has it;
/// `frontdesk/layouts/base.html` is always that of Frontdesk.
const LAYERS: [&str; 2] = ["site/", "frontdesk/"];

/// Parses and checks all templates: those of Frontdesk, and those of the site, which replace them by name. `assets` are
/// for the function `asset(name="app.js")`.
pub fn load(site: &Folder, assets: &AssetUrls) -> anyhow::Result<Tera> {
    let mut tera = Tera::default();
    tera.set_fallback_prefixes(LAYERS)?;
    tera.register_function("asset", asset_function(Arc::clone(assets)));
    tera.register_function("page_path", page_path_function);
    let mut files = Vec::new();
    for path in Files::iter() {
        let file = Files::get(&path).context("an embedded template is listed but missing")?;
        files.push((format!("frontdesk/{path}"), text(&path, &file.data)?));
    }
    for (path, bytes) in site {
        if !decides_escaping(path) {
            anyhow::bail!("templates/{path} must end in .html (or .txt below mail/)");
        }
        files.push((format!("site/{path}"), text(path, bytes)?));
    }
    tera.add_raw_templates(files).context("the templates are invalid")?;
    Ok(tera)
}

fn asset_function(urls: AssetUrls) -> impl Fn(Kwargs, &State) -> tera::TeraResult<String> {
    move |arguments, _| {
        let name = arguments.must_get::<&str>("name")?;
        let url = urls.get(name).cloned();
        url.ok_or_else(|| tera::Error::message(format!("there is no file static/{name}")))
    }
}

fn page_path_function(arguments: Kwargs, _: &State) -> tera::TeraResult<String> {
    Ok(page_path(arguments.must_get::<&str>("to")?))
}

fn text(path: &str, bytes: &[u8]) -> anyhow::Result<String> {
    let text = std::str::from_utf8(bytes);
    Ok(text.with_context(|| format!("the template {path} is not valid UTF-8"))?.to_owned())
}

/// Whether the ending of a template decides whether values are escaped.
fn decides_escaping(path: &str) -> bool {
    path.ends_with(".html") || (path.starts_with("mail/") && path.ends_with(".txt"))
}

/// The templates below `mail/`, with a folder for each kind of message. Values are inserted as text and never
/// parsed as templates.
pub struct MailTemplates(Tera);

impl MailTemplates {
    /// Parses and checks them.
    pub fn load(site: &Folder, assets: &AssetUrls) -> anyhow::Result<Self> {
        load(site, assets).map(Self)
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
        assert!(names.iter().all(|name| decides_escaping(name)), "{names:?}");
        assert!(load(&Folder::new(), &AssetUrls::default()).is_ok());
    }

    /// The blocks that the template defines or fills, in order.
    fn blocks(text: &str) -> Vec<&str> {
        let starts = text.split("{% block ").skip(1);
        starts.filter_map(|rest| rest.split_whitespace().next()).collect()
    }

    #[test]
    fn blocks_of_a_site_are_filled_by_no_template_of_frontdesk() {
        let for_sites = ["head", "header", "navigation", "footer"];
        let for_pages = ["title", "description", "content", "aside"];
        let internal = ["document_title", "kind", "main"];
        let mut checked = 0;
        for path in Files::iter().filter(|path| !path.starts_with("mail/")) {
            let data = Files::get(&path).unwrap().data;
            let text = std::str::from_utf8(&data).unwrap();
            let found = blocks(text);
            if path == "layouts/base.html" {
                for block in for_sites.iter().chain(&for_pages).chain(&internal) {
                    assert_eq!(found.iter().filter(|one| one == &block).count(), 1, "{block}");
                }
                continue;
            }
            for block in found {
                checked += 1;
                assert!(for_pages.contains(&block) || internal.contains(&block), "{path}: {block}");
                // A layout only says where the content of a page is.
                let is_empty = text.contains(&format!("{{% block {block} %}}{{% endblock %}}"));
                let is_layout = path.starts_with("layouts/");
                assert!(!is_layout || is_empty || internal.contains(&block), "{path}: {block}");
            }
        }
        assert!(checked > 50, "{checked}");
    }

    #[test]
    fn the_promised_layouts_and_components_exist() {
        let tera = load(&Folder::new(), &AssetUrls::default()).unwrap();
        for layout in ["base.html", "sign_in.html", "account.html"] {
            assert!(tera.contains_template(&format!("layouts/{layout}")), "{layout}");
        }
        assert!(tera.contains_template("mail/layout.html"));
        assert!(tera.contains_template("mail/layout.txt"));
        let promised = "icon.logo icon.mark icon.device form.summary form.field form.textarea \
                        form.checkbox form.submit form.hidden ui.notice ui.time ui.sign_out \
                        mail.button mail.code mail.link";
        for component in promised.split_whitespace() {
            assert!(tera.contains_component(component), "{component}");
        }
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
