//! The files with messages: those of an operator's folder, those of a site's crate, and Frontdesk's.

use std::sync::{Arc, LazyLock};

use fluent_bundle::FluentResource;
use rust_embed::RustEmbed;

use crate::folder::{self, Layers};

#[derive(RustEmbed)]
#[folder = "locales/"]
struct Files;

/// A file with messages.
pub(super) struct File<'a> {
    /// It replaces messages of the site, too.
    pub(super) is_of_operator: bool,
    /// As an operator or developer knows it.
    pub(super) name: String,
    /// Its path in the folder.
    pub(super) path: &'a str,
    pub(super) bytes: &'a [u8],
}

impl Layers {
    /// The files with messages, whose paths are like `en/site.ftl`: those of the site and then those of the operator. The
    /// later one wins.
    pub(super) fn files(&self) -> impl Iterator<Item = File<'_>> {
        let site =
            self.site.iter().map(|(path, bytes)| (false, format!("locales/{path}"), path, bytes));
        let operator = self.operator.iter().flat_map(|(folder, files)| {
            let name = |path: &String| folder.join(path).display().to_string();
            files.iter().map(move |(path, bytes)| (true, name(path), path, bytes))
        });
        let all = site.chain(operator);
        let all = all.map(|(is_of_operator, name, path, bytes)| File {
            is_of_operator,
            name,
            path,
            bytes,
        });
        all.filter(|file| !file.path.split('/').any(folder::is_hidden))
    }
}

/// Frontdesk's messages: the name of each file and its content.
pub(super) static OWN: LazyLock<Vec<(String, Arc<FluentResource>)>> = LazyLock::new(|| {
    let read = |path: std::borrow::Cow<'static, str>| {
        let text = String::from_utf8_lossy(&Files::get(&path)?.data).into_owned();
        // A test makes sure that there are no errors.
        let resource = FluentResource::try_new(text).unwrap_or_else(|(resource, _)| resource);
        Some((path.into_owned(), Arc::new(resource)))
    };
    Files::iter().filter_map(read).collect()
});
