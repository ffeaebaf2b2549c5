//! The dependency rule of the house: every room looks down only, rooms of pages never name each other, engines see
//! no page and no request, only `config` reads the environment, only `session/state.rs` spells a session key, and
//! only the file that owns a table writes it. Reads the source as text; std alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from the top down; a room may name rooms of lower floors, and of its own floor where `beside` says so.
const FLOORS: [(&str, &[&str], bool); 7] = [
    ("the top", &["main", "cli", "server", "routes", "metrics", "housekeeping"], true),
    ("rooms of pages", &["account", "entrance", "health", "home", "mailbox"], false),
    ("between", &["auth", "app"], true),
    ("engines", &["user", "session", "mail", "audit"], true),
    ("the HTTP kit", &["kit"], false),
    (
        "the ground",
        &["background", "config", "db", "durable", "templates", "id", "log", "seal", "secret"],
        true,
    ),
    ("the map", &["lib"], false),
];

/// Engines in their order: each may name those after it.
const ENGINES: [&str; 4] = ["user", "session", "mail", "audit"];
/// Who writes which table.
const OWNERS: [(&str, &str); 8] = [
    ("users", "src/user/"),
    ("registrations", "src/user/"),
    ("email_tokens", "src/user/"),
    ("recovery_requests", "src/user/"),
    ("throttles", "src/user/"),
    ("sessions", "src/session/"),
    ("mail_outbox", "src/mail/outbox.rs"),
    ("audit_events", "src/audit.rs"),
];

fn sources() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of ours") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("a source of ours");
                found.insert(path, text);
            }
        }
    }
    assert!(found.len() > 40, "the sources were not found");
    found
}

fn room(path: &Path) -> String {
    let name = path.components().nth(1).expect("below src").as_os_str().to_string_lossy();
    name.trim_end_matches(".rs").to_owned()
}

/// The rooms that `use crate::…` and `crate::…` name.
fn named(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for rest in code(text).split("crate::").skip(1) {
        let groups = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let list = groups.map_or(rest, |(list, _)| list);
        let parts: Vec<&str> =
            if groups.is_some() { list.split(',').collect() } else { vec![list] };
        for part in parts {
            let name: String = part
                .trim()
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect();
            rooms.push(name);
        }
    }
    rooms
}

/// Without comments.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn floor(room: &str) -> usize {
    FLOORS.iter().position(|(_, rooms, _)| rooms.contains(&room)).unwrap_or_else(|| {
        panic!("src/{room} stands on no floor; put it on one in tests/arrows.rs")
    })
}

#[test]
fn every_arrow_points_down() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let from = room(&path);
        // The two that wire: the session layer's types are named where the routes are.
        for to in named(&text).into_iter().filter(|to| *to != from) {
            let (above, below) = (floor(&from), floor(&to));
            let beside = above == below && FLOORS[above].2;
            let engine = |name: &str| ENGINES.iter().position(|engine| *engine == name);
            let engines_in_order = match (engine(&from), engine(&to)) {
                (Some(from), Some(to)) => from < to,
                _ => true,
            };
            if !(above < below || beside) || !engines_in_order {
                wrong.push(format!("{} names {to}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn engines_see_no_request_and_no_page() {
    for (path, text) in sources() {
        if ENGINES.contains(&room(&path).as_str()) {
            for word in ["HttpRequest", "HttpResponse", "ServiceRequest", "tera::"] {
                assert!(!code(&text).contains(word), "{} knows {word}", path.display());
            }
        }
    }
}

#[test]
fn what_pages_write_is_written_by_the_domain_or_on_behalf_of_a_session() {
    for (path, text) in sources() {
        let from = room(&path);
        // A sign-in has no session yet: its transaction checks the credential that was proven.
        if path.ends_with("auth/first_factor.rs") {
            continue;
        }
        if FLOORS[1].1.contains(&from.as_str()) || from == "auth" {
            for call in ["db::transaction", "db::long_transaction"] {
                assert!(
                    !code(&text).contains(call),
                    "{} opens a transaction that does not check the session: use session::Requester",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn only_config_reads_the_environment() {
    for (path, text) in sources() {
        if room(&path) != "config" {
            for word in ["env::var", "env::vars", "dotenvy"] {
                assert!(!code(&text).contains(word), "{} reads the environment", path.display());
            }
        }
    }
}

#[test]
fn only_state_spells_a_session_key() {
    for (path, text) in sources() {
        if !path.ends_with("session/state.rs") {
            for word in ["\"actix_identity.", "\"frontdesk.current", "\"frontdesk.birth"] {
                assert!(!code(&text).contains(word), "{} spells a session key", path.display());
            }
        }
    }
}

#[test]
fn only_the_owner_of_a_table_writes_it() {
    for (path, text) in sources() {
        let flat = code(&text).split_whitespace().collect::<Vec<_>>().join(" ");
        for (table, owner) in OWNERS {
            for verb in ["INSERT INTO", "UPDATE", "DELETE FROM", "TRUNCATE"] {
                let writes = flat.match_indices(&format!("{verb} {table}")).any(|(at, found)| {
                    !flat[at + found.len()..]
                        .starts_with(|next: char| next.is_alphanumeric() || next == '_')
                });
                let may = path.to_string_lossy().starts_with(owner);
                assert!(!writes || may, "{} writes {table}", path.display());
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_stays_small() {
    for (path, text) in sources() {
        let is_tests = path.ends_with("tests.rs");
        assert!(is_tests || text.starts_with("//!"), "{} does not say what it is", path.display());
        let lines = text.lines().count();
        assert!(
            lines <= 400,
            "{} has {lines} lines; look for the second idea inside",
            path.display()
        );
    }
}
