//! Emails and names as people type and paste them, at every place where they can: pages, command line, import.

use sqlx::AssertSqlSafe;

use crate::command_line::{Output, run};
use crate::support::mail::{db_clear_rate_limits, db_mail};
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, registered, site};

/// An email and characters that come along when it is copied.
const PASTED: [&str; 4] = [
    "\u{feff}ada@example.com",
    "\u{200b} Ada@Example.com\u{a0}\u{2060}",
    "\u{202a}ada@example.com\u{202c}",
    "\u{ad}ada@example.com\u{e0020}\u{fe0f}",
];

/// Texts that look like an email or like another one.
const REFUSED: [&str; 7] = [
    "ada@ex%61mple.com",
    "ada@%65xample.com",
    "ada@exam\u{ad}ple.com",
    "ada@exam\u{200b}ple.com",
    "ada@exam\u{2064}ple.com",
    "ada@exam\u{180d}ple.com",
    "a\u{200d}da@example.com",
];

/// Emails that earlier versions accepted. They are refused for a new account and found if an account has them.
const LEGACY: [&str; 4] = [
    "ada%example.org@example.com",
    "leg%1@legacy.example",
    "a\u{3164}da@example.com",
    "a\u{34f}da@example.com",
];

fn import(database: &Database, email: &str, name: &str) -> Output {
    let line = serde_json::json!({ "email": email, "display_name": name }).to_string();
    run(database, &["user", "import", "-"], line + "\n")
}

#[test]
fn format_characters_around_an_email_are_removed_everywhere() {
    let (server, database) = site();
    let fields = |email| [("email", email), ("display_name", "Ada"), ("password", PASSWORD)];
    for email in PASTED {
        let registered = server.browser().post("/register", &fields(email));
        let stored = database.db_texts("SELECT email || ' ' || email_canonical FROM users");
        assert!(
            registered.status == 303
                && stored[0].eq_ignore_ascii_case("ada@example.com ada@example.com"),
            "{email:?}: {stored:?}"
        );
        assert_eq!(server.browser().login(email, PASSWORD).status, 303, "{email:?}");
        let show = run(&database, &["user", "show", email], "");
        assert_eq!(show.code, 0, "{email:?}: {}", show.error);
        assert_eq!(run(&database, &["user", "delete", email, "--yes"], "").code, 0);
        let create = run(&database, &["user", "create", email, "--name", "Ada"], PASSWORD);
        assert_eq!(create.code, 0, "{email:?}: {}", create.error);
        assert_eq!(server.browser().login("ada@example.com", PASSWORD).status, 303);
        database.db_execute("DELETE FROM users");
        assert_eq!(import(&database, email, "Ada").code, 0, "{email:?}");
        assert_eq!(
            database
                .db_count("SELECT count(*) FROM users WHERE email_canonical = 'ada@example.com'"),
            1
        );
        database.db_execute("DELETE FROM users");
        db_clear_rate_limits(&database);
    }
    let mut bob = registered(&server, "bob@example.com");
    assert_eq!(bob.post("/account/email", &[("email", PASTED[0])]).status, 303);
    assert_eq!(db_mail(&database, "change_email", 1).recipient, "ada@example.com");
    server.browser().post("/forgot-password", &[("email", "\u{200b}bob@example.com")]);
    assert_eq!(db_mail(&database, "reset_password", 1).recipient, "bob@example.com");
    let set = run(&database, &["user", "set-email", "\u{feff}bob@example.com", PASTED[1]], "");
    assert_eq!(set.code, 0, "{}", set.error);
    assert_eq!(database.db_texts("SELECT email FROM users"), ["Ada@example.com"]);
}

#[test]
fn emails_with_invisible_characters_or_percent_signs_are_refused_everywhere() {
    let (server, database) = site();
    let mut bob = registered(&server, "bob@example.com");
    for email in REFUSED.into_iter().chain(LEGACY) {
        let fields = [("email", email), ("display_name", "Ada"), ("password", PASSWORD)];
        let refused = server.browser().post("/register", &fields);
        assert!(
            refused.status == 422 && refused.body.contains("Enter an email address like"),
            "{email:?}"
        );
        assert_eq!(bob.post("/account/email", &[("email", email)]).status, 422, "{email:?}");
        assert_eq!(server.browser().login(email, PASSWORD).status, 422, "{email:?}");
        for command in [
            &["user", "create", email, "--name", "Ada"][..],
            &["user", "set-email", "bob@example.com", email],
            &["user", "invite", email],
        ] {
            assert_eq!(run(&database, command, PASSWORD).code, 2, "{command:?}");
        }
        // Looked up like any email, so that the answer does not reveal an account.
        let is_legacy = LEGACY.contains(&email);
        let forgot = server.browser().post("/forgot-password", &[("email", email)]).status;
        assert_eq!(forgot, if is_legacy { 303 } else { 422 }, "{email:?}");
        let show = run(&database, &["user", "show", email], "").code;
        assert_eq!(show, if is_legacy { 3 } else { 2 }, "{email:?}");
        let import = import(&database, email, "Ada");
        assert!(import.code == 1 && import.error.contains("the email is not valid"), "{email:?}");
        db_clear_rate_limits(&database);
    }
    assert_eq!(database.db_texts("SELECT email FROM users"), ["bob@example.com"]);
    assert_eq!(
        database.db_count("SELECT count(*) FROM mail_outbox WHERE recipient <> 'bob@example.com'"),
        0
    );
}

#[test]
fn an_account_whose_email_is_no_longer_accepted_signs_in_and_is_treated_as_unverified() {
    let (server, database) = site();
    for (number, email) in LEGACY.into_iter().enumerate() {
        let registered_as = format!("user{number}@example.com");
        let mut browser = registered(&server, &registered_as);
        // As an earlier version stored it.
        let canonical = if email.contains('\u{3164}') { "a\u{1160}da@example.com" } else { email };
        database.db_execute(&format!(
            "UPDATE users
                SET email = '{email}', email_canonical = '{canonical}', display_name = 'Pay at 555-0100'
              WHERE email = '{registered_as}'"
        ));
        database.db_execute("DELETE FROM mail_outbox");
        assert_eq!(browser.login(email, PASSWORD).status, 303, "{email:?}");
        assert_eq!(run(&database, &["user", "show", email], "").code, 0, "{email:?}");
        // An unverified email gets no notice.
        assert_eq!(browser.post("/account/delete", &[]).status, 303);
        assert_eq!(browser.login(email, PASSWORD).status, 303);
        assert_eq!(browser.post("/account/delete/cancel", &[]).status, 303);
        let mails = || database.db_count("SELECT count(*) FROM mail_outbox");
        assert_eq!(mails(), 0, "{email:?}");
        // A wrong password in the open session counts against the account.
        let change =
            [("current_password", OTHER_PASSWORD), ("new_password", "seven quiet lanterns")];
        assert_eq!(browser.post("/account/password", &change).status, 422);
        let unlock = run(&database, &["user", "unlock", email], "");
        assert_eq!(unlock.code, 0, "{email:?}: {}{}", unlock.out, unlock.error);
        server.browser().post("/forgot-password", &[("email", email)]);
        let reset = db_mail(&database, "reset_password", 1);
        assert!(reset.recipient == email && !reset.data.to_string().contains("555"), "{email:?}");
        // Once verified, it gets notices like every other one.
        assert_eq!(run(&database, &["user", "verify-email", email], "").code, 0);
        assert_eq!(browser.login(email, PASSWORD).status, 303);
        assert_eq!(browser.post("/account/delete", &[]).status, 303);
        db_mail(&database, "deletion_scheduled", 1);
        let set = run(&database, &["user", "set-email", email, &registered_as], "");
        assert_eq!(set.code, 0, "{email:?}: {}", set.error);
        db_clear_rate_limits(&database);
    }
}

#[test]
fn a_stored_text_that_is_no_email_gets_no_notices() {
    let (server, database) = site();
    // The canonical form of the second one is not that of its email.
    for (email, canonical) in
        [("A..da@example.com", "a..da@example.com"), ("Ä..da@example.com", "b..ob@example.com")]
    {
        let mut browser = registered(&server, "ada@example.com");
        database.db_execute(&format!(
            "UPDATE users SET email = '{email}', email_canonical = '{canonical}'"
        ));
        database.db_execute("DELETE FROM mail_outbox");
        assert_eq!(browser.post("/account/delete", &[]).status, 303);
        let scheduled = "SELECT count(*) FROM users WHERE deletion_due_at IS NOT NULL";
        assert_eq!(database.db_count(scheduled), 1);
        assert_eq!(database.db_count("SELECT count(*) FROM mail_outbox"), 0, "{email}");
        database.db_execute("DELETE FROM users");
    }
}

#[test]
fn the_domain_of_a_stored_email_is_the_one_that_is_compared() {
    let (server, database) = site();
    for (typed, stored) in [
        ("José@Bücher.EXAMPLE", "José@xn--bcher-kva.example"),
        ("ADA@ＥＸＡＭＰＬＥ.com", "ADA@example.com"),
        ("Eve@XN--BCHER-KVA.example", "Eve@xn--bcher-kva.example"),
    ] {
        let fields = [("email", typed), ("display_name", "Ada"), ("password", PASSWORD)];
        assert_eq!(server.browser().post("/register", &fields).status, 303, "{typed}");
        let mails = "SELECT DISTINCT recipient FROM mail_outbox ORDER BY 1";
        assert!(database.db_texts(mails).contains(&stored.to_owned()), "{typed}");
        assert!(
            database.db_texts("SELECT email FROM users").contains(&stored.to_owned()),
            "{typed}"
        );
        assert_eq!(server.browser().login(typed, PASSWORD).status, 303, "{typed}");
    }
}

#[test]
fn the_database_refuses_an_email_that_does_not_belong_to_its_canonical_form() {
    let (server, database) = site();
    registered(&server, "ada@example.com");
    let attempt = |set: &str| {
        let sql = format!("UPDATE users SET {set}");
        let done = sqlx::query(AssertSqlSafe(sql.as_str())).execute(&database.pool);
        database.runtime.block_on(done).map(|done| done.rows_affected()).map_err(|error| {
            let error = error.into_database_error().expect("an error of the database");
            let error = error.downcast::<sqlx::postgres::PgDatabaseError>();
            (
                error.constraint().unwrap_or_default().to_owned(),
                error.hint().unwrap_or_default().to_owned(),
            )
        })
    };
    for refused in [
        "email = 'new@example.com'",
        "email_canonical = 'new@example.com'",
        "email = 'new@example.com', email_canonical = 'New@example.com'",
        "email = 'ada@ex%61mple.com'",
        "email = 'jose' || U&'\\0301' || '@example.com'",
        "email_canonical = 'josé@example.com'",
    ] {
        let (constraint, hint) = attempt(refused).expect_err(refused);
        assert_eq!(constraint, "users_email_pair", "{refused}");
        assert!(hint.contains("frontdesk user set-email"), "{hint}");
    }
    for accepted in [
        "display_name = 'Countess'",
        "email = 'ADA@example.com'",
        "email = 'New@example.com', email_canonical = 'new@example.com'",
        "email = 'JOSÉ@example.com', email_canonical = 'josé@example.com'",
        "display_name = 'José'",
    ] {
        assert_eq!(attempt(accepted), Ok(1), "{accepted}");
    }
}

#[test]
fn emails_that_were_stored_as_typed_get_the_domain_that_was_compared() {
    let database = Database::new();
    let up = include_str!("../../migrations/20261129300001_users_email_pair.up.sql");
    let down = include_str!("../../migrations/20261129300001_users_email_pair.down.sql");
    let migrate = |sql: &'static str| {
        database.runtime.block_on(sqlx::raw_sql(sql).execute(&database.pool)).unwrap();
    };
    migrate(down);
    database.db_execute(
        "INSERT INTO users (id, email, email_canonical, display_name) VALUES
         (gen_random_uuid(), 'Ada@ex%61mple.com', 'ada@example.com', 'Ada'),
         (gen_random_uuid(), 'bob@exam' || U&'\\00AD' || 'ple.org', 'bob@example.org', 'Bob'),
         (gen_random_uuid(), 'José@Bücher.example', 'josé@xn--bcher-kva.example', 'José'),
         (gen_random_uuid(), 'Eve@Example.COM', 'eve@example.com', 'Eve')",
    );
    database.db_execute(
        "INSERT INTO mail_outbox (id, kind, recipient) VALUES (gen_random_uuid(), 'new_device', 'JOSé@Bücher.EXAMPLE')",
    );
    migrate(up);
    let found = "SELECT recipient_canonical FROM mail_outbox";
    assert_eq!(database.db_texts(found), ["josé@xn--bcher-kva.example"]);
    assert_eq!(
        database.db_texts("SELECT email FROM users ORDER BY display_name"),
        ["Ada@example.com", "bob@example.org", "Eve@Example.COM", "José@xn--bcher-kva.example"]
    );
    assert_eq!(database.db_count("SELECT count(*) FROM audit_events"), 0);
}

#[test]
fn names_that_show_nothing_or_too_much_are_refused_everywhere() {
    let (server, database) = site();
    let mut bob = registered(&server, "bob@example.com");
    let zalgo = format!("Z{}", "\u{301}\u{316}".repeat(31));
    for name in [
        "\u{2800}",
        "\u{115f}",
        "Ada\u{e0041}",
        &zalgo,
        "A\u{200b}da",
        "\u{3164}\u{ffa0}",
        "Ada\u{202e}",
        "\u{fffc}",
        "a\u{302}\u{301}\u{301}\u{301}\u{301}\u{301}",
    ] {
        let fields = [("email", "ada@example.com"), ("display_name", name), ("password", PASSWORD)];
        assert_eq!(server.browser().post("/register", &fields).status, 422, "{name:?}");
        assert_eq!(bob.post("/account/profile", &[("display_name", name)]).status, 422, "{name:?}");
        for command in [
            &["user", "create", "ada@example.com", "--name", name][..],
            &["user", "invite", "ada@example.com", "--name", name],
        ] {
            assert_eq!(run(&database, command, PASSWORD).code, 2, "{command:?}");
        }
        assert_eq!(import(&database, "ada@example.com", name).code, 1, "{name:?}");
        db_clear_rate_limits(&database);
    }
    assert_eq!(database.db_count("SELECT count(*) FROM users"), 1);
    for name in
        ["علی\u{200c}رضا", "👩🏽\u{200d}🚀 Sally", "葛\u{e0100}城", "Nguyễn Thị", "क्\u{200d}षितिज"]
    {
        assert_eq!(bob.post("/account/profile", &[("display_name", name)]).status, 303, "{name}");
        assert_eq!(database.db_texts("SELECT display_name FROM users"), [name]);
    }
}
