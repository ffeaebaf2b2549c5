//! `template`: checks the templates, lists them, and copies Frontdesk's to be changed.

use std::fs;
use std::path::{Path, PathBuf};

use similar::TextDiff;

use super::arguments::Template;
use super::exit::ExitStatus;
use super::out;
use crate::config::Config;
use crate::folder;
use crate::server::PageData;
use crate::site::Site;
use crate::templates::{Layers, samples};
use crate::web::template_check;

/// The originals of copies, below the folder of templates. It is never loaded, because its name begins with a dot.
const ORIGINALS: &str = ".originals";

pub(super) fn run(config: &Config, site: &Site, action: Template) -> anyhow::Result<ExitStatus> {
    match action {
        Template::Check => check(config, site),
        Template::List { json } => list(site, json),
        Template::Copy { page } => copy(config, site, &page),
        Template::Diff { page } => diff(config, site, page.as_deref()),
    }
}

/// What is wrong with the templates: file, line and what is expected.
pub(super) fn problems(config: &Config, site: &Site) -> anyhow::Result<Vec<String>> {
    let data = PageData::new(config, site)?;
    let problems = template_check::problems(&site.templates(), &data.templates, &data.mails);
    Ok(problems.iter().map(ToString::to_string).collect())
}

fn check(config: &Config, site: &Site) -> anyhow::Result<ExitStatus> {
    let problems = problems(config, site)?;
    if problems.is_empty() {
        out::line(&format!("OK: {} samples.", samples(&site.templates()).len()));
        return Ok(ExitStatus::Done);
    }
    problems.iter().for_each(|problem| out::line(problem));
    Ok(ExitStatus::Problems)
}

fn list(site: &Site, json: bool) -> anyhow::Result<ExitStatus> {
    let layers = site.templates();
    let samples = samples(&layers);
    let rows = layers.names().into_iter().map(|name| {
        let is_of_page = |page: &str| page == name || name.starts_with(&format!("{page}/"));
        let states = samples.iter().filter(|sample| is_of_page(&sample.page));
        let states: Vec<&str> = states.map(|sample| sample.state.as_str()).collect();
        let layer = layers.layer(&name);
        let is_overridden = layer != "frontdesk" && Layers::is_own(&name);
        (name, layer, is_overridden, states)
    });
    if json {
        let rows = rows.map(|(name, layer, is_overridden, states)| {
            serde_json::json!({
                "name": name,
                "layer": layer,
                "overridden": is_overridden,
                "states": states,
            })
        });
        out::json(&rows.collect::<Vec<_>>())?;
        return Ok(ExitStatus::Done);
    }
    let rows = rows.map(|(name, layer, is_overridden, states)| {
        let overridden = if is_overridden { "yes" } else { "no" };
        [name, layer.to_owned(), overridden.to_owned(), states.join(", ")]
    });
    out::table(["TEMPLATE", "LAYER", "OVERRIDDEN", "STATES"], &rows.collect::<Vec<_>>());
    Ok(ExitStatus::Done)
}

/// The folder for copies: that of the operator, or that of the site's source code.
fn folder(config: &Config, site: &Site) -> Option<PathBuf> {
    let source = || Some(PathBuf::from("templates")).filter(|_| site.is_website());
    config.templates_dir.clone().or_else(source)
}

fn copy(config: &Config, site: &Site, page: &str) -> anyhow::Result<ExitStatus> {
    let Some(original) = Layers::original(page) else {
        out::problem(&format!("Frontdesk has no template {page}. `template list` lists them."));
        return Ok(ExitStatus::NothingFound);
    };
    let Some(folder) = folder(config, site) else {
        out::problem("Set FRONTDESK_TEMPLATES_DIR to the folder for the copy.");
        return Ok(ExitStatus::InvalidUsage);
    };
    let file = folder.join(page);
    if file.exists() {
        out::problem(&format!("{} exists already; it was not changed.", file.display()));
        return Ok(ExitStatus::InvalidUsage);
    }
    // The original first: a copy without its original could never be compared.
    for path in [folder.join(ORIGINALS).join(page), file.clone()] {
        write(&path, &original)
            .map_err(|error| anyhow::anyhow!("{} cannot be written: {error}", path.display()))?;
    }
    out::line(&format!("Copied to {}. It replaces Frontdesk's.", file.display()));
    Ok(ExitStatus::Done)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

/// The copies whose original has changed since: the name, the original then, and the original now.
pub(super) fn outdated(
    config: &Config,
    site: &Site,
) -> Result<Vec<(String, String, String)>, Vec<String>> {
    let originals = folder(config, site).map(|folder| folder.join(ORIGINALS));
    let Some(originals) = originals.filter(|folder| folder.is_dir()) else { return Ok(Vec::new()) };
    let files = folder::read(&originals)?.into_iter();
    let changed = files.filter_map(|(name, then)| {
        let then = String::from_utf8_lossy(&then).into_owned();
        let now = Layers::original(&name).unwrap_or_default();
        (then != now).then_some((name, then, now))
    });
    Ok(changed.collect())
}

fn diff(config: &Config, site: &Site, page: Option<&str>) -> anyhow::Result<ExitStatus> {
    let outdated = outdated(config, site).map_err(|all| anyhow::anyhow!("{}", all.join("\n")))?;
    if let (Some(page), Some(folder)) = (page, folder(config, site))
        && !folder.join(ORIGINALS).join(page).is_file()
    {
        out::problem(&format!("There is no copy of {page} that `template copy` made."));
        return Ok(ExitStatus::NothingFound);
    }
    for (name, then, now) in outdated.iter().filter(|(name, ..)| page.is_none_or(|one| one == name))
    {
        let text = TextDiff::from_lines(then, now);
        let (before, after) = (format!("{ORIGINALS}/{name}"), format!("frontdesk/{name}"));
        out::line(text.unified_diff().header(&before, &after).to_string().trim_end());
    }
    Ok(ExitStatus::Done)
}
