//! docs/stable/: the names that docs/STABLE.md promises, one file for each surface. A test writes them again and compares:
//! a name that disappears is a breaking change, which a reviewer sees in the difference.

mod rust;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::fields::fields;
use crate::golden;
use crate::text::files;

fn compare(name: &str, text: &str) {
    golden::compare(name, text, "cargo test --test documents");
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands between `before` and `after`, each time.
fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(move |rest| Some(rest.split_once(after)?.0))
}

fn lines<'a>(title: &str, lines: impl IntoIterator<Item = &'a String>) -> String {
    let lines: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
    assert!(!lines.is_empty(), "{title}: nothing was found");
    format!("## {title}\n{lines}\n")
}

#[test]
fn the_promised_names_of_templates_are_what_they_were() {
    let of_templates = files("templates", &[".html", ".txt"]);
    let names: Vec<String> = of_templates
        .iter()
        .map(|path| path.strip_prefix("templates").expect("a template").display().to_string())
        .collect();
    let is_page = |name: &&String| {
        let others = ["components/", "mail/components", "dev_"];
        !others.iter().any(|other| name.starts_with(other))
    };
    let pages: Vec<String> = names.iter().filter(is_page).cloned().collect();
    let promised = read("docs/TEMPLATES.md");
    let is_promised = |name: &&str| promised.contains(&format!("`{name}`"));
    let mut blocks = BTreeSet::new();
    for name in names.iter().filter(|name| name.contains("layout")) {
        let text = read(&format!("templates/{name}"));
        let promised = between(&text, "{% block ", " %}").filter(is_promised);
        blocks.extend(promised.map(|block| format!("{name} {block}")));
    }
    let mut components = BTreeSet::new();
    for path in &of_templates {
        let text = read(&path.display().to_string());
        for definition in between(&text, "{% component ", ") -%}") {
            let name = definition.split('(').next().expect("a name");
            if is_promised(&name) {
                components.insert(format!("{definition})"));
            }
        }
    }
    let mut of_pages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files("templates/samples", &[".json"]) {
        let name = path.strip_prefix("templates/samples").expect("a sample").display().to_string();
        if name.starts_with("dev_") {
            continue;
        }
        let page = name.split('.').next().expect("a page").to_owned();
        let sample: Value = serde_json::from_str(&read(&path.display().to_string())).expect(&name);
        fields(&sample, "", of_pages.entry(page).or_default());
    }
    let of_pages: Vec<String> = of_pages
        .iter()
        .flat_map(|(page, fields)| fields.iter().map(move |field| format!("{page} {field}")))
        .collect();
    let text = [
        lines("Templates", &pages),
        lines("Blocks of layouts", &blocks),
        lines("Components", &components),
        lines("Values of pages and mails", &of_pages),
    ];
    compare("templates.txt", &text.concat());
}

/// The classes that a site may use in its own templates. They are in docs/STABLE.md, too.
const CLASSES: [&str; 20] = [
    "actions",
    "badge",
    "brand",
    "button",
    "card",
    "check",
    "facts",
    "field",
    "hint",
    "lead",
    "links",
    "notice",
    "panel",
    "plain",
    "points",
    "primary",
    "problem",
    "sign-in",
    "skip",
    "visually-hidden",
];

#[test]
fn the_promised_names_of_the_style_sheet_are_what_they_were() {
    let css = read("static/frontdesk.css");
    let tokens: BTreeSet<String> = between(&css, "--fd-", ":")
        .filter(|name| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-'))
        .map(|name| format!("--fd-{name}"))
        .collect();
    let of_css: BTreeSet<&str> = css
        .split('.')
        .skip(1)
        .filter_map(|rest| {
            rest.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '-').next()
        })
        .collect();
    let promised = read("docs/STABLE.md");
    for class in CLASSES {
        assert!(of_css.contains(class), "the style sheet has no class {class}");
        assert!(promised.contains(&format!("`{class}`")), "docs/STABLE.md does not list {class}");
    }
    let classes: Vec<String> = CLASSES.iter().map(|class| format!(".{class}")).collect();
    let text = [lines("Custom properties", &tokens), lines("Classes", &classes)];
    compare("css.txt", &text.concat());
}

#[test]
fn the_promised_names_of_commands_and_settings_are_what_they_were() {
    let settings: BTreeSet<String> = read(".env.example")
        .lines()
        .filter_map(|line| Some(line.trim_start_matches("# ").split_once('=')?.0.to_owned()))
        .filter(|name| {
            name.chars().all(|letter| letter.is_ascii_uppercase() || "_0123456789".contains(letter))
        })
        .collect();
    let mut commands = Vec::new();
    for path in files("tests/snapshots", &[".snap"]) {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let Some(command) = name.strip_prefix("help_") else { continue };
        let help = read(&path.display().to_string());
        let usage = help.lines().find_map(|line| line.strip_prefix("Usage: "));
        commands.push(usage.unwrap_or_else(|| panic!("{command} has no usage")).to_owned());
        let options = help
            .lines()
            .map(str::trim_start)
            .filter(|line| line.starts_with("-") && *line != "---");
        let flags = options.filter_map(|line| {
            let flag = line.split("  ").next()?.trim();
            (flag.contains("--") && !flag.contains("--help")).then(|| format!("    {flag}"))
        });
        commands.extend(flags);
    }
    let text = [lines("Settings", &settings), lines("Commands", &commands)];
    compare("cli.txt", &text.concat());
}

#[test]
fn the_promised_paths_and_metrics_are_what_they_were() {
    let source = read("src/site/route_problems.rs");
    let paths: BTreeSet<String> = between(&source, "const RESERVED", "];")
        .flat_map(|list| list.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let source = read("src/server/metrics/mod.rs") + &read("src/server/metrics/job_runs.rs");
    let registered = ["register(", "register_with_unit("].map(|call| between(&source, call, ","));
    // Several are registered in a loop over tuples.
    let in_loops = between(&source, "(\"purge_", ",")
        .map(|name| format!("frontdesk_purge_{}", name.trim_end_matches('"')));
    let metrics: BTreeSet<String> = registered
        .into_iter()
        .flatten()
        .filter_map(|name| {
            Some(format!("frontdesk_{}", name.trim().strip_prefix('"')?.strip_suffix('"')?))
        })
        .chain(in_loops)
        .collect();
    let text = [
        lines("Reserved paths", &paths),
        lines("Metrics, without the endings of their units", &metrics),
    ];
    compare("http.txt", &text.concat());
}

/// The features, and the files as Cargo lists them, without those that it adds. Sources and the records of checked
/// queries change with every feature: one line stands for each kind.
#[test]
fn the_features_and_files_of_the_package_are_what_they_were() {
    let listed = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--locked", "--offline", "--quiet"])
        .output()
        .expect("cargo runs");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let added = [".cargo_vcs_info.json", "Cargo.lock", "Cargo.toml", "Cargo.toml.orig"];
    let listed = String::from_utf8(listed.stdout).expect("names in UTF-8");
    let files: BTreeSet<String> = listed
        .lines()
        .filter(|name| !added.contains(name))
        .map(|name| match Path::new(name).extension().and_then(|ending| ending.to_str()) {
            Some("rs") if name.starts_with("src/") => "src/**/*.rs".to_owned(),
            Some("json") if name.starts_with(".sqlx/") => ".sqlx/*.json".to_owned(),
            _ => name.to_owned(),
        })
        .collect();
    let manifest = read("Cargo.toml");
    let features = between(&manifest, "\n[features]\n", "\n[").next().expect("features");
    let features: BTreeSet<String> = features
        .lines()
        .filter(|line| line.starts_with(|sign: char| sign.is_ascii_lowercase()))
        .filter_map(|line| Some(line.split_once(" = [")?.0.to_owned()))
        .collect();
    compare("package.txt", &[lines("Features", &features), lines("Files", &files)].concat());
}
