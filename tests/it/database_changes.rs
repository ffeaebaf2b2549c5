//! What other clients of the database change is recorded in the audit log, and nothing that Frontdesk does is.

use std::collections::BTreeSet;

use frontdesk::audit::EventKind;

use crate::command_line::run;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

const EMAIL: &str = "ada@example.com";

/// The events that triggers recorded, in their order.
fn db_recorded(database: &Database) -> Vec<String> {
    database.db_texts(
        "SELECT concat_ws(' ', event, details->>'cause', details->>'count', details->>'role',
                          CASE WHEN user_id = (SELECT id FROM users WHERE email_canonical LIKE 'ada@%') THEN 'ada' END)
           FROM audit_events WHERE actor = 'database' ORDER BY id",
    )
}

#[test]
fn changes_in_psql_are_recorded_with_the_database_role() {
    let (server, database) = site();
    let mut ada = registered(&server, EMAIL);
    registered(&server, "bob@example.com");
    database.db_create_sessions(EMAIL, 2);
    for statement in [
        "UPDATE users SET display_name = 'Ada L.', email_verified_at = now()",
        "UPDATE users SET role = 'admin' WHERE email = 'ada@example.com'",
        "UPDATE users SET role = role, email = email",
        "UPDATE users SET email = 'Ada@example.com' WHERE email = 'ada@example.com'",
        "UPDATE users SET password_hash = 'x' WHERE email = 'Ada@example.com'",
        "UPDATE users SET password_hash = NULL WHERE email = 'Ada@example.com'",
        "DELETE FROM sessions WHERE id = (SELECT id FROM sessions ORDER BY created_at DESC LIMIT 1)",
        "UPDATE users SET disabled_at = now() WHERE email = 'Ada@example.com'",
        "UPDATE users SET disabled_at = now() + interval '1 hour' WHERE email = 'Ada@example.com'",
        "UPDATE users SET disabled_at = NULL WHERE email = 'Ada@example.com'",
        "UPDATE sessions SET last_seen_at = now()",
        "DELETE FROM users WHERE email = 'bob@example.com'",
        "TRUNCATE sessions",
    ] {
        database.db_execute(statement);
    }
    let expected = [
        "role_changed admin ada",
        "email_changed ada",
        "password_changed ada",
        "password_invalidated ada",
        "session_ended revoked 1 ada",
        "account_disabled ada",
        "session_ended disabled 2 ada",
        "account_enabled ada",
        "account_deleted",
        "session_ended deleted 1",
        "all_sessions_ended",
    ];
    let recorded = db_recorded(&database);
    assert_eq!(
        recorded.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        expected.into_iter().collect::<BTreeSet<_>>()
    );
    assert_eq!(recorded.len(), expected.len(), "{recorded:?}");
    for event in database.db_texts("SELECT DISTINCT event FROM audit_events") {
        assert!(EventKind::parse(&event).is_some(), "the program does not know {event}");
    }
    let without_role = "SELECT count(*) FROM audit_events
                         WHERE (actor = 'database') <> (details->>'database_role' IS NOT DISTINCT FROM session_user)";
    assert_eq!(database.db_count(without_role), 0);
    let ended =
        "SELECT count(*) FROM audit_events WHERE actor = 'database' AND session_id IS NOT NULL";
    assert_eq!(database.db_count(ended), 2, "an event about one session names it");
    // The command and the page show them.
    let log = run(&database, &["audit", "--event", "account_disabled"], "").out;
    assert!(log.contains("database") && log.contains("\"database_role\""), "{log}");
    assert!(!ada.is_signed_in());
    assert_eq!(run(&database, &["user", "set-password", "Ada@example.com"], PASSWORD).code, 0);
    assert_eq!(ada.login(EMAIL, PASSWORD).status, 303);
    let page = ada.get("/account/activity").body;
    for words in [
        "Account disabled",
        "2 sessions ended: account disabled",
        "by an administrator, in the database",
    ] {
        assert!(page.contains(words), "{words} is missing: {page}");
    }
}

#[test]
fn enabling_a_user_who_was_disabled_in_psql_brings_no_session_back() {
    let (server, database) = site();
    let mut ada = registered(&server, EMAIL);
    let mut bob = registered(&server, "bob@example.com");
    database.db_execute("UPDATE users SET disabled_at = now() WHERE email = 'ada@example.com'");
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 1);
    database.db_execute("UPDATE users SET disabled_at = NULL");
    assert!(!ada.is_signed_in() && bob.is_signed_in());
    // Disabled while no trigger watched, as before the migration.
    database.db_execute("ALTER TABLE users DISABLE TRIGGER users_changed_in_database");
    database.db_execute("UPDATE users SET disabled_at = now() WHERE email = 'bob@example.com'");
    database.db_execute("ALTER TABLE users ENABLE TRIGGER users_changed_in_database");
    database.db_execute("UPDATE users SET disabled_at = NULL");
    assert!(!bob.is_signed_in());
}

#[test]
fn a_role_without_privileges_on_the_audit_log_is_recorded_and_cannot_call_the_functions() {
    let (server, database) = site();
    registered(&server, EMAIL);
    let role = format!("clerk_{}", std::process::id());
    for statement in [
        format!("CREATE ROLE {role}"),
        format!("GRANT SELECT, DELETE ON sessions TO {role}"),
        format!("GRANT USAGE, CREATE ON SCHEMA public TO {role}"),
    ] {
        database.db_execute(&statement);
    }
    let mut clerk = database.db_begin(&format!("SET LOCAL ROLE {role}"));
    // A table of this name must not be found by the function, which runs with the rights of the owner.
    clerk.db_execute("CREATE TEMPORARY TABLE audit_events (event text, user_id uuid, session_id uuid, actor text, details jsonb)");
    clerk.db_execute("DELETE FROM sessions");
    clerk.db_execute("COMMIT");
    assert_eq!(db_recorded(&database), ["session_ended revoked 1 ada"]);
    for function in ["audit_deleted_sessions()", "audit_truncated_table()", "audit_changed_user()"]
    {
        let may = format!(
            "SELECT has_function_privilege('{role}', '{function}', 'EXECUTE')::int::bigint"
        );
        assert_eq!(database.db_count(&may), 0, "{function}");
    }
    database.db_execute(&format!("DROP OWNED BY {role}"));
    database.db_execute(&format!("DROP ROLE {role}"));
}

#[test]
fn no_page_and_no_command_is_recorded_as_the_database() {
    let database = Database::new();
    let server = Server::start(&database, &[]);
    registered(&server, EMAIL);
    // A hash with other parameters is replaced at the next sign-in.
    let other = [
        ("FRONTDESK_ARGON2_MEMORY_KIB", "20480"),
        ("FRONTDESK_PURGE_INTERVAL", "1s"),
        ("FRONTDESK_SESSIONS_PER_USER", "2"),
    ];
    let server = Server::start(&database, &other);
    let mut ada = server.browser();
    assert_eq!(ada.login(EMAIL, PASSWORD).status, 303);
    for (path, fields) in [
        ("/account/profile", &[("display_name", "Ada L.")][..]),
        ("/account/sessions/revoke-others", &[]),
        ("/account/password", &[("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)]),
        ("/account/email", &[("email", "new@example.com")]),
        ("/logout", &[]),
    ] {
        assert_eq!(ada.post(path, fields).status, 303, "{path}");
    }
    for _ in 0..3 {
        assert_eq!(server.browser().login(EMAIL, OTHER_PASSWORD).status, 303);
    }
    for (arguments, input) in [
        (&["user", "create", "bob@example.com", "--name", "Bob"][..], PASSWORD),
        (&["user", "promote", EMAIL], ""),
        (&["user", "set-password", EMAIL], PASSWORD),
        (&["user", "disable", EMAIL], ""),
        (&["user", "enable", EMAIL], ""),
        (&["user", "unlock", EMAIL], ""),
        (&["user", "delete", "bob@example.com", "--yes"], ""),
    ] {
        let output = run(&database, arguments, input);
        assert_eq!(output.code, 0, "{arguments:?}: {}", output.error);
    }
    database.db_create_sessions(EMAIL, 2);
    assert_eq!(run(&database, &["session", "revoke", "--user", EMAIL], "").code, 0);
    database.db_create_sessions(EMAIL, 2);
    assert_eq!(run(&database, &["session", "revoke", "--all", "--yes"], "").code, 0);
    database.db_create_sessions_seen(EMAIL, 2, "3 hours");
    assert_eq!(run(&database, &["session", "purge"], "").code, 0);
    assert_eq!(ada.login(EMAIL, PASSWORD).status, 303);
    assert_eq!(ada.post("/account/delete", &[]).status, 303);
    assert_eq!(db_recorded(&database), Vec::<String>::new());
}
