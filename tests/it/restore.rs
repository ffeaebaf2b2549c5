//! The chapters Backup and Restore of docs/RUNBOOK.md, run as they are written.

use std::fs;

use crate::support::folder::new_folder;
use crate::support::mail::{Mail, db_mail, db_mails};
use crate::support::server::KEY;
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, Server, runbook};

const ADA: &str = "ada@example.com";

fn run_chapter(title: &str, database: &Database, backup: &str, steps: impl Fn(usize) -> bool) {
    let folder = new_folder("restore-commands");
    fs::create_dir_all(&folder).unwrap();
    let environment = [
        ("DATABASE_URL", database.url.as_str()),
        ("BACKUP", backup),
        ("FRONTDESK_SECRET_KEYS", KEY),
        ("FRONTDESK_DATA_DIR", "/nonexistent"),
    ];
    for step in runbook::steps(title).into_iter().filter(|step| steps(step.number)) {
        let output = step.run(&folder, &environment);
        // The PostgreSQL of the tests runs without fsync, which doctor calls a problem.
        let is_expected = output.status.code() == Some(4) && step.commands.contains("doctor");
        assert!(
            output.status.success() || is_expected,
            "{step:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn the_restore_of_the_runbook_revives_no_session_and_no_link() {
    let database = Database::new();
    let settings = [("FRONTDESK_REGISTRATION", "verified")];
    let server = Server::start(&database, &settings);
    database.db_execute(&format!(
        "INSERT INTO users (id, email, email_canonical, display_name, password_hash, password_changed_at)
         SELECT gen_random_uuid(), email, email, 'User', NULL, now() FROM unnest(ARRAY['{ADA}', 'bob@example.com']) AS email"
    ));
    for email in [ADA, "bob@example.com"] {
        let set = ["user", "set-password", email];
        assert_eq!(crate::command_line::run(&database, &set, PASSWORD).code, 0);
    }
    let mut ada = server.browser();
    assert_eq!(ada.login(ADA, PASSWORD).status, 303);
    server.browser().post("/forgot-password", &[("email", ADA)]);
    let link = format!("/reset-password/{}", db_mail(&database, "reset_password", 1).text("token"));
    let fields = [("email", "eve@example.com"), ("display_name", "Eve"), ("password", PASSWORD)];
    server.browser().post("/register", &fields);
    let registration = db_mail(&database, "verify_registration", 1);
    let registration = format!("/verify-email/{}", registration.text("token"));
    // A deletion that is due soon, and mail that waits.
    database.db_execute(
        "UPDATE users SET deletion_due_at = now() + interval '1 s' WHERE email LIKE 'bob%'",
    );
    database.db_execute("UPDATE mail_outbox SET state = 'waiting', finished_at = NULL");
    server.stop();
    let backup = new_folder("restore-backup");
    fs::create_dir_all(&backup).unwrap();
    let backup = backup.join("backup");
    let backup = backup.to_str().unwrap();
    run_chapter("Backup", &database, backup, |_| true);

    // Since then: signed out, the link was used, a new password, the deletion canceled.
    let server = Server::start(&database, &settings);
    let mut later = server.browser();
    assert_eq!(later.login(ADA, PASSWORD).status, 303);
    let new = [("new_password", OTHER_PASSWORD)];
    let used = server.browser().post(&link, &new);
    assert_eq!(used.status, 303, "{}", used.body);
    let mut ada = ada.on_server(&server.addr);
    assert!(!ada.is_signed_in() && !later.is_signed_in());
    database.db_execute("UPDATE users SET deletion_due_at = NULL");
    server.stop();

    run_chapter("Restore", &database, backup, |number| number != 8);
    let server = Server::start(
        &database,
        &[("FRONTDESK_REGISTRATION", "verified"), ("FRONTDESK_PURGE_INTERVAL", "1s")],
    );
    let mut ada = ada.on_server(&server.addr);
    assert!(!ada.is_signed_in(), "an ended session stays ended");
    assert!(!later.on_server(&server.addr).is_signed_in());
    assert_eq!(server.browser().get(&link).status, 410, "a used link stays used");
    assert_eq!(server.browser().get(&registration).status, 410);
    assert_eq!(db_mails(&database).len(), 0, "no mail is sent twice");
    assert_eq!(server.browser().login(ADA, PASSWORD).status, 303, "the password of the backup");
    assert_eq!(server.browser().login("bob@example.com", PASSWORD).location(), "/account/delete");
    let due = "SELECT count(*) FROM users WHERE deletion_due_at > now() + interval '6 days'";
    assert_eq!(database.db_count(due), 1);

    run_chapter("Restore", &database, backup, |number| number == 8);
    assert_eq!(server.browser().login(ADA, PASSWORD).status, 422);
    let is_for_ada = |mail: &Mail| mail.kind == "new_password_required" && mail.recipient == ADA;
    let mail = db_mails(&database).into_iter().find(is_for_ada).unwrap();
    let link = format!("/reset-password/{}", mail.text("token"));
    assert_eq!(server.browser().post(&link, &new).status, 303);
    assert_eq!(server.browser().login(ADA, OTHER_PASSWORD).status, 303);
}
