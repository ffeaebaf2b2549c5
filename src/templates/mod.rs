//! The templates of pages and mails. tera escapes HTML in files that end in `.html`. Only mail has `.txt` templates, for
//! subjects and plain text, which are not escaped.

mod components;
mod constants;
mod layers;
mod messages;
mod problems;
mod reload;
mod samples;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;
use tera::{Context, Kwargs, State, Tera};

use crate::folder::FileProblem;
pub use crate::folder::Folder;
use crate::language::{self, Catalog};
use crate::paths::page_path;
use constants::Constants;
pub use layers::Layers;
pub use problems::problems_in;
pub use reload::{LoadedTemplates, Templates};
pub use samples::{Sample, samples, samples_without_template};

/// The URLs of static files, by their path below `static/`.
pub type AssetUrls = Arc<BTreeMap<String, String>>;

/// Parses all templates and checks them. `assets` are for the function `asset(name="app.js")`, `catalog` has the
/// messages.
pub fn load(
    layers: &Layers,
    assets: &AssetUrls,
    catalog: &Catalog,
) -> Result<Tera, Vec<FileProblem>> {
    let own = match layers.is_empty() {
        true => None,
        false => Some(parse(&Layers::default(), assets, Catalog::own())?),
    };
    let all = parse(layers, assets, catalog)?;
    let problems = own.map_or_else(Vec::new, |own| components::problems(layers, &all, &own));
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

/// What is wrong with the templates that replace Frontdesk's.
pub fn problems(layers: &Layers) -> Vec<FileProblem> {
    if layers.is_empty() {
        return Vec::new();
    }
    let catalog = Catalog::load(&layers.messages);
    load(layers, &AssetUrls::default(), &catalog).err().unwrap_or_default()
}

fn parse(layers: &Layers, assets: &AssetUrls, catalog: &Catalog) -> Result<Tera, Vec<FileProblem>> {
    let files = layers.files().map_err(|problems| {
        let problem =
            |(name, message): &(String, String)| problems::at(layers, name, None, message);
        problems.iter().map(problem).collect::<Vec<_>>()
    })?;
    let constants = Constants { assets, catalog };
    let mut unknown = Vec::new();
    let resolve = |(name, text): (String, String)| {
        let resolved = constants.resolve(&text, name.ends_with(".html"));
        for (line, key) in resolved.unknown {
            let message = format!("Unknown message `{key}`");
            unknown.push(problems::at(layers, &name, Some(line), &message));
        }
        (name, resolved.text)
    };
    let files: Vec<_> = files.into_iter().map(resolve).collect();
    let mut tera = Tera::default();
    tera.register_function("asset", asset_function(Arc::clone(assets)));
    tera.register_function("page_path", page_path_function);
    messages::register(&mut tera);
    let loaded =
        tera.set_fallback_prefixes(layers::PREFIXES).and_then(|()| tera.add_raw_templates(files));
    unknown.extend(loaded.err().iter().flat_map(|error| problems_in(layers, error)));
    if unknown.is_empty() { Ok(tera) } else { Err(unknown) }
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
        let templates = self.0.current();
        let _language = language::enter(&templates.catalog);
        // A sample of the site has only the site's own values.
        let mut context = Context::new();
        context.insert("name", "Ada");
        context.insert("count", &1);
        context.extend(Context::from_serialize(&sample.values)?);
        let part = |name: &str| templates.tera.render(&format!("{}/{name}", sample.page), &context);
        Ok([part("subject.txt")?, part("body.txt")?, part("body.html")?])
    }

    /// Renders subject, plain text and HTML of the message `kind` in a language. `values`, which may contain sentences,
    /// is called while that language is in force.
    pub fn render<T: Serialize>(
        &self,
        kind: &str,
        language: &str,
        values: impl FnOnce() -> T,
    ) -> anyhow::Result<[String; 3]> {
        let templates = self.0.current();
        let _language = language::enter(templates.catalog_of(language));
        let context = Context::from_serialize(&values())?;
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
