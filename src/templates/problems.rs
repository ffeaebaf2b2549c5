//! What is wrong with the templates of a site, with file and line.

use tera::ErrorKind;

use super::layers::Layers;
use crate::folder::FileProblem;
use crate::language::Catalog;

/// The problem at `line` of the template with this name in tera.
pub(super) fn at(layers: &Layers, name: &str, line: Option<usize>, message: &str) -> FileProblem {
    let mut message = message.to_owned();
    if !message.ends_with(['.', '?']) {
        message.push('.');
    }
    message.push_str(&hint(layers, name, &message));
    FileProblem { file: layers.file(name), line, message }
}

/// The problems that tera found when it parsed or rendered templates.
pub fn problems_in(layers: &Layers, error: &tera::Error) -> Vec<FileProblem> {
    match error.kind() {
        ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => {
            let line = Some(report.span().start_line);
            vec![at(layers, report.filename(), line, report.message())]
        }
        ErrorKind::MissingParent { current, parent } => {
            let message = format!("extends {parent}, which does not exist");
            vec![at(layers, current, layers.line_of(current, "extends"), &message)]
        }
        ErrorKind::CircularExtend { tpl, inheritance_chain } => {
            // Frontdesk's templates in the chain only extend the one that extends itself.
            let own = inheritance_chain.iter().find(|name| layers.is_replacement(name));
            let name = own.unwrap_or(tpl);
            let line = layers.line_of(name, "extends");
            let original = "extends itself. The original is named frontdesk/…";
            vec![at(layers, name, line, original)]
        }
        ErrorKind::CircularInclude { tpl, .. } => {
            vec![at(layers, tpl, layers.line_of(tpl, "include"), "includes itself")]
        }
        _ => of_reports(layers, &error.to_string()),
    }
}

/// tera joins the reports of several problems into one text. Each is `error: message`, and then
/// `--> name:line:column`.
fn of_reports(layers: &Layers, text: &str) -> Vec<FileProblem> {
    let reports = text.split("error: ").skip(1).filter_map(|report| {
        let (message, rest) = report.split_once('\n')?;
        let place = rest.trim_start().strip_prefix("--> ")?.lines().next()?;
        let mut parts = place.rsplitn(3, ':').skip(1);
        let line = parts.next()?.parse().ok()?;
        Some(at(layers, parts.next()?, Some(line), message))
    });
    let found: Vec<_> = reports.collect();
    if !found.is_empty() {
        return found;
    }
    // "Component `x` is defined in both `a` and `b`".
    let names = text.split('`').skip(1).step_by(2);
    let name = names.filter(|name| layers.text(name).is_some()).last().unwrap_or_default();
    vec![at(layers, name, None, text)]
}

/// What would be right, where that can be said.
fn hint(layers: &Layers, name: &str, message: &str) -> String {
    let quoted = message.split('`').nth(1).unwrap_or_default();
    if message.starts_with("Block ") {
        let mut blocks = layers.blocks_above(name);
        blocks.sort_unstable();
        return format!(" Its parents have the blocks {}.", blocks.join(", "));
    }
    if message.starts_with("Unknown component") {
        return nearest(quoted, layers.components().into_iter());
    }
    if message.starts_with("Unknown function") {
        let functions = ["page_path", "asset", "t", "t_html", "super", "range", "throw"];
        return nearest(quoted, functions.into_iter().map(str::to_owned));
    }
    if message.starts_with("Unknown message") {
        let keys = Catalog::load(&layers.messages);
        return nearest(quoted, keys.keys().map(str::to_owned));
    }
    if message.starts_with("extends ") || message.starts_with("Unknown template") {
        let wanted = message.split([' ', ',', '`']).nth(1).unwrap_or_default();
        let wanted = if quoted.is_empty() { wanted } else { quoted };
        return nearest(wanted, layers.names().into_iter());
    }
    String::new()
}

/// The most similar of `names`.
fn nearest(wanted: &str, names: impl Iterator<Item = String>) -> String {
    let similar = names
        .map(|name| (strsim::jaro_winkler(wanted, &name), name))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    similar.map_or_else(String::new, |(_, name)| format!(" Did you mean {name}?"))
}
