//! What is wrong with the templates of a site, with file and line.

use std::fmt;

use tera::ErrorKind;

use super::layers::Layers;
use crate::language::{Catalog, MessageProblem};

/// Something wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateProblem {
    /// The file, as an operator or developer knows it.
    pub file: String,
    /// Its line, from 1.
    pub line: Option<usize>,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl fmt::Display for TemplateProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}: {}", self.file, self.message),
            None => write!(formatter, "{}: {}", self.file, self.message),
        }
    }
}

impl From<MessageProblem> for TemplateProblem {
    fn from(problem: MessageProblem) -> Self {
        let MessageProblem { file, line, message } = problem;
        Self { file, line, message }
    }
}

impl TemplateProblem {
    /// The problem at `line` of the template with this name in tera.
    pub(super) fn at(layers: &Layers, name: &str, line: Option<usize>, message: &str) -> Self {
        let mut message = message.to_owned();
        if !message.ends_with(['.', '?']) {
            message.push('.');
        }
        message.push_str(&hint(layers, name, &message));
        Self { file: layers.file(name), line, message }
    }

    /// The problems that tera found when it parsed or rendered templates.
    pub fn of(layers: &Layers, error: &tera::Error) -> Vec<Self> {
        match error.kind() {
            ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => {
                let line = Some(report.span().start_line);
                vec![Self::at(layers, report.filename(), line, report.message())]
            }
            ErrorKind::MissingParent { current, parent } => {
                let message = format!("extends {parent}, which does not exist");
                vec![Self::at(layers, current, layers.line_of(current, "extends"), &message)]
            }
            ErrorKind::CircularExtend { tpl, inheritance_chain } => {
                // Frontdesk's templates in the chain only extend the one that extends itself.
                let own = inheritance_chain.iter().find(|name| layers.is_replacement(name));
                let name = own.unwrap_or(tpl);
                let line = layers.line_of(name, "extends");
                let original = "extends itself. The original is named frontdesk/…";
                vec![Self::at(layers, name, line, original)]
            }
            ErrorKind::CircularInclude { tpl, .. } => {
                vec![Self::at(layers, tpl, layers.line_of(tpl, "include"), "includes itself")]
            }
            _ => of_reports(layers, &error.to_string()),
        }
    }
}

/// tera joins the reports of several problems into one text. Each is `error: message`, and then
/// `--> name:line:column`.
fn of_reports(layers: &Layers, text: &str) -> Vec<TemplateProblem> {
    let reports = text.split("error: ").skip(1).filter_map(|report| {
        let (message, rest) = report.split_once('\n')?;
        let place = rest.trim_start().strip_prefix("--> ")?.lines().next()?;
        let mut parts = place.rsplitn(3, ':').skip(1);
        let line = parts.next()?.parse().ok()?;
        Some(TemplateProblem::at(layers, parts.next()?, Some(line), message))
    });
    let found: Vec<_> = reports.collect();
    if !found.is_empty() {
        return found;
    }
    // "Component `x` is defined in both `a` and `b`".
    let names = text.split('`').skip(1).step_by(2);
    let name = names.filter(|name| layers.text(name).is_some()).last().unwrap_or_default();
    vec![TemplateProblem::at(layers, name, None, text)]
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
