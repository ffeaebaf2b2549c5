//! The layers of templates: those of an operator's folder, those of a site's crate, and Frontdesk's. A plain name finds
//! the file of the strongest layer that has it; `frontdesk/layouts/base.html` is always that of Frontdesk.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use rust_embed::RustEmbed;

use crate::folder::{self, Folder};

/// The prefixes of the weaker layers, the stronger one first. The operator's templates have plain names.
pub(super) const PREFIXES: [&str; 2] = ["site/", "frontdesk/"];

/// The folder of the samples, which are no templates.
pub(super) const SAMPLES: &str = "samples/";

/// The templates of one mail.
const MAIL_PARTS: [&str; 3] = ["subject.txt", "body.txt", "body.html"];

#[derive(RustEmbed)]
#[folder = "templates/"]
struct Files;

/// What replaces templates and messages of Frontdesk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// The templates, by name.
    pub templates: folder::Layers,
    /// The files with messages.
    pub messages: folder::Layers,
}

/// Frontdesk's templates, by name.
pub(super) fn own_files() -> BTreeMap<String, String> {
    let text = |path: &str| {
        let data = Files::get(path)?.data;
        Some(String::from_utf8_lossy(&data).into_owned())
    };
    let names = Files::iter().filter(|path| !path.starts_with(SAMPLES));
    names.filter_map(|path| Some((path.to_string(), text(&path)?))).collect()
}

/// Frontdesk's samples, by their path.
pub(super) fn own_samples() -> BTreeMap<String, Cow<'static, [u8]>> {
    let paths = Files::iter().filter(|path| path.starts_with(SAMPLES));
    paths.filter_map(|path| Some((path.to_string(), Files::get(&path)?.data))).collect()
}

/// Names of files, each with its text or with what is wrong with it.
type NamedTexts = Vec<(String, String)>;

impl Layers {
    /// Those of a site without an operator's folder.
    pub fn of_site(site: &Folder) -> Self {
        let templates = folder::Layers { site: site.clone(), ..folder::Layers::default() };
        Self { templates, ..Self::default() }
    }

    /// Whether there are only Frontdesk's templates.
    pub fn is_empty(&self) -> bool {
        self.templates.site.is_empty() && self.templates.operator.is_none()
    }

    /// All files, by their name in tera. The error lists files that are no templates, and why.
    pub(super) fn files(&self) -> Result<NamedTexts, NamedTexts> {
        let mut files: NamedTexts = own_files()
            .into_iter()
            .map(|(path, text)| (format!("{}{path}", PREFIXES[1]), text))
            .collect();
        let mut problems = Vec::new();
        for (name, bytes) in self.own() {
            match (file_problem(&name), std::str::from_utf8(bytes)) {
                (Some(message), _) => {
                    problems.push((name, message.to_owned()));
                }
                (None, Err(_)) => {
                    problems.push((name, "is not UTF-8 text".to_owned()));
                }
                (None, Ok(text)) => files.push((name, text.to_owned())),
            }
        }
        for (path, bytes) in self.samples() {
            if let Err(error) = serde_json::from_slice::<serde_json::Map<_, _>>(bytes) {
                problems.push((path.clone(), format!("is not a JSON object ({error})")));
            }
        }
        problems.extend(self.mail_problems());
        if problems.is_empty() { Ok(files) } else { Err(problems) }
    }

    /// The files of the operator and of the site, by their name in tera, the stronger layer first.
    pub fn own(&self) -> impl Iterator<Item = (String, &Cow<'static, [u8]>)> {
        let is_template = |path: &str| !path.split('/').any(folder::is_hidden) && !is_sample(path);
        let operator = self.templates.operator.iter().flat_map(|(_, files)| files);
        let operator = operator.filter(move |(path, _)| is_template(path));
        let operator = operator.map(|(path, bytes)| (path.clone(), bytes));
        let site = self.templates.site.iter().filter(move |(path, _)| is_template(path));
        let site = site.map(|(path, bytes)| (format!("{}{path}", PREFIXES[0]), bytes));
        operator.chain(site)
    }

    /// The samples of the operator and of the site, by their path.
    pub(super) fn samples(&self) -> impl Iterator<Item = (&String, &Cow<'static, [u8]>)> {
        let operator = self.templates.operator.iter().flat_map(|(_, files)| files);
        operator.chain(&self.templates.site).filter(|(path, _)| is_sample(path))
    }

    /// Whether the template with this name in tera is of the operator or the site.
    pub(super) fn is_replacement(&self, name: &str) -> bool {
        self.resolve(name).is_some_and(|(name, _)| !name.starts_with(PREFIXES[1]))
    }

    /// The mails of the site: the folders below `mail/` that have no mail of Frontdesk.
    pub fn site_mails(&self) -> BTreeSet<String> {
        let own = own_files();
        let kind = |name: String| {
            let (kind, part) = name.strip_prefix("mail/")?.rsplit_once('/')?;
            let is_own = own.contains_key(&format!("mail/{kind}/{part}"));
            (MAIL_PARTS.contains(&part) && !is_own).then(|| kind.to_owned())
        };
        self.names().into_iter().filter_map(kind).collect()
    }

    /// Mails of the site with a wrong name or without one of their parts.
    fn mail_problems(&self) -> NamedTexts {
        let (names, mut problems) = (self.names(), NamedTexts::new());
        for kind in self.site_mails() {
            let parts = MAIL_PARTS.map(|part| format!("mail/{kind}/{part}"));
            // As `mail_outbox_kind_form` has it.
            let is_word =
                |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
            if !kind.split('_').all(is_word) {
                let [subject, ..] = &parts;
                problems.push((
                    self.own_name(subject),
                    "is in a folder with a wrong name: a mail has lower-case letters, with underscores between words".to_owned(),
                ));
            }
            for part in parts.iter().filter(|part| !names.contains(*part)) {
                let message = "is missing: a mail consists of subject.txt, body.txt and body.html";
                problems.push((self.own_name(part), message.to_owned()));
            }
        }
        problems
    }

    /// The name in tera of a file of the site's crate or, if it has no such folder, of the operator.
    fn own_name(&self, path: &str) -> String {
        let folder = path.rsplit_once('/').map_or(path, |(folder, _)| folder);
        let is_of_site =
            self.templates.site.keys().any(|name| name.starts_with(&format!("{folder}/")));
        if is_of_site { format!("{}{path}", PREFIXES[0]) } else { path.to_owned() }
    }

    /// Where the text stands in a template that replaces one of Frontdesk's: the file and the line.
    pub fn find(&self, text: &str) -> Option<(String, usize)> {
        self.own().find_map(|(name, bytes)| {
            let own = String::from_utf8_lossy(bytes);
            let at = own.find(text)?;
            Some((self.file(&name), own[..at].matches('\n').count() + 1))
        })
    }

    /// The file of the strongest layer with this plain name, for messages.
    pub fn strongest(&self, name: &str) -> String {
        self.resolve(name).map_or_else(|| name.to_owned(), |(name, _)| self.file(&name))
    }

    /// The strongest layer that has a template with this plain name.
    pub fn layer(&self, name: &str) -> &'static str {
        if self.templates.operator.as_ref().is_some_and(|(_, files)| files.contains_key(name)) {
            "operator"
        } else if self.templates.site.contains_key(name) {
            "site"
        } else {
            "frontdesk"
        }
    }

    /// Whether Frontdesk has a template with this plain name.
    pub fn is_own(name: &str) -> bool {
        Files::get(name).is_some()
    }

    /// Frontdesk's template with this plain name.
    pub fn original(name: &str) -> Option<String> {
        own_files().remove(name)
    }

    /// The file with this name in tera, for messages.
    pub fn file(&self, name: &str) -> String {
        if name.starts_with(PREFIXES[1]) {
            return name.to_owned();
        }
        match (name.strip_prefix(PREFIXES[0]), &self.templates.operator) {
            (Some(path), _) => format!("templates/{path}"),
            (None, Some((folder, _))) => folder.join(name).display().to_string(),
            (None, None) => name.to_owned(),
        }
    }

    /// The text of the template with this name in tera; a plain name finds the strongest layer.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.resolve(name).map(|(_, text)| text)
    }

    /// The full name and the text of a template.
    fn resolve(&self, name: &str) -> Option<(String, String)> {
        let names = [name.to_owned(), format!("site/{name}"), format!("frontdesk/{name}")];
        names.into_iter().find_map(|name| {
            let bytes = match (name.strip_prefix("frontdesk/"), name.strip_prefix("site/")) {
                (Some(path), _) => Files::get(path)?.data,
                (None, Some(path)) => self.templates.site.get(path)?.clone(),
                (None, None) => self.templates.operator.as_ref()?.1.get(&name)?.clone(),
            };
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Some((name, text))
        })
    }

    /// The line of the first tag `keyword` of a template.
    pub(super) fn line_of(&self, name: &str, keyword: &str) -> Option<usize> {
        let text = self.text(name)?;
        tags(&text, keyword).next().map(|(line, _)| line)
    }

    /// The blocks of the templates that `name` extends.
    pub(super) fn blocks_above(&self, name: &str) -> Vec<String> {
        let mut blocks = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let parent = |text: &str| {
            let (_, parent) = tags(text, "extends").next()?;
            self.resolve(parent.trim_matches(['"', '\'', '`']))
        };
        let mut next = self.text(name).and_then(|text| parent(&text));
        while let Some((name, text)) = next.take() {
            if seen.insert(name) {
                blocks.extend(tags(&text, "block").map(|(_, block)| block));
                next = parent(&text);
            }
        }
        blocks.into_iter().collect()
    }

    /// The components of all layers.
    pub(super) fn components(&self) -> BTreeSet<String> {
        let own = self.own().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
        let texts = own_files().into_values().chain(own);
        texts
            .flat_map(|text| tags(&text, "component").map(|(_, name)| name).collect::<Vec<_>>())
            .collect()
    }

    /// Where the strongest layer defines a component: its name in tera, and the line.
    pub(super) fn definition(&self, component: &str) -> Option<(String, usize)> {
        self.own().find_map(|(name, bytes)| {
            let text = String::from_utf8_lossy(bytes);
            let (line, _) = tags(&text, "component").find(|(_, found)| found == component)?;
            Some((name, line))
        })
    }

    /// The plain names of all templates.
    pub fn names(&self) -> BTreeSet<String> {
        let plain =
            |name: String| name.strip_prefix(PREFIXES[0]).map_or(name.clone(), str::to_owned);
        own_files().into_keys().chain(self.own().map(|(name, _)| plain(name))).collect()
    }
}

/// The tags `{% keyword name …` of a template, with their lines.
pub(super) fn tags<'a>(
    text: &'a str,
    keyword: &'a str,
) -> impl Iterator<Item = (usize, String)> + 'a {
    text.lines().enumerate().flat_map(move |(index, line)| {
        line.split("{%").skip(1).filter_map(move |tag| {
            let tag = tag.trim_start_matches('-').trim_start().strip_prefix(keyword)?;
            let name = tag.strip_prefix(' ')?.trim_start();
            let name = name.split([' ', '(', '%']).next()?.trim_end_matches('-');
            Some((index + 1, name.to_owned()))
        })
    })
}

fn is_sample(path: &str) -> bool {
    path.starts_with(SAMPLES) && path.ends_with(".json")
}

/// Why the file is no template. tera decides by the ending whether values are escaped.
fn file_problem(name: &str) -> Option<&'static str> {
    let path = name.strip_prefix(PREFIXES[0]).unwrap_or(name);
    if PREFIXES.iter().any(|prefix| path.starts_with(prefix)) {
        return Some("is in a folder whose name is reserved. Names are like layouts/base.html");
    }
    (!decides_escaping(path)).then_some("must end in .html (or in .txt below mail/)")
}

/// Whether the ending of a template decides whether values are escaped.
pub(super) fn decides_escaping(path: &str) -> bool {
    path.ends_with(".html") || (path.starts_with("mail/") && path.ends_with(".txt"))
}
