//! The catalog of messages: `locales/en/*.ftl` against the templates and the sources that use it, and docs/MESSAGES.md.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use text::files;

/// The files of the catalog, by name.
fn catalog() -> BTreeMap<String, String> {
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).expect("a readable file"))
    };
    files("locales/en", &[".ftl"]).into_iter().map(read).collect()
}

/// The messages of a file: the key, and the text with its lines.
fn messages(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match line.split_once(" =") {
            Some((key, text)) if key.starts_with(|first: char| first.is_ascii_lowercase()) => {
                found.push((key.to_owned(), text.trim().to_owned()));
            }
            _ if line.starts_with([' ', '}']) => {
                if let Some((_, text)) = found.last_mut() {
                    text.push(' ');
                    text.push_str(line.trim());
                }
            }
            _ => {}
        }
    }
    found
}

/// The keys in the calls `call` of `text`.
fn keys_in(text: &str, call: &str) -> BTreeSet<String> {
    let ends = |before: &str| before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
    let mut parts = text.split(call);
    let mut before = parts.next().unwrap_or_default();
    let mut found = BTreeSet::new();
    for part in parts {
        if !ends(before) {
            found.extend(part.split('"').next().map(str::to_owned));
        }
        before = part;
    }
    found
}

/// The sources that use messages, without the module that is about messages in general.
fn sources() -> BTreeMap<String, String> {
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).expect("a readable file");
        (path.display().to_string(), text)
    };
    let all = files("src", &[".rs"]).into_iter().map(read);
    let is_general =
        |path: &str| ["src/language/", "src/templates/"].iter().any(|it| path.contains(it));
    all.filter(|(path, _)| !is_general(path)).collect()
}

fn templates() -> BTreeMap<String, String> {
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).expect("a readable file");
        (path.display().to_string(), text)
    };
    files("templates", &[".html", ".txt"]).into_iter().map(read).collect()
}

#[test]
fn every_message_is_used_and_every_key_that_is_used_exists() {
    let known: BTreeSet<String> = catalog()
        .values()
        .flat_map(|text| messages(text).into_iter().map(|(key, _)| key).collect::<Vec<_>>())
        .collect();
    let mut used = BTreeSet::new();
    for text in templates().values() {
        used.extend(keys_in(text, "t(key=\""));
        used.extend(keys_in(text, "t_html(key=\""));
    }
    for text in sources().values() {
        let joined = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("( \"", "(\"");
        used.extend(keys_in(&joined, "Text::key(\""));
        // Keys in tables and constants.
        used.extend(
            joined.split('"').filter(|literal| known.contains(*literal)).map(str::to_owned),
        );
    }
    assert!(known.len() > 200, "{}", known.len());
    let unknown: Vec<_> = used.difference(&known).collect();
    assert!(unknown.is_empty(), "These keys are in no file locales/en/*.ftl: {unknown:?}");
    let unused: Vec<_> = known.difference(&used).collect();
    assert!(unused.is_empty(), "No template and no source uses these messages: {unused:?}");
}

/// `text` without tags of tera and of HTML, which leave a mark.
fn plain(text: &str) -> String {
    let mut plain = text.to_owned();
    for (open, close) in [("{#", "#}"), ("{%", "%}"), ("{{", "}}"), ("<", ">")] {
        while let Some(start) = plain.find(open) {
            let length =
                plain[start..].find(close).map_or(plain.len() - start, |at| at + close.len());
            plain.replace_range(start..start + length, "|");
        }
    }
    plain
}

/// Runs of four or more words between marks.
fn sentences(plain: &str) -> Vec<String> {
    // Not the numbers of a drawing.
    let is_word = |word: &&str| {
        word.chars().any(char::is_alphabetic) && !word.contains(|one: char| one.is_ascii_digit())
    };
    let parts = plain.split('|').map(str::trim);
    parts
        .filter(|part| part.split_whitespace().filter(is_word).count() >= 4)
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_sentence_for_users_is_left_in_the_sources() {
    let for_users = [
        "src/pages/",
        "src/auth/",
        "src/web/",
        "src/user/",
        "src/website/values",
        "src/website/form",
    ];
    let mut found = Vec::new();
    for (path, text) in sources() {
        if !for_users.iter().any(|folder| path.contains(folder)) {
            continue;
        }
        // Errors for the log and for developers are no text of a page.
        let of_log =
            ["error(", "tracing::", "anyhow", "expect(", "internal(", "panic!", "///", "//"];
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !of_log.iter().any(|part| line.contains(part)));
        for literal in lines.flat_map(|line| line.split('"').skip(1).step_by(2)) {
            let is_sentence = literal.starts_with(char::is_uppercase)
                && literal.trim_end().ends_with(['.', '?', '!'])
                && !sentences(literal).is_empty();
            if is_sentence {
                found.push(format!("{path}: {literal}"));
            }
        }
    }
    assert!(found.is_empty(), "Move these sentences to locales/en/*.ftl:\n{}", found.join("\n"));
}

#[test]
fn no_sentence_is_left_in_the_templates() {
    let mut found = Vec::new();
    for (path, text) in templates() {
        // Style sheets of mails, which are no sentences.
        let text = match (text.find("<style>"), text.find("</style>")) {
            (Some(start), Some(end)) => format!("{}{}", &text[..start], &text[end..]),
            _ => text,
        };
        found.extend(sentences(&plain(&text)).into_iter().map(|one| format!("{path}: {one}")));
        // Strings in tags: labels and hints of components.
        for string in text.split(['"', '`']).skip(1).step_by(2) {
            let is_prose = !sentences(string).is_empty()
                && string.starts_with(char::is_uppercase)
                && !string.contains(['<', '{', '=']);
            if is_prose {
                found.push(format!("{path}: {string}"));
            }
        }
    }
    assert!(found.is_empty(), "Move these sentences to locales/en/*.ftl:\n{}", found.join("\n"));
    assert_eq!(sentences(&plain("<p>One two three four {{ x }}</p>")).len(), 1);
}

/// What docs/MESSAGES.md is.
fn document() -> String {
    let mut document = "# Messages\n\n\
        Every sentence of pages and mails, by its key. A site replaces one with a line in `locales/en/site.ftl`, an operator\n\
        in `en/site.ftl` of the folder `FRONTDESK_LOCALES_DIR`; [OWN-LOOK.md](OWN-LOOK.md#words) says how. The text may change\n\
        in any version; the keys and their variables (`{ $n }`) and elements (`<link>`) stay.\n"
        .to_owned();
    for (name, text) in catalog() {
        document.push_str(&format!("\n## locales/en/{name}\n\n| key | text |\n|---|---|\n"));
        for (key, text) in messages(&text) {
            let text = text.replace('|', "\\|").replace('<', "&lt;");
            document.push_str(&format!("| `{key}` | {text} |\n"));
        }
    }
    document
}

#[test]
fn the_document_of_messages_is_what_the_catalog_says() {
    let path = Path::new("docs/MESSAGES.md");
    let expected = document();
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(path, &expected).expect("a writable document");
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/MESSAGES.md is not what the catalog says. Run: INSTA_UPDATE=always cargo test --test messages"
    );
}
