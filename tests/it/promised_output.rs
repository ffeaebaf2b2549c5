//! docs/stable/json.txt and docs/stable/headers.txt: the fields of the command line's JSON, and the headers of responses,
//! on which scripts and proxies rely.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::command_line::run;
use crate::fields::fields;
use crate::promised_schema::compare;
use crate::support::folder::new_folder;
use crate::support::{Browser, Database, PASSWORD, Response, Server, registered};

/// The commands with `--json`, from the list of all commands.
fn commands_with_json() -> BTreeSet<String> {
    let mut command = String::new();
    let mut found = BTreeSet::new();
    for line in fs::read_to_string("docs/stable/cli.txt").unwrap().lines() {
        if let Some(usage) = line.strip_prefix("frontdesk ") {
            let words = usage.split(' ').take_while(|word| word.starts_with(char::is_lowercase));
            command = words.collect::<Vec<_>>().join(" ");
        } else if line.trim() == "--json" {
            found.insert(command.clone());
        }
    }
    found
}

/// Rows for every list.
fn db_fill(database: &Database) -> Browser {
    let server = Server::start(database, &[]);
    let ada = registered(&server, "ada@example.com");
    let failed = server.browser().login("ada@example.com", "not the password");
    assert_eq!(failed.status, 422);
    for command in [
        &["group", "add", "editors", "--title", "Editors"][..],
        &["group", "add-member", "editors", "ada@example.com"],
        &["mail", "suppress", "gone@example.com"],
    ] {
        assert_eq!(run(database, command, "").code, 0, "{command:?}");
    }
    database.db_execute(
        "INSERT INTO event_deliveries
                (id, event, hook, user_id, sealed, sealed_with, state, finished_at, retry_until, last_error)
         SELECT gen_random_uuid(), 'after_sign_in', 'shop::greet', id, '\\x00', '0123456789abcdef', 'failed', now(),
                now(), 'refused'
           FROM users",
    );
    database.db_execute(
        "INSERT INTO queue_failures (queue, row_id, attempts, next_attempt_at, last_error)
         VALUES ('deletions', gen_random_uuid(), 1, now(), 'refused'),
                ('deletions', gen_random_uuid(), 9, NULL, 'refused')",
    );
    ada
}

#[test]
fn the_promised_fields_of_json_are_what_they_were() {
    let database = Database::new();
    let ada = db_fill(&database);
    let file = new_folder("promised_output").join("users.csv");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "email,display_name\nbob@example.com,Bob\nnobody,Nobody\n").unwrap();
    let file = file.to_str().unwrap();
    let cookie = ada.session().unwrap();
    // In this order: the last ones end the sessions and remove the group.
    let commands: [(&[&str], &[&str]); 23] = [
        (&["audit"], &[]),
        (&["doctor"], &[]),
        (&["event", "list"], &[]),
        (&["group", "list"], &[]),
        (&["group", "show"], &["editors"]),
        (&["mail", "list"], &[]),
        (&["mail", "list"], &["--suppressed"]),
        (&["migrate", "info"], &[]),
        (&["queue", "list"], &[]),
        (&["session", "list"], &[]),
        (&["session", "stats"], &[]),
        (&["session", "whose"], &[]),
        (&["template", "list"], &[]),
        (&["user", "list"], &[]),
        (&["user", "show"], &["ada@example.com"]),
        (&["user", "import"], &[file]),
        (&["group", "add"], &["authors", "--title", "Authors"]),
        (&["group", "remove-member"], &["editors", "ada@example.com"]),
        (&["group", "add-member"], &["editors", "ada@example.com"]),
        (&["group", "remove"], &["authors", "--yes"]),
        (&["session", "revoke"], &["--all", "--yes"]),
        (&["session", "purge"], &[]),
        (&["user", "require-new-password"], &["--all", "--yes"]),
    ];
    let run_here: BTreeSet<String> =
        commands.iter().map(|(command, _)| command.join(" ")).collect();
    assert_eq!(run_here, commands_with_json());
    let mut text = String::new();
    for (command, arguments) in commands {
        let output = run(&database, &[command, &["--json"], arguments].concat(), cookie);
        let values = serde_json::Deserializer::from_str(&output.out).into_iter::<Value>();
        let mut names = BTreeSet::new();
        for value in values {
            let value =
                value.unwrap_or_else(|error| panic!("{command:?}: {error}: {}", output.out));
            // A list is shown as its rows.
            match &value {
                Value::Array(rows) => rows.iter().for_each(|row| fields(row, "", &mut names)),
                value => fields(value, "", &mut names),
            }
        }
        assert!(!names.is_empty(), "{command:?} says nothing: {}", output.error);
        let suppressed = arguments.iter().filter(|argument| **argument == "--suppressed");
        let name = [command, &suppressed.copied().collect::<Vec<_>>()].concat().join(" ");
        text += &format!("## frontdesk {name} --json\n");
        names.iter().for_each(|name| text += &format!("{name}\n"));
        text.push('\n');
    }
    compare("json.txt", &text);
}

/// The headers of a response and their values, without those that differ from one response to the next.
fn headers(response: &Response) -> Vec<String> {
    let mut found: Vec<String> = response
        .headers
        .iter()
        .map(|(name, value)| {
            let value = match name.to_ascii_lowercase().as_str() {
                "date" | "content-length" | "x-request-id" | "etag" | "last-modified" => "…",
                "set-cookie" => value.split('=').next().unwrap(),
                _ => value,
            };
            format!("{}: {value}", name.to_ascii_lowercase())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn the_promised_headers_are_what_they_were() {
    let database = Database::new();
    let public = [("FRONTDESK_PUBLIC_URL", "https://desk.example.com")];
    let server = Server::start(&database, &public);
    let mut ada = registered(&server, "ada@example.com");
    let mut stranger = server.browser();
    let page = stranger.get("/login");
    let asset =
        page.body.split('"').find(|part| part.ends_with("/frontdesk.css")).unwrap().to_owned();
    let mut signed_out = ada.clone();
    let responses = [
        ("A page for everyone: /", stranger.get("/")),
        ("The sign-in page: /login", page),
        ("A page that needs a sign-in, for a stranger: /account", stranger.get("/account")),
        ("A page of the account: /account", ada.get("/account")),
        ("An unknown path", stranger.get("/nowhere")),
        ("An asset", stranger.get(&asset)),
        ("A sign-in", server.browser().login("ada@example.com", PASSWORD)),
        ("A sign-out", signed_out.post("/logout", &[])),
        ("/healthz", stranger.get("/healthz")),
        ("/readyz", stranger.get("/readyz")),
    ];
    let text: String = responses
        .iter()
        .map(|(name, response)| {
            format!("## {name}: {}\n{}\n\n", response.status, headers(response).join("\n"))
        })
        .collect();
    compare("headers.txt", &text);
}
