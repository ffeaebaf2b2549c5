//! Samples: an example of the values of every page and mail, in every state (`templates/samples/`). They define which
//! values a page gets, and checks render them.

use std::fmt;

use serde_json::{Map, Value};

use super::layers::{Layers, SAMPLES};

/// The values of one page or mail in one state.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The template, such as `account/sessions.html`, or the kind of a mail: `mail/new_device`.
    pub page: String,
    /// What is special about it, in a word or two; empty if there is one sample only.
    pub state: String,
    /// Its values, with `path`, `viewer` and `notice` of a page.
    pub values: Map<String, Value>,
}

impl fmt::Display for Sample {
    /// `account/sessions.many`, as its file is named.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = self.page.strip_suffix(".html").unwrap_or(&self.page);
        match self.state.as_str() {
            "" => formatter.write_str(page),
            state => write!(formatter, "{page}.{state}"),
        }
    }
}

impl Sample {
    /// Whether it is of a mail.
    pub fn is_mail(&self) -> bool {
        self.page.starts_with("mail/")
    }

    /// The sample in a file `samples/{page}.{state}.json` or `samples/{page}.json`. `None`: it is no sample.
    fn read(path: &str, text: &[u8]) -> Option<Self> {
        let name = path.strip_prefix(SAMPLES)?.strip_suffix(".json")?;
        let (page, state) = name.rsplit_once('.').unwrap_or((name, ""));
        let page = if page.starts_with("mail/") { page.to_owned() } else { format!("{page}.html") };
        let values = serde_json::from_slice(text).ok()?;
        Some(Self { page, state: state.to_owned(), values })
    }
}

/// All samples, sorted by page and state: Frontdesk's, and those of the site for its own pages.
pub fn samples(layers: &Layers) -> Vec<Sample> {
    let mut found: Vec<Sample> = super::layers::own_samples()
        .iter()
        .filter_map(|(path, text)| Sample::read(path, text))
        .chain(layers.samples().filter_map(|(path, text)| Sample::read(path, text)))
        .collect();
    found.sort_by(|one, other| (&one.page, &one.state).cmp(&(&other.page, &other.state)));
    found
}

/// The samples of the site that belong to no template, each with the name of the template.
pub fn samples_without_template(layers: &Layers) -> Vec<(String, String)> {
    let names = layers.names();
    let problem = |path: &String, text: &[u8]| {
        let Sample { page, .. } = Sample::read(path, text)?;
        let template = if page.starts_with("mail/") { format!("{page}/subject.txt") } else { page };
        (!names.contains(&template)).then(|| (path.clone(), template))
    };
    layers.samples().filter_map(|(path, text)| problem(path, text)).collect()
}
