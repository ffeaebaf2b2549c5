//! A reminder of the style in CONTRIBUTING.md: plain English, standard terms, short functions. Reads the
//! sources, templates and documents as text.

mod text;

use std::fs;
use std::path::PathBuf;

use text::files;

/// Words that have a plainer one: say who acts ("the client", "the user", "anyone") and use the standard term.
const WORDS: [(&str, &str); 8] = [
    ("somebody", "someone, the user or the client"),
    ("whoever", "anyone who, or the client that"),
    ("anew", "again"),
    ("any more", "no longer"),
    ("can not", "cannot"),
    ("of ours", "our, or nothing"),
    ("so many", "the number of"),
    ("the trail", "the audit log"),
];
/// Names that have been replaced, and by what.
const NAMES: [(&str, &str); 21] = [
    ("kit/", "web/"),
    ("entrance/", "pages/sign_in/"),
    ("session/birth", "session/create.rs"),
    ("user/throttle", "user/rate_limit/"),
    ("db/cluster", "db/private_cluster/"),
    ("Birth", "NewSession"),
    ("settle_user", "invalidate_user"),
    ("Occasion", "AccountEvent"),
    ("Fate", "SessionEffect"),
    ("CookieWish", "CookieOverride"),
    ("Unopened", "RawForm"),
    ("Lapse", "Expiry"),
    ("Tally", "Counters"),
    ("Newcomer", "ImportRow"),
    ("Asker", "Requester"),
    ("Doubtful", "Stale"),
    ("admit_about", "Attempt"),
    ("count_about", "Attempt"),
    ("send_on", "redirect_preserving_method"),
    ("is_odd", "is_suspicious"),
    ("fresh proof", "recent authentication"),
];
/// Where one of them is right: a part of the path, and the word.
const ALLOWED: [(&str, &str); 0] = [];

/// The longest function, in lines.
const LONGEST: usize = 80;
/// Tables and statements in the form of a function: they may be longer.
const TABLES: [&str; 3] = [
    "src/server/routes.rs configure",
    "src/user/rate_limit/counters.rs count_in",
    "src/user/rate_limit/limits.rs of",
];

/// Whether `term` stands in `line` as a word of its own.
fn contains_word(line: &str, term: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(term).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + term.len()..].chars().next();
        let starts = !before.is_some_and(|letter| is_word(letter) || letter == '/');
        starts && (term.ends_with('/') || !after.is_some_and(is_word))
    })
}

#[test]
fn retired_words_and_names_are_not_used() {
    let roots = ["src", "templates", "docs", "README.md", "CONTRIBUTING.md", ".env.example"];
    let endings = [".rs", ".html", ".txt", ".md", ".sql", ".env.example"];
    let files: Vec<PathBuf> = roots.iter().flat_map(|root| files(root, &endings)).collect();
    assert!(files.len() > 100, "the sources were not found");
    let mut found = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("a readable text file");
        let path = path.display().to_string();
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let words = WORDS.iter().filter(|(word, _)| contains_word(&lower, word));
            let names = NAMES.iter().filter(|(name, _)| contains_word(line, name));
            for (term, better) in words.chain(names) {
                if !ALLOWED.iter().any(|(part, word)| path.contains(part) && word == term) {
                    found.push(format!("{path}:{}: “{term}”: write {better}", number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{} retired words:\n{}", found.len(), found.join("\n"));
}

/// Where Frontdesk's pages are: the first segments of their paths.
const PAGES: [&str; 9] = [
    "account",
    "login",
    "register",
    "logout",
    "verify-email",
    "forgot-password",
    "reset-password",
    "undo-email-change",
    "invitation",
];

/// The columns at which a string in quotes begins with the path of one of Frontdesk's pages.
fn page_paths(line: &str) -> Vec<usize> {
    let quoted = line.match_indices("\"/").chain(line.match_indices("}/"));
    let is_page = |rest: &str| {
        let first: String =
            rest.chars().take_while(|one| one.is_alphanumeric() || *one == '-').collect();
        PAGES.contains(&first.as_str())
    };
    quoted.filter(|(at, _)| is_page(&line[at + 2..])).map(|(at, _)| at).collect()
}

#[test]
fn links_to_the_pages_of_frontdesk_go_through_page_path() {
    let mut found = Vec::new();
    let mut check = |files: Vec<PathBuf>, wrapped: &[&str], definitions: &[&str]| {
        for path in files.iter().filter(|path| !path.ends_with("tests.rs")) {
            let text = fs::read_to_string(path).expect("a readable text file");
            let code = text.split("\nmod tests {").next().unwrap_or_default();
            for (number, line) in code.lines().enumerate() {
                let is_comment = line.trim_start().starts_with("//");
                let is_definition = definitions.iter().any(|one| line.contains(one));
                let bare = page_paths(line)
                    .into_iter()
                    .any(|at| !wrapped.iter().any(|before| line[..at].ends_with(before)));
                if bare && !is_comment && !is_definition {
                    found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
                }
            }
        }
    };
    let templates = files("templates", &[".html", ".txt"]);
    assert!(templates.len() > 50, "the templates were not found");
    check(templates, &["page_path(to="], &[]);
    let pages =
        ["src/pages", "src/auth", "src/app.rs", "src/web/error.rs", "src/web/page.rs", "src/mail"];
    let pages: Vec<PathBuf> = pages.iter().flat_map(|root| files(root, &[".rs"])).collect();
    assert!(pages.len() > 50, "the sources were not found");
    // A constant and a field `href` hold the path of a page; what uses them calls page_path.
    let wrapped = ["page_path(", "page_url(", "page_url(&format!("];
    check(pages, &wrapped, &["const ", "href: \"/"]);
    assert!(
        found.is_empty(),
        "paths that ignore where the pages are; use page_path:\n{}",
        found.join("\n")
    );
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for path in files("src", &[".rs"]) {
        let text = fs::read_to_string(&path).expect("a readable source file");
        for (name, lines) in functions(&text) {
            let function = format!("{} {name}", path.display());
            if lines > LONGEST && !TABLES.contains(&function.as_str()) {
                long.push(format!("{function}: {lines} lines"));
            }
        }
    }
    assert!(
        long.is_empty(),
        "functions over {LONGEST} lines; look for the second idea inside:\n{}",
        long.join("\n")
    );
}

/// The functions of a file that `cargo fmt` has formatted, and how many lines each has.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some((head, rest)) = code.split_once("fn ") else { continue };
        let is_head = head.split_whitespace().all(|word| {
            word.starts_with("pub")
                || ["async", "const", "unsafe", "crate::"].contains(&word)
                || word.ends_with(')')
        });
        if !is_head || code.ends_with(';') {
            continue;
        }
        let indent = &line[..line.len() - code.len()];
        let end = format!("{indent}}}");
        let name: String =
            rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        if let Some(length) = lines[start..].iter().position(|line| *line == end) {
            found.push((name, length + 1));
        }
    }
    found
}
