//! Every cell of the rule table, through real pages and commands, on two servers. A change of email and its
//! undo are applied by the engine, in the transaction that changes the row.

use std::process::Command;
use std::time::{Duration, Instant};

use frontdesk::audit::Origin;
use frontdesk::crypto::secret::Secret;
use frontdesk::db;
use frontdesk::id::{SessionId, UserId};
use frontdesk::session::await_invalidation;
use frontdesk::user::session_rules;
use frontdesk::user::session_rules::AccountEvent;
use frontdesk::user::session_rules::RULES;
use frontdesk::user::session_rules::SessionEffect;
use frontdesk::user::session_rules::SignInInProgress;

use crate::command_line::run;
use crate::support::database::session_cookie;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered};

const EMAIL: &str = "ada@example.com";
/// The email of the account after a change of email and after its undo.
const NEW_EMAIL: &str = "new@example.com";
const PURPOSES: [&str; 4] = ["change_email", "reset_password", "undo_email_change", "verify_email"];

/// A mailed link of each purpose to each email.
fn links() -> impl Iterator<Item = (&'static str, &'static str)> {
    PURPOSES.into_iter().flat_map(|purpose| [EMAIL, NEW_EMAIL].map(|email| (purpose, email)))
}

fn servers(database: &Database) -> [Server; 2] {
    [Server::start(database, &[]).until_live(), Server::start(database, &[]).until_live()]
}

fn id_of(database: &Database, condition: &str) -> String {
    database
        .db_texts(&format!("SELECT id::text FROM sessions WHERE {condition} ORDER BY id DESC"))
        .remove(0)
}

/// Triggers the event, in `current`'s browser if it happens on a page.
fn happen(event: AccountEvent, database: &Database, current: &mut Browser) {
    let command = |arguments: &[&str], input: &str| {
        let output = run(database, arguments, input);
        assert_eq!(output.code, 0, "{arguments:?}: {}", output.error);
    };
    let mut post = |path: &str, fields: &[(&str, &str)]| {
        let answer = current.post(path, fields);
        assert_eq!(answer.status, 303, "{path}: {}", answer.body);
    };
    match event {
        AccountEvent::SignedOut => post("/logout", &[]),
        AccountEvent::OthersEnded => post("/account/sessions/revoke-others", &[]),
        AccountEvent::Reauthenticated => post("/account/confirm", &[("password", PASSWORD)]),
        AccountEvent::PasswordChanged => post(
            "/account/password",
            &[("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)],
        ),
        AccountEvent::PasswordReset => {
            command(&["user", "set-password", EMAIL], &format!("{OTHER_PASSWORD}\n"));
        }
        AccountEvent::RoleChanged => command(&["user", "promote", EMAIL], ""),
        AccountEvent::Disabled => command(&["user", "disable", EMAIL], ""),
        AccountEvent::DeletionRequested => post("/account/delete", &[]),
        AccountEvent::Deleted => command(&["user", "delete", EMAIL, "--yes"], ""),
        AccountEvent::EmailChanged | AccountEvent::EmailChangeUndone => {
            if let Some(secret) = apply_in_engine(event, database) {
                current.cookies.insert("session".to_owned(), session_cookie(&secret));
            }
        }
    }
}

/// Changes the email and applies its rule in one transaction, without a page.
fn apply_in_engine(event: AccountEvent, database: &Database) -> Option<Secret> {
    let user: UserId = database.db_texts("SELECT id::text FROM users").remove(0).parse().unwrap();
    let current: SessionId = id_of(database, "ip_address IS NULL").parse().unwrap();
    let pool = database.pool.clone();
    database.runtime.block_on(async move {
        let applied = db::transaction::<_, sqlx::Error, _>(&pool, move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE users SET email = 'new@example.com', email_canonical = 'new@example.com'",
                )
                .execute(&mut *connection)
                .await?;
                session_rules::apply(connection, event, user, Some(current), &Origin::default()).await
            })
        })
        .await
        .unwrap();
        await_invalidation(&pool, None).await;
        applied.secret
    })
}

#[test]
fn every_cell_of_the_rule_table_holds_on_two_servers() {
    for rule in &RULES {
        let database = Database::new();
        let servers = servers(&database);
        let mut current = registered(&servers[0], EMAIL);
        // Marks the session that triggers the event.
        database.db_execute("UPDATE sessions SET ip_address = NULL");
        let mut other = servers[1].browser();
        other.login(EMAIL, PASSWORD);
        let mut remembered = servers[1].browser();
        remembered
            .post("/login", &[("email", EMAIL), ("password", PASSWORD), ("remember_me", "on")]);
        let ids = [
            id_of(&database, "ip_address IS NULL"),
            id_of(&database, "ip_address IS NOT NULL AND NOT remembered"),
            id_of(&database, "remembered"),
        ];
        database.db_execute("DELETE FROM email_tokens");
        for (purpose, email) in links() {
            database.db_execute(&format!(
                "INSERT INTO email_tokens (token_digest, purpose, user_id, email, email_canonical, expires_at)
                 SELECT sha256('{purpose} {email}'), '{purpose}', id, '{email}', '{email}', now() + interval '1 day' FROM users"
            ));
        }
        let copy = current.clone();
        for server in &servers {
            for browser in [&current, &other, &remembered] {
                assert!(browser.on_server(&server.addr).is_signed_in());
            }
        }
        happen(rule.event, &database, &mut current);
        let on_both = |browser: &Browser, what: &str, expected: bool| {
            for server in &servers {
                let is = browser.on_server(&server.addr).is_signed_in();
                assert_eq!(is, expected, "{}: {what}", rule.description);
            }
        };
        let has_row = |id: &str, fate: SessionEffect| {
            let rows =
                database.db_count(&format!("SELECT count(*) FROM sessions WHERE id = '{id}'"));
            assert_eq!(
                rows,
                i64::from(fate != SessionEffect::Ends),
                "{}: row of {id}",
                rule.description
            );
        };
        on_both(&copy, "a copy of the old cookie", rule.current == SessionEffect::Stays);
        on_both(&current, "the current session", rule.current != SessionEffect::Ends);
        on_both(&other, "another session", rule.others != SessionEffect::Ends);
        on_both(&remembered, "a remembered session", rule.others != SessionEffect::Ends);
        for (id, fate) in ids.iter().zip([rule.current, rule.others, rule.others]) {
            has_row(id, fate);
        }
        let left = database
            .db_texts("SELECT purpose || ' ' || email FROM email_tokens ORDER BY purpose, email");
        let own = match rule.event {
            AccountEvent::EmailChanged | AccountEvent::EmailChangeUndone => NEW_EMAIL,
            _ => EMAIL,
        };
        let stays = |(purpose, email): &(&str, &str)| !rule.links.ends(purpose, *email != own);
        let expected: Vec<String> =
            links().filter(stays).map(|(purpose, email)| format!("{purpose} {email}")).collect();
        assert_eq!(left, expected, "{}: links", rule.description);
    }
    println!("{} rows, six cells each, on two servers", RULES.len());
}

/// Polls until `condition` is true, for at most 20 seconds.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(20), "still waiting for: {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

#[test]
fn a_sign_in_in_progress_succeeds_or_is_refused_as_the_rule_table_says() {
    for rule in &RULES {
        let database = Database::new();
        let servers = servers(&database);
        let mut current = registered(&servers[0], EMAIL);
        database.db_execute("UPDATE sessions SET ip_address = NULL");
        // Until the lock is released, no one can change the row, and no session is written. Then the waiting
        // statements run in the order of their arrival: first the event, then the sign-in whose password was
        // verified before.
        let _on = database.runtime.enter();
        let mut holder = database.runtime.block_on(database.pool.acquire()).unwrap();
        let mut hold = |sql: &'static str| {
            database.runtime.block_on(sqlx::query(sql).execute(&mut *holder)).unwrap();
        };
        let waiting = |like: &str| {
            database.db_count(&format!(
                "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ILIKE '%{like}%'"
            )) > 0
        };
        hold("BEGIN");
        hold("SELECT FROM users FOR UPDATE");
        let mut pending = servers[1].browser();
        let answer = std::thread::scope(|scope| {
            let database = &database;
            let happens = scope.spawn(move || happen(rule.event, database, &mut current));
            until("the event is done or waits", || happens.is_finished() || waiting(""));
            let pending = &mut pending;
            let signs_in = scope.spawn(move || pending.login(EMAIL, PASSWORD));
            until("a sign-in whose password was verified", || waiting("FOR SHARE"));
            hold("COMMIT");
            happens.join().unwrap();
            signs_in.join().unwrap()
        });
        let begins = rule.sign_ins == SignInInProgress::Begins;
        assert_eq!(
            answer.status,
            if begins { 303 } else { 422 },
            "{}: {answer:?}",
            rule.description
        );
        for server in &servers {
            assert_eq!(
                pending.on_server(&server.addr).is_signed_in(),
                begins,
                "{}",
                rule.description
            );
        }
        let rows = database.db_count("SELECT count(*) FROM sessions WHERE ip_address IS NOT NULL");
        assert_eq!(rows, i64::from(begins), "{}", rule.description);
    }
}

#[test]
fn the_rule_table_in_the_document_matches_the_code() {
    let document = std::fs::read_to_string("docs/SECURITY.md").unwrap();
    let table = session_rules::markdown();
    assert_eq!(table.lines().count(), RULES.len() + 2);
    assert!(document.contains(&table), "docs/SECURITY.md should have:\n{table}");
}

#[test]
fn only_the_rule_table_revokes_the_sessions_of_a_user() {
    // Other callers of these functions would bypass the rule table.
    let found = Command::new("grep")
        .args(["-rlE", r"revoke::(all_of_user|of_user|rotate)\(", "src"])
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    let mut files: Vec<&str> = found.lines().collect();
    files.sort_unstable();
    // The command that revokes all sessions of an account is not an event of the account.
    assert_eq!(files, ["src/cli/session.rs", "src/user/session_rules.rs"]);
}

#[test]
fn only_the_first_factor_creates_sessions_of_a_user() {
    let found = Command::new("grep")
        .args(["-rlE", r"\bNewSession\b|sessions\.create\(|store\.create\(", "src"])
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    // The module for the tests of sites writes sessions without a sign-in.
    let others = ["src/session/", "src/testing/"];
    let is_other = |file: &&str| !others.iter().any(|folder| file.contains(folder));
    let files: Vec<&str> = found.lines().filter(is_other).collect();
    assert_eq!(files, ["src/auth/first_factor.rs"]);
}
