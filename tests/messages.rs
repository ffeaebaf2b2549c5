//! The catalog of messages: `locales/en/*.ftl` against the templates and the sources that use it, and docs/MESSAGES.md.

mod golden;
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

/// The string literals of a source that may be shown to a user: without those of comments, tests, the log and SQL, and
/// without names: keys of JSON and of messages, columns, and variables of messages.
fn literals(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let of_others = ["tracing::", "expect(", "#[error", "interval '", "//"];
    let lines = code.lines().filter(|line| !of_others.iter().any(|part| line.contains(part)));
    let mut found = Vec::new();
    for line in lines {
        let parts: Vec<&str> = line.split('"').collect();
        for part in parts.windows(3).step_by(2) {
            let [before, literal, after] = part else { continue };
            let is_column = literal.ends_with(['!', '?']) && !literal.contains(' ');
            let is_name = before.ends_with(".with(") || after.starts_with(": ") || is_column;
            if !is_name && (literal.contains(' ') || !literal.contains('-')) {
                found.push(*literal);
            }
        }
    }
    found
}

/// Whether a literal is English without being a sentence: a word of a date or of a duration, or words around a value,
/// such as `Unknown browser on {system}`. Texts of four or more words that begin in lower case are causes for the log.
fn has_words(literal: &str) -> bool {
    const OF_TIME: &str = " January February March April May June July August September October November December \
        Monday Tuesday Wednesday Thursday Friday Saturday Sunday AM PM second seconds minute minutes hour hours \
        day days week weeks month months ago today yesterday weekday ";
    let is_lower = |word: &str| word.starts_with(|first: char| first.is_ascii_lowercase());
    let is_upper = |word: &str| word.starts_with(|first: char| first.is_ascii_uppercase());
    let words: Vec<&str> = literal.split_whitespace().collect();
    let has_time = literal
        .split(|one: char| !one.is_alphanumeric())
        .any(|word| !word.is_empty() && OF_TIME.contains(&format!(" {word} ")));
    let begins_sentence = words.windows(2).take(1).any(|pair| {
        is_upper(pair[0]) && pair[0].chars().skip(1).all(char::is_lowercase) && is_lower(pair[1])
    });
    let joins_values = words
        .windows(3)
        .any(|three| three[0].ends_with('}') && is_lower(three[1]) && three[2].starts_with('{'));
    let continues = literal.starts_with(", ")
        && matches!(words.as_slice(), [_, word, value] if is_lower(word) && value.starts_with('{'));
    has_time && (is_upper(literal) || words.len() < 4 || literal.contains("[month"))
        || begins_sentence
        || joins_values
        || continues
}

#[test]
fn no_words_of_dates_durations_and_devices_are_left_in_the_sources() {
    let for_users = [
        "src/pages/",
        "src/auth/",
        "src/web/",
        "src/user/",
        "src/session/",
        "src/mail/",
        "src/website/",
        "src/lifetimes.rs",
    ];
    // The table of `session stats`; `doctor`; what mail servers answer; mails of tests.
    let of_others = [
        "session/stats.rs",
        "mail/transport.rs",
        "mail/severity.rs",
        "mail/smtp.rs",
        "mail/samples.rs",
    ];
    let is_for_users = |path: &str| {
        for_users.iter().any(|part| path.contains(part))
            && !of_others.iter().any(|part| path.ends_with(part))
    };
    let sources = sources();
    let sources: Vec<_> = sources.iter().filter(|(path, _)| is_for_users(path)).collect();
    assert!(sources.len() > 100, "{}", sources.len());
    let found: Vec<String> = sources
        .into_iter()
        .flat_map(|(path, text)| literals(text).into_iter().map(move |one| (path, one)))
        .filter(|(_, literal)| has_words(literal))
        .map(|(path, literal)| format!("{path}: {literal}"))
        .collect();
    assert!(found.is_empty(), "Move these words to locales/en/*.ftl:\n{}", found.join("\n"));
    for english in [
        "minute",
        "[month repr:long] [day padding:none], [year]",
        "{browser} on {system}",
        "Unknown device",
        "An app",
        ", number {count}",
        "{count} days",
    ] {
        assert!(has_words(english), "{english}");
    }
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

/// The names in `text` that follow `before`, each with `after`.
fn names(text: &str, before: &str, after: &str) -> BTreeSet<String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let rests = text.split(before).skip(1);
    let found = rests.filter_map(|rest| {
        let name = rest.split(|letter| !is_name(letter)).next()?;
        let is_whole = !name.is_empty() && rest[name.len()..].starts_with(after);
        is_whole.then(|| format!("{before}{name}{after}"))
    });
    found.collect()
}

/// A line that disappears breaks the messages of sites and operators.
#[test]
fn the_promised_messages_are_what_they_were() {
    let mut found = "## Messages with their variables and elements\n".to_owned();
    for (key, text) in catalog().values().flat_map(|text| messages(text)) {
        let parts = names(&text, "$", "").into_iter().chain(names(&text, "<", ">"));
        let parts: String = parts.map(|part| format!(" {part}")).collect();
        found.push_str(&format!("{key}{parts}\n"));
    }
    assert!(found.contains("\nsessions-count $n\n") && found.contains(" <link>\n"));
    golden::compare("messages.txt", &found, "cargo test --test messages");
}
