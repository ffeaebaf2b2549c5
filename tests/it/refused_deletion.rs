//! Accounts whose deletion is refused by a foreign key of another table, for example of a site.

use crate::command_line::run;
use crate::support::breakpoint::until;
use crate::support::{Database, PASSWORD, Server, registered};

#[test]
fn a_foreign_key_refuses_a_deletion_completely_and_stops_no_other_account() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_PURGE_INTERVAL", "1s")]);
    for email in ["ada@example.com", "bob@example.com"] {
        registered(&server, email);
    }
    database.db_execute(
        "CREATE TABLE orders (buyer uuid CONSTRAINT orders_buyer_fkey REFERENCES users (id))",
    );
    database.db_execute("GRANT SELECT ON orders TO PUBLIC");
    database.db_execute("INSERT INTO orders SELECT id FROM users WHERE email LIKE 'ada%'");
    let sessions = "SELECT count(*) FROM sessions";
    let before = database.db_count(sessions);
    // The one that is refused is due first.
    database.db_execute(
        "UPDATE users SET deletion_due_at = now() - CASE WHEN email LIKE 'ada%' THEN interval '2 days' ELSE interval '1 day' END",
    );
    until(|| database.db_count("SELECT count(*) FROM users") == 1);
    assert_eq!(database.db_texts("SELECT email FROM users"), ["ada@example.com"]);
    assert_eq!(database.db_count(sessions), before - 1, "only those of the deleted account");
    let failed = "SELECT details->>'constraint' || ' ' || (details->>'table') || ' ' || actor
                    FROM audit_events JOIN users ON users.id = user_id WHERE event = 'deletion_failed'";
    until(|| {
        database
            .db_texts(failed)
            .first()
            .is_some_and(|text| text == "orders_buyer_fkey orders system")
    });
    until(|| server.log().contains("orders_buyer_fkey"));
    let mut ada = server.browser();
    assert_eq!(ada.login("ada@example.com", PASSWORD).location(), "/account/delete");
    let page = ada.get("/account/delete").body;
    let words =
        "We couldn&#39;t delete your account. Please contact the site&#39;s administrators.";
    assert!(page.contains(words), "{page}");
    assert!(page.contains("Keep my account"));
    let output = run(&database, &["user", "delete", "ada@example.com", "--yes"], "");
    assert_eq!(output.code, 1);
    assert!(
        output.error.contains("orders_buyer_fkey") && output.error.contains("not deleted"),
        "{}",
        output.error
    );
    let by_operator =
        "SELECT count(*) FROM audit_events WHERE event = 'deletion_failed' AND actor = 'operator'";
    assert_eq!(database.db_count(by_operator), 1);
    // Once the cause is removed, the account is deleted.
    database.db_execute("DELETE FROM orders");
    let output = run(&database, &["queue", "retry", "--all"], "");
    assert_eq!(output.code, 0, "{}", output.error);
    until(|| database.db_count("SELECT count(*) FROM users") == 0);
}

/// A constraint that is checked at the commit.
#[test]
fn a_deferred_foreign_key_refuses_a_deletion_too() {
    let database = Database::new();
    let server = Server::start(&database, &[]);
    registered(&server, "ada@example.com");
    database.db_execute(
        "CREATE TABLE orders (buyer uuid CONSTRAINT orders_buyer_fkey REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)",
    );
    database.db_execute("GRANT SELECT ON orders TO PUBLIC");
    database.db_execute("INSERT INTO orders SELECT id FROM users");
    let output = run(&database, &["user", "delete", "ada@example.com", "--yes"], "");
    assert_eq!(output.code, 1);
    assert!(output.error.contains("orders_buyer_fkey"), "{}", output.error);
    assert_eq!(
        database.db_count("SELECT count(*) FROM sessions JOIN users ON users.id = user_id"),
        1
    );
    assert_eq!(
        database.db_count("SELECT count(*) FROM audit_events WHERE event = 'deletion_failed'"),
        1
    );
    assert_eq!(
        database.db_count("SELECT count(*) FROM audit_events WHERE event = 'account_deleted'"),
        0
    );
}
