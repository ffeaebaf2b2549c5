//! Hooks of a site in the transaction of an event: if one fails, hangs or panics, nothing has happened, on every path
//! that causes the event. `tests/site` records each call, and does what the table `hook_behavior` asks for.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::breakpoint::until;
use crate::support::mail::{db_clear_rate_limits, db_mail};
use crate::support::server::{KEY, Setting};
use crate::support::website::{program, start};
use crate::support::{Browser, Database, PASSWORD, Response, Server, registered};

pub const SITE: &str = "site-under-test";
/// The tables of Frontdesk in `public`, so that the helpers find them, and those of the site in `shop`.
const SETTINGS: [Setting<'static>; 3] =
    [("SHOP_GREETING", "Hello"), ("FRONTDESK_SCHEMA", "public"), ("FRONTDESK_SITE_SCHEMA", "shop")];
const WAYS: [&str; 3] = ["fail", "panic", "hang"];
pub const ADA: &str = "ada@example.com";
pub const BOB: &str = "bob@example.com";

pub fn shop(database: &Database, more: &[Setting<'_>]) -> Server {
    start(SITE, database, &[&SETTINGS[..], more].concat())
}

/// The hooks of `event` do `behavior` from now on, those of other events succeed.
pub fn db_behave(database: &Database, event: &str, behavior: &str) {
    database.db_execute("DELETE FROM shop.hook_behavior");
    database.db_execute(&format!(
        "INSERT INTO shop.hook_behavior (event, behavior) VALUES ('{event}', '{behavior}')"
    ));
}

pub fn db_succeed(database: &Database) {
    database.db_execute("DELETE FROM shop.hook_behavior");
}

/// The calls so far, oldest first.
pub fn db_calls(database: &Database) -> Vec<String> {
    database.db_texts("SELECT event || ' ' || email FROM shop.hook_calls ORDER BY number")
}

/// Runs a command of the site: its exit code, and what it printed.
pub fn run(database: &Database, arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let own = [("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)];
    let mut child = Command::new(program(SITE))
        .args(arguments)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .envs([&own[..], &SETTINGS].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("UTF-8"))
}

/// What must not change if a hook fails.
fn db_state(database: &Database) -> Vec<String> {
    let mut state = database.db_texts(
        "SELECT 'users ' || to_jsonb(u)::text FROM users u
         UNION ALL SELECT 'links ' || to_jsonb(t)::text FROM email_tokens t
         UNION ALL SELECT 'registrations ' || to_jsonb(r)::text FROM registrations r
         UNION ALL SELECT 'invitations ' || to_jsonb(i)::text FROM invitations i
         UNION ALL SELECT 'sessions ' || id FROM sessions
         UNION ALL SELECT 'mails ' || id FROM mail_outbox
         UNION ALL SELECT 'deliveries ' || id FROM event_deliveries
         UNION ALL SELECT 'calls ' || number FROM shop.hook_calls WHERE event NOT LIKE '% done'
         UNION ALL SELECT 'events ' || id || event FROM audit_events",
    );
    state.sort();
    state
}

/// Lets the hook of `event` fail in each way while `act` runs, and checks that nothing happened. Afterwards it succeeds.
fn assert_undone(database: &Database, event: &str, mut act: impl FnMut() -> Refusal) {
    for behavior in WAYS {
        let before = db_state(database);
        db_behave(database, event, behavior);
        let refusal = act();
        assert!(refusal.is_refused, "{event} {behavior}: {}", refusal.text);
        assert_eq!(db_state(database), before, "{event} {behavior}");
        db_clear_rate_limits(database);
    }
    db_succeed(database);
}

/// The answer of a page or a command.
struct Refusal {
    is_refused: bool,
    text: String,
}

impl From<Response> for Refusal {
    /// 503, with the request ID on the page.
    fn from(response: Response) -> Self {
        let id = response.header("x-request-id").unwrap_or("none");
        let is_refused = response.status == 503
            && response.header("retry-after") == Some("5")
            && response.body.contains(id);
        Self { is_refused, text: format!("{response:?}") }
    }
}

impl From<(Option<i32>, String)> for Refusal {
    /// The exit code 1, with the name of the hook.
    fn from((code, text): (Option<i32>, String)) -> Self {
        Self { is_refused: code == Some(1) && text.contains("hook"), text }
    }
}

fn user_count(database: &Database) -> i64 {
    database.db_count("SELECT count(*) FROM users")
}

fn register(browser: &mut Browser, email: &str) -> Response {
    browser.post("/register", &[("email", email), ("display_name", "Ada"), ("password", PASSWORD)])
}

#[test]
fn a_registration_whose_hook_fails_did_not_happen_on_any_page() {
    let database = Database::new();
    let server = shop(&database, &[]);
    assert_undone(&database, "registered", || register(&mut server.browser(), ADA).into());
    for cause in [
        "it was asked to fail",
        "it panicked: it was asked to panic",
        "it took longer than 2.0 s",
        "hooks::registered",
        "on_registered",
    ] {
        until(|| server.log().contains(cause));
    }
    // The hooks run in their order. The table of the site is found, and afterwards that of Frontdesk.
    let mut ada = server.browser();
    assert_eq!(register(&mut ada, ADA).status, 303);
    assert!(ada.is_signed_in());
    assert_eq!(
        db_calls(&database)[..3],
        [
            format!("registered User Ada en {ADA}"),
            format!("registered_next {ADA}"),
            format!("registered_last {ADA}"),
        ]
    );
    // Registrations that are verified: by the link and by the code.
    let verified = shop(&database, &[("FRONTDESK_REGISTRATION", "verified")]);
    let mut bob = verified.browser();
    assert_eq!(register(&mut bob, BOB).status, 303);
    let mail = db_mail(&database, "verify_registration", 1);
    assert_undone(&database, "registered_last", || {
        bob.post("/verify-email", &[("code", mail.text("code"))]).into()
    });
    let link = format!("/verify-email/{}", mail.text("token"));
    assert_undone(&database, "registered_last", || {
        verified.browser().post(&link, &[("password", PASSWORD)]).into()
    });
    assert_eq!(user_count(&database), 1);
    assert_eq!(bob.post("/verify-email", &[("code", mail.text("code"))]).status, 303);
    // Invitations.
    let (code, text) = run(&database, &["user", "invite", "eve@example.com"], "");
    assert_eq!(code, Some(0), "{text}");
    let link = format!("/invitation/{}", db_mail(&database, "invitation", 1).text("token"));
    let fields = [("display_name", "Eve"), ("password", PASSWORD)];
    assert_undone(&database, "registered", || server.browser().post(&link, &fields).into());
    assert_eq!(server.browser().post(&link, &fields).status, 303);
    assert_eq!(user_count(&database), 3);
    let by = |word: &str| db_calls(&database).iter().any(|call| call.starts_with(word));
    assert!(by("registered User") && by("registered Invitation Eve en eve@example.com"));
}

#[test]
fn an_account_whose_hook_fails_is_not_created_by_commands() {
    let database = Database::new();
    drop(shop(&database, &[]));
    let create = ["user", "create", ADA, "--name", "Ada"];
    assert_undone(&database, "registered", || run(&database, &create, PASSWORD).into());
    let (code, text) = run(&database, &create, PASSWORD);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(db_calls(&database)[0], format!("registered Admin Ada en {ADA}"));
    // A line whose hook fails is rejected, and the others are imported.
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("users-with-hooks.csv");
    std::fs::write(&file, "email,name\nbob@example.com,Bob\neve@example.com,Eve\n").unwrap();
    let import = ["user", "import", file.to_str().unwrap()];
    for behavior in WAYS {
        database.db_execute(&format!(
            "INSERT INTO shop.hook_behavior VALUES ('registered', 'eve@example.com', '{behavior}')"
        ));
        let (code, text) = run(&database, &import, "");
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("Line 3: the hook on_registered hooks::registered failed"), "{text}");
        assert_eq!(user_count(&database), 2, "{behavior}");
        db_succeed(&database);
    }
    assert_eq!(run(&database, &import, "").0, Some(0));
    let imported = db_calls(&database).iter().filter(|call| call.contains("Import")).count();
    assert_eq!((user_count(&database), imported), (3, 2), "each account has one call");
}

#[test]
fn a_change_of_email_whose_hook_fails_did_not_happen_on_any_path() {
    let database = Database::new();
    let server = shop(&database, &[]);
    let mut ada = registered(&server, ADA);
    database.db_execute("UPDATE users SET email_verified_at = now()");
    assert_eq!(ada.post("/account/email", &[("email", "new@example.com")]).status, 303);
    let mail = db_mail(&database, "change_email", 1);
    let code = [("change_code", mail.text("code"))];
    assert_undone(&database, "email_changed", || ada.post("/account/email/code", &code).into());
    let link = format!("/verify-email/{}", mail.text("token"));
    assert_undone(&database, "email_changed", || ada.post(&link, &[]).into());
    assert_eq!(ada.post("/account/email/code", &code).status, 303);
    let last = || {
        let mut calls = db_calls(&database).into_iter();
        calls.rfind(|call| call.starts_with("email_changed")).unwrap_or_default()
    };
    assert_eq!(last(), format!("email_changed {ADA} new@example.com"));
    // Undone.
    let mail = db_mail(&database, "email_changed", 1);
    let undo = format!("/undo-email-change/{}", mail.text("undo_token"));
    assert_undone(&database, "email_changed", || server.browser().post(&undo, &[]).into());
    assert_eq!(server.browser().post(&undo, &[]).status, 303);
    assert_eq!(last(), format!("email_changed new@example.com {ADA}"));
    // On the command line, also if only upper and lower case differ.
    for (from, to) in [(ADA, "Ada@example.com"), ("Ada@example.com", "other@example.com")] {
        let set = ["user", "set-email", from, to];
        assert_undone(&database, "email_changed", || run(&database, &set, "").into());
        assert_eq!(run(&database, &set, "").0, Some(0));
        assert_eq!(last(), format!("email_changed {from} {to}"));
    }
}

#[test]
fn a_deletion_whose_hook_fails_did_not_happen_and_does_not_stop_others() {
    let database = Database::new();
    let server = shop(&database, &[]);
    registered(&server, ADA);
    registered(&server, BOB);
    drop(server);
    assert_undone(&database, "deletion", || {
        run(&database, &["user", "delete", ADA, "--yes"], "").into()
    });
    // The background job: the other account is deleted, although it is due later.
    database.db_execute(&format!(
        "INSERT INTO shop.hook_behavior VALUES ('deletion', '{ADA}', 'hang')"
    ));
    database.db_execute(&format!(
        "UPDATE users SET deletion_due_at = now() - interval '1 day'
                          - CASE email WHEN '{ADA}' THEN interval '1 hour' ELSE interval '0' END"
    ));
    let server = shop(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s")]);
    until(|| user_count(&database) == 1);
    assert_eq!(database.db_texts("SELECT email FROM users"), [ADA]);
    until(|| database.db_count("SELECT count(*) FROM queue_failures") == 1);
    let failure = "SELECT last_error FROM queue_failures WHERE queue = 'deletions'";
    assert_eq!(
        database.db_texts(failure),
        ["the hook on_deletion hooks::deletion failed: it took longer than 2.0 s"]
    );
    db_succeed(&database);
    database.db_execute("DELETE FROM queue_failures");
    until(|| user_count(&database) == 0);
    let deletions = db_calls(&database).into_iter().filter(|call| call.starts_with("deletion "));
    assert_eq!(
        deletions.collect::<Vec<_>>(),
        [format!("deletion {BOB}"), format!("deletion {ADA}")]
    );
    drop(server);
}

#[test]
fn an_export_has_the_values_of_the_site_or_does_not_begin() {
    let database = Database::new();
    let server = shop(&database, &[]);
    let mut ada = registered(&server, ADA);
    database.db_execute("UPDATE users SET email_verified_at = now()");
    assert_undone(&database, "export", || ada.post("/account/export", &[]).into());
    db_behave(&database, "export", "huge");
    assert_eq!(ada.post("/account/export", &[]).status, 503, "more than 16 MiB");
    until(|| server.log().contains("the exports of the site are larger than 16 MiB"));
    db_succeed(&database);
    db_clear_rate_limits(&database);
    let exported = "SELECT count(*) FROM mail_outbox WHERE kind = 'data_exported'";
    assert_eq!(database.db_count(exported), 0, "no notice of an export that did not begin");
    let file = ada.post("/account/export", &[]);
    assert_eq!(file.status, 200);
    let data: Value = serde_json::from_str(&file.body).unwrap();
    assert_eq!(data["website"]["shop"]["lines"][0], "one\ntwo");
    assert_eq!(data["account"]["email"], ADA);
    assert_eq!(database.db_count(exported), 1);
}

#[test]
fn a_hook_cannot_leave_half_a_transaction_or_keep_its_locks() {
    let database = Database::new();
    let server = shop(&database, &[("FRONTDESK_DATABASE_POOL_SIZE", "2")]);
    for (behavior, cause) in [
        ("pg_sleep", "hooks::registered_next failed"),
        ("ignore", "a statement failed, and the hook ignored that: current transaction is aborted"),
        ("rollback", "it ended the transaction, which belongs to Frontdesk"),
    ] {
        let before = db_state(&database);
        db_behave(&database, "registered_next", behavior);
        let refusal = Refusal::from(register(&mut server.browser(), ADA));
        assert!(refusal.is_refused, "{behavior}: {}", refusal.text);
        if behavior != "pg_sleep" {
            until(|| server.log().contains(cause));
        }
        // A statement of the hook that was given up ends soon.
        let running = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND query LIKE '%pg_sleep(600)%' AND state = 'active' AND pid <> pg_backend_pid()";
        until(|| database.db_count(running) == 0);
        // What the hook did after its rollback is not undone: here it did nothing.
        assert_eq!(user_count(&database), 0, "{behavior}");
        if behavior != "rollback" {
            assert_eq!(db_state(&database), before, "{behavior}");
        }
    }
    // Three hooks of 1.8 seconds: each one is quick enough, all of them are not.
    db_succeed(&database);
    database.db_execute(
        "INSERT INTO shop.hook_behavior
         VALUES ('registered', NULL, 'slow'), ('registered_next', NULL, 'slow'), ('registered_last', NULL, 'slow')",
    );
    let refusal = Refusal::from(register(&mut server.browser(), ADA));
    assert!(refusal.is_refused, "{}", refusal.text);
    until(|| server.log().contains("hooks::registered_last"));
    // The settings of the connections are as before.
    db_succeed(&database);
    for number in 0..6 {
        assert_eq!(
            register(&mut server.browser(), &format!("user{number}@example.com")).status,
            303
        );
        db_clear_rate_limits(&database);
    }
}
