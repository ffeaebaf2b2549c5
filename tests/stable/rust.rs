//! docs/stable/rust.txt: what the documentation of the crate shows, as rustdoc writes it. A new version of Rust may write
//! some of it differently.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::{between, compare, read};

/// The largest number of items at the root, so that a developer finds their way.
const MAX_AT_ROOT: usize = 44;

/// A page of the documentation.
struct Item {
    /// `events::Registered`.
    name: String,
    html: String,
}

/// The folder of the documentation, which is built first, as `.ci/run` does.
fn folder() -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    command.args(["doc", "--locked", "--quiet", "--features", "testing", "--no-deps"]);
    // What cargo tells a test about its package. Build scripts that read it would run again, here and in the next build.
    for (name, _) in std::env::vars().filter(|(name, _)| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|start| name.starts_with(start))
    }) {
        command.env_remove(name);
    }
    let output = command.env("RUSTDOCFLAGS", "-D warnings").output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    target.join("doc/frontdesk")
}

static FOLDER: LazyLock<PathBuf> = LazyLock::new(folder);

fn page(path: &str) -> String {
    read(&FOLDER.join(path).display().to_string())
}

/// All items, in the order of their names.
fn items() -> Vec<Item> {
    let list = page("all.html");
    let list = list.split_once(" id=\"main-content\"").expect("a list").1;
    let links = between(list, "<li><a href=\"", "</a>");
    let mut items: Vec<Item> = links
        .map(|link| {
            let (path, name) = link.split_once("\">").expect("a link");
            Item { name: name.to_owned(), html: page(path) }
        })
        .collect();
    items.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(items.len() > 40, "only {} items were found", items.len());
    items
}

/// What `html` shows, on one line.
fn text(html: &str) -> String {
    let mut text: String =
        html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect();
    for (entity, character) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, character);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Item {
    /// The part of the page below this heading.
    fn section(&self, id: &str) -> &str {
        let heading = format!("<h2 id=\"{id}\"");
        let section = self.html.split_once(&heading).map_or("", |(_, section)| section);
        section.split("<h2 id=").next().unwrap_or_default()
    }

    /// The declaration and, indented, the methods and implemented traits.
    fn lines(&self) -> String {
        let declaration = between(&self.html, "<pre class=\"rust item-decl\">", "</pre>");
        let declaration = declaration.map(|it| it.replace("</div>", " </div>")).next();
        let declaration = text(&declaration.unwrap_or_else(|| panic!("{}", self.name)));
        let methods = between(self.section("implementations"), " class=\"code-header\">", "</h");
        let traits = self.section("trait-implementations");
        let traits = between(traits, "<h3 class=\"code-header\">", "</h3>");
        let lines = methods.chain(traits).map(|it| text(&it.replace("<div", " <div")));
        let lines = lines.map(|line| format!("    {line}\n")).collect::<String>();
        format!("## {}\n{declaration}\n{lines}\n", self.name)
    }

    /// The names of its methods, fields and variants, and its own.
    fn names(&self) -> BTreeSet<&str> {
        const SECTIONS: [&str; 5] = [
            "fields",
            "variants",
            "implementations",
            "required-associated-consts",
            "required-methods",
        ];
        const KINDS: [&str; 5] =
            ["method", "tymethod", "structfield", "variant", "associatedconstant"];
        let links = SECTIONS.iter().flat_map(|id| between(self.section(id), "<a href=\"#", "\""));
        let members = links.filter_map(|link| {
            let (kind, name) = link.split_once('.')?;
            KINDS.contains(&kind).then(|| name.split('.').next())?
        });
        members.chain(self.name.rsplit("::").next()).collect()
    }

    fn has_example(&self) -> bool {
        let description = between(&self.html, "<details class=\"toggle top-doc\"", "</details>");
        description.take(1).any(|text| text.contains("rust-example-rendered"))
    }
}

/// The names that a module passes on from elsewhere.
fn passed_on(module: &str) -> String {
    let index = page(&format!("{module}index.html"));
    let names = between(&index, "<dt id=\"reexport.", "</dt>").map(|line| {
        let (_, code) = line.split_once('>').expect("a line of code");
        format!("{}\n", text(code))
    });
    names.collect()
}

#[test]
fn the_promised_rust_api_is_what_it_was() {
    let modules = ["", "events/", "live/", "testing/"];
    let passed_on = modules.map(|module| format!("## frontdesk/{module}\n{}\n", passed_on(module)));
    let items: String = items().iter().map(Item::lines).collect();
    compare("rust.txt", &(passed_on.concat() + &items));
}

#[test]
fn every_name_of_the_rust_api_is_used_with_its_type_in_stable_api_rs() {
    let source = read("tests/stable_api.rs");
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let words: BTreeSet<&str> = source.split(|letter: char| !is_word(letter)).collect();
    let items = items();
    let unused: Vec<String> = items
        .iter()
        .flat_map(|item| item.names().into_iter().map(|name| (item.name.as_str(), name)))
        .filter(|(_, name)| !words.contains(name))
        .map(|(item, name)| format!("{item}: {name}"))
        .collect();
    assert!(unused.is_empty(), "Use them in tests/stable_api.rs: {unused:?}");
    // Otherwise the names of members are not found.
    let website = items.iter().find(|item| item.name == "Website").expect("Website");
    assert!(website.names().contains("on_registered"), "{:?}", website.names());
    let limits = items.iter().find(|item| item.name == "Limits").expect("Limits");
    assert!(limits.names().contains("deadline"), "{:?}", limits.names());
}

#[test]
fn every_item_of_the_rust_api_has_an_example_and_they_are_few() {
    let without: Vec<String> =
        items().into_iter().filter(|item| !item.has_example()).map(|item| item.name).collect();
    assert!(without.is_empty(), "These items have no example: {without:?}");
    let index = page("index.html");
    let at_root = index.matches("<dt").count();
    assert!((30..=MAX_AT_ROOT).contains(&at_root), "{at_root} items are at the root");
}
