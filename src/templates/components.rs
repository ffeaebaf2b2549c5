//! A component of a site replaces Frontdesk's everywhere, so it has to take the same parameters.

use tera::{ComponentArg, ComponentInfo, Tera};

use super::layers::Layers;
use super::problems::at;
use crate::folder::FileProblem;

/// The components in `all` that replace one of Frontdesk's (`own`) and take other parameters.
pub(super) fn problems(layers: &Layers, all: &Tera, own: &Tera) -> Vec<FileProblem> {
    let problem = |name: &str| {
        let expected = own.get_component_definition(name)?;
        let found = all.get_component_definition(name)?;
        let difference = difference(&expected, &found)?;
        let (file, line) = layers.definition(name)?;
        let message = format!(
            "The component {name} {difference}. It replaces Frontdesk's, which is {}",
            signature(&expected)
        );
        Some(at(layers, &file, Some(line), &message))
    };
    let mut found: Vec<_> = own.get_component_names().filter_map(problem).collect();
    found.sort();
    found
}

/// What callers of `expected` would notice.
fn difference(expected: &ComponentInfo, found: &ComponentInfo) -> Option<String> {
    let own = |name: &str| found.args().iter().find(|one| one.name() == name);
    for parameter in expected.args().iter().filter(|one| !one.is_implicit()) {
        let name = parameter.name();
        match own(name) {
            None if found.rest_param().is_some() => {}
            None => return Some(format!("lacks the parameter {name}")),
            Some(own) if own.is_required() && !parameter.is_required() => {
                return Some(format!("requires {name}, which callers may leave out"));
            }
            Some(own) if own.arg_type().is_some() && own.arg_type() != parameter.arg_type() => {
                return Some(format!("takes another type for {name}"));
            }
            Some(_) => {}
        }
    }
    let is_known = |name: &str| expected.args().iter().any(|one| one.name() == name);
    let unknown =
        |one: &&ComponentArg| one.is_required() && !one.is_implicit() && !is_known(one.name());
    let unknown = found.args().iter().find(unknown)?;
    Some(format!("requires the parameter {}, which callers do not know", unknown.name()))
}

/// As it is written: `form.submit(label: string, kind: string = "primary")`.
fn signature(component: &ComponentInfo) -> String {
    let parameter = |one: &ComponentArg| {
        let kind = one.arg_type().map_or_else(String::new, |kind| format!(": {kind}"));
        let default = match one.default() {
            Some(value) if value.is_string() => format!(" = \"{value}\""),
            Some(value) => format!(" = {value}"),
            None => String::new(),
        };
        let mark = if one.is_implicit() { "@" } else { "" };
        format!("{mark}{}{kind}{default}", one.name())
    };
    let mut parameters: Vec<&ComponentArg> = component.args().iter().collect();
    parameters.sort_by_key(|one| (!one.is_implicit(), !one.is_required()));
    let parameters: Vec<String> = parameters.into_iter().map(parameter).collect();
    format!("{}({})", component.name(), parameters.join(", "))
}
