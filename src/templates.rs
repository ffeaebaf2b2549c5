//! The pages' templates, embedded. Every one ends in `.html`, because tera escapes by file ending.

use anyhow::Context as _;
use rust_embed::RustEmbed;
use tera::Tera;

#[derive(RustEmbed)]
#[folder = "templates/"]
struct Files;

/// Every template, parsed and checked.
pub fn load() -> anyhow::Result<Tera> {
    let mut tera = Tera::default();
    let mut files = Vec::new();
    for path in Files::iter() {
        let file = Files::get(&path).context("an embedded template is listed but not there")?;
        let text = String::from_utf8(file.data.into_owned())
            .with_context(|| format!("the template {path} is not UTF-8"))?;
        files.push((path.into_owned(), text));
    }
    tera.add_raw_templates(files).context("the templates do not fit together")?;
    Ok(tera)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_escaped_by_its_ending() {
        let names: Vec<_> = Files::iter().collect();
        assert!(!names.is_empty());
        assert!(names.iter().all(|name| name.ends_with(".html")), "{names:?}");
        assert!(load().is_ok());
    }
}
