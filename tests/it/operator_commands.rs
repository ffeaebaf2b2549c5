//! Commands with which operators find accounts and sessions, revoke sessions and require new passwords; wrong
//! use; the operator's name in the audit log.

use serde_json::Value;

use crate::command_line::{Output, run};
use crate::mail::frontdesk;
use crate::support::mail::{db_mail, db_mails};
use crate::support::{Database, OTHER_PASSWORD, PASSWORD, registered, site};

const ADA: &str = "ada@example.com";

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.out)
        .unwrap_or_else(|error| panic!("{error}: {}{}", output.out, output.error))
}

#[test]
fn user_show_has_verification_deletion_and_last_sign_in() {
    let (server, database) = site();
    registered(&server, ADA);
    let show = || json(&run(&database, &["user", "show", ADA, "--json"], ""));
    let shown = show();
    assert!(shown["email_verified_at"].is_null() && shown["deletion_due_at"].is_null());
    assert!(shown["last_sign_in_at"].is_string() && shown["has_password"] == true, "{shown}");
    database.db_execute(
        "UPDATE users SET email_verified_at = '2026-01-02 03:04:05Z', deletion_due_at = '2030-01-02 03:04:05Z'",
    );
    let shown = show();
    assert_eq!(shown["email_verified_at"], "2026-01-02T03:04:05Z");
    assert_eq!(shown["deletion_due_at"], "2030-01-02T03:04:05Z");
    let text = run(&database, &["user", "show", ADA], "").out;
    for label in [
        "Verified   Friday, January 2, 2026",
        "Deletion   Wednesday, January 2, 2030",
        "Signed in  ",
    ] {
        assert!(text.contains(label), "{label}: {text}");
    }
    database.db_execute("INSERT INTO users (id, email, email_canonical, display_name) VALUES (gen_random_uuid(), 'bob@example.com', 'bob@example.com', 'Bob')");
    let bob = json(&run(&database, &["user", "show", "bob@example.com", "--json"], ""));
    assert!(bob["last_sign_in_at"].is_null() && bob["has_password"] == false, "{bob}");
}

#[test]
fn user_list_searches_emails_names_and_ids() {
    let database = Database::new();
    database.db_execute(
        "INSERT INTO users (id, email, email_canonical, display_name)
         SELECT id::uuid, email, lower(email), name
           FROM (VALUES ('0198a000-0000-7000-8000-000000000001', 'Ada@Example.com', 'Ada Lovelace'),
                        ('0198b000-0000-7000-8000-000000000002', 'bob_100%@example.com', 'Bob'),
                        ('0198c000-0000-7000-8000-000000000003', 'eve@example.org', 'Éve O''Neil')) AS v (id, email, name)",
    );
    let found = |search: &str| -> Vec<String> {
        let output = run(&database, &["user", "list", "--search", search, "--json"], "");
        assert_eq!(output.code, if output.out.trim() == "[]" { 3 } else { 0 }, "{search}");
        let list = json(&output);
        let emails = list
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["email"].as_str().unwrap().to_lowercase());
        emails.collect()
    };
    for (search, emails) in [
        ("ada@example.com", vec!["ada@example.com"]),
        ("LOVELACE", vec!["ada@example.com"]),
        ("example.com", vec!["bob_100%@example.com", "ada@example.com"]),
        ("%", vec!["bob_100%@example.com"]),
        ("_", vec!["bob_100%@example.com"]),
        ("Éve", vec!["eve@example.org"]),
        ("o'neil", vec!["eve@example.org"]),
        ("0198B000", vec!["bob_100%@example.com"]),
        ("mallory", vec![]),
    ] {
        assert_eq!(found(search), emails, "{search}");
    }
    assert!(
        run(&database, &["user", "list", "--search", "ada"], "").out.contains("Ada@Example.com")
    );
    assert_eq!(json(&run(&database, &["user", "list", "--json"], "")).as_array().unwrap().len(), 3);
}

#[test]
fn lists_longer_than_a_page_are_complete() {
    let (server, database) = site();
    registered(&server, ADA);
    database.db_create_sessions(ADA, 6000);
    database.db_execute("UPDATE sessions SET last_seen_at = date_trunc('second', last_seen_at)");
    database.db_execute(
        "INSERT INTO audit_events (event, user_id, actor, details)
         SELECT 'signed_in', id, 'user', '{}' FROM users, generate_series(1, 6000)",
    );
    let ids = |list: &Value| {
        let ids = list.as_array().unwrap().iter().map(|one| one["id"].to_string());
        ids.collect::<std::collections::HashSet<_>>().len()
    };
    let sessions = run(&database, &["session", "list", "--limit", "1000000", "--json"], "");
    assert_eq!(ids(&json(&sessions)), 6001);
    let sessions = run(&database, &["session", "list", "--limit", "5500"], "");
    assert_eq!(sessions.out.lines().count(), 5501);
    let events = run(&database, &["audit", "--limit", "1000000", "--json"], "");
    let lines: std::collections::HashSet<&str> = events.out.lines().collect();
    assert!((6001..=6010).contains(&lines.len()) && events.out.lines().count() == lines.len());
    assert_eq!(run(&database, &["audit", "--limit", "5999"], "").out.lines().count(), 5999);
}

#[test]
fn sessions_are_revoked_by_network_and_by_time() {
    let (server, database) = site();
    let mut ada = registered(&server, ADA);
    let mut bob = registered(&server, "bob@example.com");
    let revoke = |options: &[&str]| {
        let output = run(&database, &[&["session", "revoke"], options, &["--json"]].concat(), "");
        (output.code, json(&output)["sessions"].as_u64().unwrap())
    };
    database.db_create_sessions(ADA, 6);
    database.db_execute(
        "UPDATE sessions SET ip_address = CASE WHEN number <= 3 THEN '203.0.113.7'::inet WHEN number = 4 THEN '2001:db8::1' END,
                             created_at = created_at - number * interval '1 day'
           FROM (SELECT id AS one, row_number() OVER (ORDER BY id) AS number FROM sessions WHERE ip_address IS NULL) AS numbered
          WHERE id = one",
    );
    assert_eq!(
        run(&database, &["session", "revoke", "--network", "203.0.113.0/24"], "").code,
        2,
        "--yes"
    );
    assert_eq!(revoke(&["--network", "198.51.100.0/24", "--yes"]), (3, 0));
    let time = database.db_texts("SELECT (now() - interval '60 hours')::text").remove(0);
    assert_eq!(
        revoke(&["--network", "203.0.113.0/24", "--created-before", &time, "--yes"]),
        (0, 1)
    );
    assert_eq!(revoke(&["--network", "::ffff:203.0.113.0/120", "--yes"]), (0, 2));
    assert_eq!(revoke(&["--network", "2001:db8::/32", "--user", ADA]), (0, 1));
    assert_eq!(revoke(&["--user", "bob@example.com", "--created-before", "2020-01-01"]), (3, 0));
    assert_eq!(revoke(&["--user", ADA, "--created-before", &time]), (0, 2));
    assert!(ada.is_signed_in() && bob.is_signed_in());
    assert_eq!(revoke(&["--user", ADA, "--created-before", "now"]), (0, 1));
    assert!(!ada.is_signed_in() && bob.is_signed_in());
    assert_eq!(revoke(&["--created-before", "now", "--yes"]), (0, 1));
    assert!(!bob.is_signed_in());
    let events =
        "SELECT count(*) FROM audit_events WHERE event = 'session_ended' AND actor = 'operator'";
    assert_eq!(database.db_count(events), 8);
}

#[test]
fn revoking_all_of_before_a_time_revokes_links_too() {
    let database = Database::new();
    database.db_execute(
        "INSERT INTO users (id, email, email_canonical, display_name) VALUES (gen_random_uuid(), 'ada@example.com', 'ada@example.com', 'Ada')",
    );
    for (time, number) in [("1 hour", 1), ("-1 hour", 2)] {
        for sql in [
            format!("INSERT INTO email_tokens (token_digest, purpose, user_id, email, email_canonical, created_at, expires_at)
                     SELECT sha256('{number}'), 'undo_email_change', id, email, email, now() - interval '{time}', now() + interval '1 day' FROM users"),
            format!("INSERT INTO registrations (id, ticket_digest, email, email_canonical, display_name, password_hash, created_at, expires_at)
                     VALUES (gen_random_uuid(), sha256('{number}'), 'eve@example.com', 'eve@example.com', 'Eve', 'x', now() - interval '{time}', now() + interval '1 day')"),
            format!("INSERT INTO recovery_requests (id, email_canonical, created_at) VALUES (gen_random_uuid(), 'ada@example.com', now() - interval '{time}')"),
        ] {
            assert_eq!(database.db_execute(&sql), 1);
        }
    }
    let revoke = ["session", "revoke", "--all", "--created-before", "now", "--yes", "--json"];
    let revoked = json(&run(&database, &revoke, ""));
    for kind in ["links", "registrations", "recovery_requests"] {
        assert_eq!(revoked[kind], 1, "{revoked}");
    }
    assert_eq!(run(&database, &revoke, "").code, 3, "those of later stay");
    assert_eq!(run(&database, &revoke[..5], "").code, 2, "--yes is missing");
}

#[test]
fn session_whose_names_the_owner_and_never_repeats_the_cookie() {
    let (server, database) = site();
    let mut ada = registered(&server, ADA);
    let cookie = ada.session().unwrap().to_owned();
    let whose = |input: &str| {
        let output = run(&database, &["session", "whose", "--json"], input);
        assert!(!output.out.contains(&cookie) && !output.error.contains(&cookie));
        output
    };
    for input in [
        format!("{cookie}\n"),
        format!("session={cookie}"),
        format!("Cookie: theme=dark; session={cookie}\r\n"),
        format!("\n \r\ncookie:session={cookie}\n"),
        format!("COOKIE: Session=\"{cookie}\""),
        format!("set-cookie: session={cookie}; Path=/; HttpOnly"),
        format!("-H 'cookie: session={cookie}'"),
        format!("session:\"{cookie}\""),
        format!("\u{feff}'{cookie}'"),
    ] {
        let output = whose(&input);
        assert_eq!(
            (output.code, json(&output)["email"].as_str()),
            (0, Some(ADA)),
            "{}",
            output.error
        );
    }
    assert!(run(&database, &["session", "whose"], &cookie).out.contains(ADA));
    for input in ["", "nonsense\n", &cookie[..cookie.len() - 2], &format!("theme={cookie}")] {
        let output = whose(input);
        assert_eq!((output.code, output.out.as_str()), (3, ""), "{input}");
    }
    let not_utf8 = [b"canary\xff session=", cookie.as_bytes()].concat();
    let output = run(&database, &["session", "whose"], &not_utf8);
    assert_eq!((output.code, output.out.as_str()), (3, ""));
    assert!(!output.error.contains("canary") && !output.error.contains(&cookie));
    ada.post("/logout", &[]);
    let ended = whose(&cookie);
    assert!(ended.code == 3 && ended.error.contains("session has ended"), "{}", ended.error);
}

#[test]
fn a_required_new_password_signs_out_and_is_chosen_with_the_mailed_link() {
    let (server, database) = site();
    let mut ada = registered(&server, ADA);
    let mut bob = registered(&server, "bob@example.com");
    let done = run(&database, &["user", "require-new-password", ADA, "--json"], "");
    let counts = json(&done);
    assert_eq!(
        (done.code, &counts["accounts"], &counts["sessions"], &counts["mails"]),
        (0, &1.into(), &1.into(), &1.into())
    );
    assert!(!ada.is_signed_in() && bob.is_signed_in());
    assert_eq!(ada.login(ADA, PASSWORD).status, 422);
    let link = |number| {
        format!(
            "/reset-password/{}",
            db_mail(&database, "new_password_required", number).text("token")
        )
    };
    let first = link(1);
    // Another request sends another link, which replaces the first.
    assert_eq!(run(&database, &["user", "require-new-password", ADA], "").code, 0);
    let second = link(2);
    assert_eq!(server.browser().get(&first).status, 410);
    assert_eq!(server.browser().post(&second, &[("new_password", OTHER_PASSWORD)]).status, 303);
    assert_eq!(ada.login(ADA, OTHER_PASSWORD).status, 303);
    assert!(ada.get("/account/activity").body.contains("a new password is required"));
    let events = "SELECT count(*) FROM audit_events WHERE event = 'password_invalidated' AND actor = 'operator' AND details->>'why' = 'operator'";
    assert_eq!(database.db_count(events), 2);
    assert_eq!(run(&database, &["user", "require-new-password", "eve@example.com"], "").code, 3);
}

#[test]
fn new_passwords_of_all_users_are_required_in_batches_and_after_an_interruption() {
    let (server, database) = site();
    let mut ada = registered(&server, ADA);
    database.db_create_users(ADA, 120);
    database.db_execute("UPDATE users SET disabled_at = now() WHERE email = 'user7@example.com'");
    assert_eq!(
        run(&database, &["user", "require-new-password", "--all"], "").code,
        2,
        "--yes is missing"
    );
    // The third batch fails.
    database.db_execute(
        "CREATE FUNCTION interrupt() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN IF (SELECT count(*) FROM users WHERE password_hash IS NULL) >= 100 THEN RAISE EXCEPTION 'interrupted'; END IF; RETURN NEW; END $$",
    );
    database.db_execute(
        "CREATE TRIGGER interrupt BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION interrupt()",
    );
    let stopped = run(&database, &["user", "require-new-password", "--all", "--yes"], "");
    assert!(
        stopped.code == 1 && stopped.error.contains("Stopped after 100 account(s)"),
        "{}",
        stopped.error
    );
    let command =
        stopped.error.lines().find_map(|line| line.split_once("frontdesk ")).unwrap().1.to_owned();
    database.db_execute("DROP TRIGGER interrupt ON users");
    // A user who has chosen a new password since is not asked again.
    let mail = db_mails(&database)
        .into_iter()
        .find(|mail| mail.kind == "new_password_required" && mail.recipient != ADA)
        .unwrap();
    let link = format!("/reset-password/{}", mail.text("token"));
    assert_eq!(server.browser().post(&link, &[("new_password", OTHER_PASSWORD)]).status, 303);
    let mut arguments: Vec<&str> = command.split_whitespace().collect();
    arguments.extend(["--yes", "--json"]);
    let rest = run(&database, &arguments, "");
    assert_eq!((rest.code, json(&rest)["accounts"].as_u64()), (0, Some(21)), "{}", rest.error);
    assert_eq!(database.db_count("SELECT count(*) FROM users WHERE password_hash IS NOT NULL"), 1);
    assert!(!ada.is_signed_in());
    let mails = db_mails(&database).into_iter().filter(|mail| mail.kind == "new_password_required");
    assert_eq!(mails.count(), 120, "all but the disabled account");
    assert_eq!(server.browser().login(&mail.recipient, OTHER_PASSWORD).status, 303);
}

#[test]
fn wrong_use_ends_with_exit_code_2_in_every_command() {
    let database = Database::new();
    let id = "01a20ac9-362c-7088-badc-46d695f6783a";
    for arguments in [
        &["nonsense"][..],
        &["doctor", "--yaml"],
        &["migrate"],
        &["migrate", "info", "now"],
        &["user", "create", "nobody", "--name", "Ada"],
        &["user", "create", ADA, "--name", ""],
        &["user", "create", ADA],
        &["user", "list", "--limit", "0"],
        &["user", "list", "--limit", "many"],
        &["user", "list", "--search", " "],
        &["user", "show", "nobody"],
        &["user", "show"],
        &["user", "disable", "nobody"],
        &["user", "enable", "01a20ac9"],
        &["user", "delete", "@example.com", "--yes"],
        &["user", "set-password", ""],
        &["user", "unlock", "a b@example.com"],
        &["user", "promote", "nobody"],
        &["user", "require-new-password"],
        &["user", "require-new-password", ADA, "--all"],
        &["user", "require-new-password", ADA, "--changed-before", "now"],
        &["user", "require-new-password", "--all", "--changed-before", "soon"],
        &["user", "import"],
        &["user", "import", "x.csv", "--format", "xml"],
        &["user", "import", "x.csv", "--hash-format", "md5"],
        &["user", "export", "--format", "xml"],
        &["audit", "--since", "yesterday"],
        &["audit", "--user", "nobody"],
        &["audit", "--event", "bogus"],
        &["audit", "--limit", "-1"],
        &["session", "list", "--user", "nobody"],
        &["session", "list", "--limit", "x"],
        &["session", "revoke"],
        &["session", "revoke", "nonsense"],
        &["session", "revoke", id, "--all"],
        &["session", "revoke", "--user", ADA, "--all"],
        &["session", "revoke", "--network", "203.0.113.0/33", "--yes"],
        &["session", "revoke", "--network", "example.com", "--yes"],
        &["session", "revoke", "--all", "--created-before", "tomorrow", "--yes"],
        &["session", "revoke", "--all", "--created-before", "2026-13-01", "--yes"],
        &["session", "whose", "a-cookie"],
        &["session", "stats", "--csv"],
        &["session", "purge", "now"],
        &["mail", "list", "--state", "lost"],
        &["mail", "retry"],
        &["mail", "retry", "nonsense"],
        &["mail", "retry", id, "--failed"],
    ] {
        let output = run(&database, arguments, PASSWORD);
        assert_eq!(output.code, 2, "{arguments:?}: {}{}", output.out, output.error);
        assert!(output.out.is_empty() && !output.error.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_operators_login_name_is_in_the_audit_log_and_not_in_the_users_export() {
    let (server, database) = site();
    let mut ada = registered(&server, ADA);
    let as_operator = |settings: &[(&str, &str)], arguments: &[&str]| {
        let (code, _, error) = frontdesk(&database, settings, arguments);
        assert_eq!(code, 0, "{arguments:?}: {error}");
    };
    as_operator(&[("LOGNAME", "grace")], &["user", "promote", ADA]);
    assert!(!ada.is_signed_in());
    for number in 0..2 {
        assert_eq!(ada.login(ADA, PASSWORD).status, 303, "{number}");
        as_operator(&[("LOGNAME", "grace")], &["session", "revoke", "--user", ADA]);
    }
    as_operator(&[("LOGNAME", "grace")], &["user", "disable", ADA]);
    as_operator(&[("LOGNAME", "gr\nace")], &["user", "enable", ADA]);
    let events = "SELECT event || ' ' || (details->>'operator') FROM audit_events WHERE actor = 'operator' ORDER BY id";
    assert_eq!(
        database.db_texts(events),
        [
            "session_ended grace",
            "role_changed grace",
            "session_ended grace",
            "session_ended grace",
            "account_disabled grace",
            "account_enabled grace",
        ]
    );
    // Without a login name, the name of the process's user.
    as_operator(&[], &["user", "promote", ADA, "--demote"]);
    let last = "SELECT details->>'operator' FROM audit_events WHERE actor = 'operator' ORDER BY id DESC LIMIT 1";
    let user = std::process::Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap().trim().to_owned();
    assert_eq!(database.db_texts(last), [user.as_str()]);
    if user == "root" {
        as_operator(&[("SUDO_USER", "grace"), ("LOGNAME", "root")], &["user", "promote", ADA]);
        assert_eq!(database.db_texts(last), ["grace"]);
    }
    assert_eq!(ada.login(ADA, PASSWORD).status, 303);
    let file = ada.post("/account/export", &[]);
    assert!(
        file.status == 200 && !file.body.contains("grace") && file.body.contains("\"operator\"")
    );
    let all = run(&database, &["audit", "--json"], "");
    assert!(all.out.contains("\"operator\":\"grace\""), "{}", all.out);
}

#[test]
fn the_owner_of_a_verified_email_is_notified_of_what_operators_do_and_of_an_export() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    registered(&server, "bob@example.com");
    database.db_execute("UPDATE users SET email_verified_at = now() WHERE email LIKE 'ada%'");
    database.db_execute("DELETE FROM mail_outbox");
    assert_eq!(ada.post("/account/export", &[]).status, 200);
    for email in ["ada@example.com", "bob@example.com"] {
        for arguments in [
            &["user", "disable", email][..],
            &["user", "disable", email],
            &["user", "enable", email],
            &["user", "promote", email],
            &["user", "promote", email, "--demote"],
        ] {
            run(&database, arguments, "");
        }
    }
    let mails = db_mails(&database);
    let sent: Vec<_> = mails
        .iter()
        .map(|mail| {
            let text = |name: &str| mail.data[name].as_str().unwrap_or("-").to_owned();
            assert_eq!(mail.recipient, "ada@example.com", "an unverified email gets no notice");
            assert!(mail.data["at"].is_string());
            [mail.kind.clone(), text("role"), text("device"), text("ip_address")].join(" ")
        })
        .collect();
    assert_eq!(
        sent,
        [
            "data_exported - Firefox on Linux 127.0.0.1",
            "account_disabled - - -",
            "account_enabled - - -",
            "role_changed admin - -",
            "role_changed user - -"
        ]
    );
}

#[test]
fn an_import_refuses_columns_that_look_like_known_ones() {
    let database = Database::new();
    let import = |text: &str, more: &[&str]| {
        run(&database, &[&["user", "import", "-"], more].concat(), text)
    };
    for (column, known) in [
        ("password", "password_hash"),
        ("encrypted_password", "password_hash"),
        ("user_pass", "password_hash"),
        ("is_active", "disabled"),
        ("banned", "disabled"),
        ("is_superuser", "role"),
        ("confirmed_at", "email_verified"),
        ("date_joined", "created_at"),
        ("dsabled", "disabled"),
        ("pw", "password_hash"),
        ("account_status", "disabled"),
        ("user_group", "role"),
    ] {
        let csv = import(&format!("email,{column}\nada@example.com,x\n"), &[]);
        assert_eq!(csv.code, 2, "{column}: {}", csv.error);
        assert!(
            csv.error.contains(&format!("Column 2 is unknown and looks like {known}")),
            "{}",
            csv.error
        );
        let jsonl = import(&format!("{{\"email\":\"ada@example.com\",\"{column}\":\"x\"}}\n"), &[]);
        assert_eq!(jsonl.code, 1, "{column}: {}", jsonl.error);
        assert!(jsonl.error.contains(&format!("looks like {known}")), "{}", jsonl.error);
    }
    for nested in ["{\"hash\":\"x\"}", "{\"x\":1}", "[1,{\"hash\":\"x\"}]"] {
        let line = format!("{{\"email\":\"ada@example.com\",\"auth\":{nested}}}\n");
        let jsonl = import(&line, &[]);
        assert!(jsonl.code == 1 && jsonl.error.contains("an object as its value"), "{nested}");
        assert_eq!(import(&line, &["--dry-run", "--ignore", "auth"]).code, 0, "{nested}");
    }
    assert_eq!(database.db_count("SELECT count(*) FROM users"), 0);
    let ignored =
        import("email,is_active,phone\nada@example.com,1,x\n", &["--ignore", "is_active"]);
    assert_eq!(ignored.code, 0, "{}", ignored.error);
    assert!(ignored.error.contains("Ignored unknown column(s): 2, 3."), "{}", ignored.error);
}
