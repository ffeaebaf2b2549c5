//! The templates of pages and mails. tera escapes HTML in files that end in `.html`. Only mail has `.txt` templates, for
//! subjects and plain text, which are not escaped.

mod components;
mod constants;
mod layers;
mod problems;
mod reload;
mod samples;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;
use tera::{Context, Kwargs, State, Tera};

pub use crate::folder::Folder;
use crate::paths::page_path;
pub use layers::Layers;
pub use problems::TemplateProblem;
pub use reload::{LoadedTemplates, Templates};
pub use samples::{Sample, samples};

/// The URLs of static files, by their path below `static/`.
pub type AssetUrls = Arc<BTreeMap<String, String>>;

/// Parses all templates and checks them. `assets` are for the function `asset(name="app.js")`.
pub fn load(layers: &Layers, assets: &AssetUrls) -> Result<Tera, Vec<TemplateProblem>> {
    let own = match layers.is_empty() {
        true => None,
        false => Some(parse(&Layers::default(), assets)?),
    };
    let all = parse(layers, assets)?;
    let problems = own.map_or_else(Vec::new, |own| components::problems(layers, &all, &own));
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

/// What is wrong with the templates that replace Frontdesk's.
pub fn problems(layers: &Layers) -> Vec<TemplateProblem> {
    if layers.is_empty() {
        return Vec::new();
    }
    load(layers, &AssetUrls::default()).err().unwrap_or_default()
}

fn parse(layers: &Layers, assets: &AssetUrls) -> Result<Tera, Vec<TemplateProblem>> {
    let files = layers.files().map_err(|problems| {
        let problem =
            |(name, message): &(String, String)| TemplateProblem::at(layers, name, None, message);
        problems.iter().map(problem).collect::<Vec<_>>()
    })?;
    let files = files.into_iter().map(|(name, text)| (name, constants::resolve(&text, assets)));
    let mut tera = Tera::default();
    tera.register_function("asset", asset_function(Arc::clone(assets)));
    tera.register_function("page_path", page_path_function);
    let loaded =
        tera.set_fallback_prefixes(layers::PREFIXES).and_then(|()| tera.add_raw_templates(files));
    loaded.map_err(|error| TemplateProblem::of(layers, &error))?;
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

/// The templates below `mail/`, with a folder for each kind of message. Values are inserted as text and never
/// parsed as templates.
#[derive(Clone)]
pub struct MailTemplates(Arc<Templates>);

impl MailTemplates {
    /// Those of `templates`.
    pub fn new(templates: Arc<Templates>) -> Self {
        Self(templates)
    }

    /// Subject, plain text and HTML of a sample.
    pub fn render_sample(&self, sample: &Sample) -> tera::TeraResult<[String; 3]> {
        let context = Context::from_serialize(&sample.values)?;
        let templates = self.0.current();
        let part = |name: &str| templates.tera.render(&format!("{}/{name}", sample.page), &context);
        Ok([part("subject.txt")?, part("body.txt")?, part("body.html")?])
    }

    /// Renders subject, plain text and HTML of the message `kind` with `data`.
    pub fn render(&self, kind: &str, data: &impl Serialize) -> anyhow::Result<[String; 3]> {
        let context = Context::from_serialize(data)?;
        let templates = self.0.current();
        let part = |name: &str| {
            templates
                .tera
                .render(&format!("mail/{kind}/{name}"), &context)
                .with_context(|| format!("the mail {kind} cannot be rendered"))
        };
        Ok([part("subject.txt")?, part("body.txt")?, part("body.html")?])
    }
}

#[cfg(test)]
mod tests;
