//! The dependency rules between the files of `src/`, checked by reading the source as text:
//!
//! * Every import points to the same layer or a lower one, and files never import each other in a circle.
//! * Pages do not import other pages' folders; the domain knows no page and no request.
//! * Only `config` reads the environment, only `session/state.rs` spells a session key, and only the owner of a
//!   table writes it.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use text::files;

/// Top-level modules from the highest layer to the lowest. A module imports from its own and from later entries.
const LAYERS: [&[&str]; 16] = [
    &["main"],
    &["testing"],
    &["website"],
    &["cli"],
    &["server"],
    &["pages"],
    &["auth", "app"],
    &["user"],
    &["session"],
    &["mail"],
    &["audit"],
    &["peers", "form_answers"],
    &["site"],
    &["events"],
    &["web"],
    &[
        "background",
        "config",
        "crypto",
        "db",
        "durable",
        "folder",
        "id",
        "language",
        "lifetimes",
        "log",
        "look",
        "paths",
        "program",
        "role",
        "templates",
        "unicode",
    ],
];
/// Modules of one layer that may import each other, beside those of the lowest layer.
const SAME_LAYER: [(&str, &str); 2] = [("auth", "app"), ("app", "auth")];
/// The domain: no pages, no requests.
const DOMAIN: [&str; 5] = ["user", "session", "mail", "audit", "events"];
/// Every table and the folder or file that writes it.
const OWNERS: [(&str, &str); 22] = [
    ("users", "src/user/"),
    ("registrations", "src/user/"),
    ("email_tokens", "src/user/"),
    ("invitations", "src/user/"),
    ("recovery_requests", "src/user/"),
    ("throttles", "src/user/"),
    ("sessions", "src/session/"),
    ("session_caches", "src/session/cache/"),
    ("session_cache_resets", "src/session/"),
    ("groups", "src/user/groups.rs"),
    ("group_members", "src/user/groups.rs"),
    ("queue_failures", "src/user/queue.rs"),
    ("mail_outbox", "src/mail/outbox/"),
    ("mail_limits", "src/mail/outbox/enqueue.rs"),
    ("suppressed_recipients", "src/mail/suppression.rs"),
    ("audit_events", "src/audit/"),
    ("servers", "src/peers.rs"),
    ("form_answers", "src/form_answers.rs"),
    ("event_deliveries", "src/events/"),
    ("ended_sessions", "src/audit/"),
    ("installation", "src/site/installation.rs"),
    // Only migrations write to it.
    ("breaking_migrations", "migrations/"),
];

/// Every file that starts a task or a thread, and what a panic in it does. Nothing may be missing for good
/// afterwards: neither a job nor a thread of a pool.
const SPAWNS: [(&str, &str); 19] = [
    ("src/auth/second_arrival.rs", "it is raised again in the task of the request"),
    ("src/background.rs", "the job is restarted"),
    ("src/cli/prompt.rs", "it only waits for a signal"),
    ("src/db/private_cluster/server.rs", "it is a process, which is restarted"),
    ("src/db/private_cluster/wrapper.rs", "it is a process; its caller gets an error"),
    ("src/db/transaction.rs", "the caller gets WorkerCrashed"),
    ("src/log/", "the caller of a task gets an error; the writer only copies bytes"),
    ("src/mail/delivery.rs", "it is logged, and the mail is retried when its lease expires"),
    ("src/mail/smtp.rs", "it only sends QUIT"),
    ("src/mail/transport.rs", "the caller gets an error"),
    ("src/server/", "the server stops with an error"),
    (
        "src/session/cache/barrier.rs",
        "a guard ends the round, and the next sign-out starts another",
    ),
    ("src/session/cache/invalidation.rs", "it only closes a pool"),
    ("src/session/live.rs", "the next round writes the activity"),
    ("src/session/cache/lookup.rs", "a guard ends the round, and the next lookup starts another"),
    ("src/testing/", "the test fails"),
    ("src/user/password/hasher.rs", "the job fails, and the thread continues"),
    ("src/user/rate_limit/failure_notice.rs", "the mail is not sent until the next wait"),
    ("src/user/rate_limit/permit.rs", "the attempt counts fully after a minute"),
];

/// One file below `src/`.
struct Source {
    path: PathBuf,
    /// `["session", "cache"]` for `src/session/cache/mod.rs`; empty for `lib.rs` and `main.rs`.
    module: Vec<String>,
    /// Its text without comment lines.
    code: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let found: Vec<Source> = files("src", &[".rs"]).into_iter().map(Source::read).collect();
    assert!(found.len() > 40, "the sources were not found");
    found
}

impl Source {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).expect("a readable source file");
        let mut module: Vec<String> = path
            .with_extension("")
            .components()
            .skip(1)
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
            module.pop();
        }
        let code = without_visibility(&without_comments(&text));
        Self { path, module, code, text }
    }

    fn top(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    /// The code without re-exports, which only give a name in a child module a second path.
    fn code_without_exports(&self) -> String {
        let mut parts = self.code.split("\npub use ");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |code, part| code + part.split_once(';').map_or("", |(_, rest)| rest))
    }

    /// Absolute paths of everything that the file imports or names with a path: `crate::a::B`, `super::c`, `self::d`, and
    /// `child::d` of a declared child module.
    fn imports(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        let code = self.code_without_exports();
        let tests = tests_module(&code);
        for (at, start) in path_starts(&code, &["crate", "self", "super"]) {
            let inside_tests = usize::from(tests.contains(&at));
            for path in expand(&code[at..]) {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let base = match start {
                    "crate" => Vec::new(),
                    "self" if inside_tests == 0 => self.module.clone(),
                    _ if ups <= inside_tests => continue,
                    _ => {
                        let depth = self.module.len() + inside_tests - ups;
                        self.module[..depth].to_vec()
                    }
                };
                let rest = if start == "super" { &path[ups..] } else { &path[1..] };
                paths.push([base, rest.to_vec()].concat());
            }
        }
        for child in self.children() {
            for (at, _) in path_starts(&code, &[child]) {
                for path in expand(&code[at..]) {
                    paths.push([self.module.clone(), path].concat());
                }
            }
        }
        paths
    }

    fn children(&self) -> Vec<&str> {
        self.code
            .lines()
            .filter(|line| line.ends_with(';') && !line.starts_with(' '))
            .filter_map(|line| line.split_once("mod ").map(|(_, name)| name.trim_end_matches(';')))
            .collect()
    }
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Where the inline module `tests` is: `super` means the file itself there.
fn tests_module(code: &str) -> Range<usize> {
    let start = code.find("\nmod tests {").unwrap_or(code.len());
    let end = code[start..].find("\n}").map_or(code.len(), |length| start + length);
    start..end
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// `pub(in crate::session)` names no dependency.
fn without_visibility(code: &str) -> String {
    let mut parts = code.split("pub(in ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |code, part| code + "pub" + part.split_once(')').map_or("", |(_, rest)| rest))
}

/// Where a path begins with one of `words` followed by `::`.
fn path_starts<'a>(code: &str, words: &[&'a str]) -> Vec<(usize, &'a str)> {
    let mut starts = Vec::new();
    for word in words {
        for (at, _) in code.match_indices(&format!("{word}::")) {
            let before = code[..at].chars().next_back();
            if !before.is_some_and(|letter| is_word(letter) || letter == ':' || letter == '$') {
                starts.push((at, *word));
            }
        }
    }
    starts
}

/// The paths that begin here; `a::{b, c::D}` gives two.
fn expand(code: &str) -> Vec<Vec<String>> {
    let name: String = code.chars().take_while(|letter| is_word(*letter)).collect();
    let Some(rest) = code[name.len()..].strip_prefix("::") else { return vec![vec![name]] };
    let tails = match rest.strip_prefix('{') {
        Some(group) => members(group).into_iter().flat_map(expand).collect(),
        None => expand(rest),
    };
    tails.into_iter().map(|tail| [vec![name.clone()], tail].concat()).collect()
}

/// The members of a group, from after its opening brace.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0_u32, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                found.push(group[start..at].trim());
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found.into_iter().filter(|member| !member.is_empty()).collect()
}

/// Which file each import leads to: the longest prefix that is a module, through `pub use` where a name is
/// re-exported.
struct Files<'a> {
    by_module: BTreeMap<&'a [String], &'a Source>,
    /// Re-exported name → where it is defined.
    exported: BTreeMap<Vec<String>, Vec<String>>,
}

impl<'a> Files<'a> {
    fn of(sources: &'a [Source]) -> Self {
        let by_module = sources.iter().map(|source| (source.module.as_slice(), source)).collect();
        let mut exported = BTreeMap::new();
        for source in sources {
            for (at, keyword) in source.code.match_indices("pub use ") {
                for path in expand(&source.code[at + keyword.len()..]) {
                    let name = path.last().expect("a path has a name").clone();
                    let target = match path[0].as_str() {
                        "crate" => path[1..].to_vec(),
                        "super" => {
                            let parent = &source.module[..source.module.len() - 1];
                            [parent, &path[1..]].concat()
                        }
                        _ => [source.module.clone(), path].concat(),
                    };
                    exported.insert([source.module.clone(), vec![name]].concat(), target);
                }
            }
        }
        Self { by_module, exported }
    }

    fn file(&self, path: &[String]) -> Option<&'a Source> {
        let length = (1..=path.len()).rev().find(|n| self.by_module.contains_key(&path[..*n]))?;
        let name = &path[..path.len().min(length + 1)];
        match self.exported.get(name).filter(|_| name.len() > length) {
            Some(target) => self.file(target),
            None => self.by_module.get(&path[..length]).copied(),
        }
    }

    fn imported_by(&self, source: &Source) -> BTreeSet<&'a Path> {
        source
            .imports()
            .iter()
            .filter_map(|path| self.file(path))
            .map(|file| file.path.as_path())
            .filter(|path| *path != source.path)
            .collect()
    }
}

fn layer(module: &str) -> usize {
    LAYERS.iter().position(|layer| layer.contains(&module)).unwrap_or_else(|| {
        panic!("src/{module} is in no layer: add it to LAYERS in tests/arrows.rs")
    })
}

#[test]
fn links_are_made_from_the_address_of_a_request_in_one_place() {
    const OWNER: &str = "src/web/return_to.rs";
    for Source { path, code, .. } in sources() {
        let reads = code.contains("path_and_query") || code.contains(".full_url()");
        assert!(
            !reads || path == Path::new(OWNER),
            "{}: the path of a request can be the URL of another site; use {OWNER}",
            path.display()
        );
    }
    for path in files("templates", &[".html"]) {
        let text = fs::read_to_string(&path).expect("a template");
        for attribute in ["href", "action", "formaction", "src"] {
            let link = format!("{attribute}=\"{{{{ path");
            assert!(!text.contains(&link), "{}: a link from the path", path.display());
        }
    }
}

#[test]
fn every_import_points_to_a_lower_layer() {
    let sources = sources();
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| source.top() != "lib") {
        let from = source.top();
        for path in source.imports() {
            let to = path[0].as_str();
            let lowest = LAYERS.len() - 1;
            let beside = from == to
                || SAME_LAYER.contains(&(from, to))
                || (layer(from) == lowest && layer(to) == lowest);
            let pages_apart = from == "pages"
                && to == "pages"
                && path.len() > 1
                && source.module.len() > 1
                && path[1] != source.module[1];
            if !(layer(from) < layer(to) || beside) || pages_apart {
                wrong.push(format!("{} imports {}", source.path.display(), path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let sources = sources();
    let files = Files::of(&sources);
    let mut imports: BTreeMap<&Path, BTreeSet<&Path>> = sources
        .iter()
        .filter(|source| !source.module.is_empty())
        .map(|source| (source.path.as_path(), files.imported_by(source)))
        .collect();
    // Remove files that import nothing that is left, until none is. What is left is in a circle or leads to one.
    loop {
        let done: Vec<&Path> = imports
            .iter()
            .filter(|(_, to)| to.iter().all(|file| !imports.contains_key(file)))
            .map(|(file, _)| *file)
            .collect();
        if done.is_empty() {
            break;
        }
        for file in done {
            imports.remove(file);
        }
    }
    let circles: BTreeSet<String> =
        imports.keys().filter_map(|file| circle(file, &imports)).collect();
    let list = circles.into_iter().collect::<Vec<_>>().join("\n");
    assert!(list.is_empty(), "files that import each other in a circle:\n{list}");
}

/// The shortest way from `file` back to itself.
fn circle(file: &Path, imports: &BTreeMap<&Path, BTreeSet<&Path>>) -> Option<String> {
    let mut ways = vec![vec![file]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way[way.len() - 1];
            for next in imports.get(last).into_iter().flatten() {
                if *next == file {
                    let names: Vec<String> =
                        way.iter().map(|file| file.display().to_string()).collect();
                    return Some(names.join(" → "));
                }
                if seen.insert(*next) {
                    longer.push([way.clone(), vec![*next]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

#[test]
fn the_domain_knows_no_request_and_no_page() {
    for source in sources().iter().filter(|source| DOMAIN.contains(&source.top())) {
        for word in ["HttpRequest", "HttpResponse", "ServiceRequest"] {
            assert!(!source.code.contains(word), "{} uses {word}", source.path.display());
        }
    }
}

#[test]
fn pages_write_through_the_domain_or_on_behalf_of_a_session() {
    for source in sources().iter().filter(|source| ["pages", "auth"].contains(&source.top())) {
        // A sign-in has no session yet. Its transaction checks the credential that was verified.
        if source.path.ends_with("auth/first_factor.rs") {
            continue;
        }
        for call in ["db::transaction", "db::long_transaction"] {
            assert!(
                !source.code.contains(call),
                "{} opens a transaction that does not check the session: use session::Requester",
                source.path.display()
            );
        }
    }
}

#[test]
fn every_file_that_starts_a_task_or_a_thread_says_what_a_panic_does() {
    let starts = ["spawn(", "spawn_blocking(", "spawn_local("];
    let mut missing = Vec::new();
    for source in sources() {
        let path = source.path.display().to_string();
        let spawns = starts.iter().any(|start| source.code.contains(start));
        if spawns && !SPAWNS.iter().any(|(file, _)| path.starts_with(file)) {
            missing.push(path);
        }
    }
    assert!(missing.is_empty(), "add what a panic does to SPAWNS: {missing:?}");
}

#[test]
fn only_config_reads_the_environment() {
    // Tests of sites do not read settings, but what the program under test inherits.
    let readers = ["config", "testing"];
    for source in sources().iter().filter(|source| !readers.contains(&source.top())) {
        for word in ["env::var", "env::vars", "dotenvy"] {
            assert!(!source.code.contains(word), "{} reads the environment", source.path.display());
        }
    }
}

#[test]
fn only_state_spells_a_session_key() {
    for source in sources().iter().filter(|source| !source.path.ends_with("session/state.rs")) {
        for word in ["\"actix_identity.", "\"frontdesk.current", "\"frontdesk.new_session"] {
            assert!(!source.code.contains(word), "{} spells a session key", source.path.display());
        }
    }
}

#[test]
fn only_the_owner_of_a_table_writes_it() {
    for source in sources() {
        let flat = source.code.split_whitespace().collect::<Vec<_>>().join(" ");
        for (table, owner) in OWNERS {
            for verb in ["INSERT INTO", "UPDATE", "DELETE FROM", "TRUNCATE"] {
                let writes = flat
                    .match_indices(&format!("{verb} {table}"))
                    .any(|(at, found)| !flat[at + found.len()..].starts_with(is_word));
                // Tests of sites age sessions.
                let may = source.path.to_string_lossy().starts_with(owner)
                    || source.path.ends_with("testing/accounts.rs");
                assert!(!writes || may, "{} writes {table}", source.path.display());
            }
        }
    }
}

/// Statements without LIMIT or GROUP BY whose rows the program collects: the file, and what bounds them.
const BOUNDED_LISTS: [(&str, &str); 12] = [
    ("src/db/migrations.rs", "the migrations"),
    ("src/db/schema_move.rs", "the tables and functions of Frontdesk"),
    ("src/mail/outbox/enqueue.rs", "the limits of one mail"),
    ("src/peers.rs", "the servers"),
    ("src/session/cache/barrier.rs", "the servers"),
    ("src/session/cache/lookup.rs", "the sessions of one batch"),
    ("src/session/last_seen.rs", "the sessions of one batch"),
    ("src/session/list.rs", "the macro above has the LIMIT"),
    ("src/user/email/token.rs", "one link per purpose"),
    ("src/user/groups.rs", "the groups, and the members of one that is removed"),
    ("src/user/import.rs", "the rows of one batch"),
    ("src/user/rate_limit/counters.rs", "the keys of one attempt"),
];

#[test]
fn every_list_that_is_read_as_a_whole_has_a_limit() {
    let mut count = 0;
    for source in sources() {
        let bounded = BOUNDED_LISTS.iter().any(|(path, _)| source.path.ends_with(path));
        for (at, _) in source.code.match_indices(".fetch_all(") {
            let before = &source.code[..at];
            let statement = ["query", "select_"].iter().filter_map(|word| before.rfind(word)).max();
            let statement = &before[statement.unwrap_or_default()..];
            let limits = statement.contains("LIMIT") || statement.contains("GROUP BY");
            let path = source.path.display();
            assert!(bounded || limits, "{path}: no LIMIT in {statement}");
            count += 1;
        }
    }
    assert!(count > 20, "only {count} lists were found");
}

#[test]
fn statements_that_triggers_record_run_only_in_transactions() {
    let mut count = 0;
    for source in sources() {
        let statements = source.code.replace("delete_sessions!(", "sqlx::query!(");
        for statement in statements.split("sqlx::query").skip(1) {
            let flat = statement.split_whitespace().collect::<Vec<_>>().join(" ");
            let recorded =
                ["INSERT INTO users", "UPDATE users", "DELETE FROM users", "DELETE FROM sessions"];
            let writes = recorded.iter().any(|statement| {
                flat.match_indices(statement)
                    .any(|(at, found)| !flat[at + found.len()..].starts_with(is_word))
            });
            let ran = [".execute(", ".fetch_one(", ".fetch_optional(", ".fetch_all("];
            let executor = ran.iter().find_map(|call| flat.split_once(call)).map(|(_, rest)| rest);
            if let Some(executor) = executor.filter(|_| writes) {
                count += 1;
                // On its own, it would be recorded as a change by another client of the database.
                let path = source.path.display();
                let executor = executor.split(')').next().unwrap_or_default();
                assert!(
                    executor.ends_with("connection"),
                    "{path} changes users or deletes sessions outside of a transaction, on {executor}: {flat}"
                );
            }
        }
    }
    assert!(count > 15, "only {count} statements were found");
}

/// A statement that is run on the pool itself is not run again when its plan is out of date.
#[test]
fn every_statement_outside_of_transactions_goes_through_db_on() {
    for source in sources().iter().filter(|source| !source.path.starts_with("src/db/")) {
        let flat: String = source.code.split_whitespace().collect();
        for call in [".fetch(", ".fetch_one(", ".fetch_all(", ".fetch_optional(", ".execute("] {
            for (at, _) in flat.match_indices(call) {
                let argument = flat[at + call.len()..].split(')').next().unwrap_or_default();
                assert!(
                    !argument.ends_with("pool") || argument.starts_with("db::on("),
                    "{}: write `{call}db::on({argument}))`",
                    source.path.display()
                );
            }
        }
    }
}

#[test]
fn every_table_has_an_owner() {
    let mut tables = BTreeSet::new();
    for path in files("migrations", &[".up.sql"]) {
        let text = fs::read_to_string(path).expect("a readable migration");
        for (keyword, creates) in
            [("CREATE TABLE ", true), ("CREATE UNLOGGED TABLE ", true), ("DROP TABLE ", false)]
        {
            for (at, found) in text.match_indices(keyword) {
                let name: String = text[at + found.len()..]
                    .chars()
                    .take_while(|letter| is_word(*letter))
                    .collect();
                if creates {
                    tables.insert(name);
                } else {
                    tables.remove(&name);
                }
            }
        }
    }
    let owned: BTreeSet<String> = OWNERS.iter().map(|(table, _)| (*table).to_owned()).collect();
    assert_eq!(
        tables, owned,
        "tables of the migrations, and those with an owner in tests/arrows.rs"
    );
}

#[test]
fn every_file_says_what_it_is_and_stays_small() {
    for source in sources() {
        let is_tests = source.path.ends_with("tests.rs");
        let path = source.path.display();
        assert!(is_tests || source.text.starts_with("//!"), "{path} does not say what it is");
        let lines = source.text.lines().count();
        assert!(lines <= 400, "{path} has {lines} lines; look for the second idea inside");
    }
}
