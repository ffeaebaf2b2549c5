//! Groups and their members: commands, races with deletions, the audit log and the export.

use serde_json::{Value, json};

use crate::command_line::{Output, run};
use crate::support::breakpoint::until;
use crate::support::{Database, registered, site};

const ADA: &str = "ada@example.com";

fn group(database: &Database, arguments: &[&str]) -> Output {
    run(database, &[&["group"], arguments].concat(), "")
}

/// A database with the users user0@example.com and so on.
fn with_users(count: usize) -> Database {
    let database = Database::new();
    database.db_execute(&format!(
        "INSERT INTO users (id, email, email_canonical, display_name)
         SELECT gen_random_uuid(), email, email, 'User'
           FROM (SELECT 'user' || n || '@example.com' AS email FROM generate_series(0, {count} - 1) AS n) AS new"
    ));
    database
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.out)
        .unwrap_or_else(|error| panic!("{error}: {}{}", output.out, output.error))
}

fn events(database: &Database) -> Vec<String> {
    database.db_texts(
        "SELECT event || ' ' || (details - 'operator')::text || ' ' || (user_id IS NOT NULL) || ' ' || actor
           FROM audit_events WHERE event LIKE 'group%' ORDER BY id",
    )
}

#[test]
fn groups_are_managed_with_commands_and_each_change_is_in_the_audit_log() {
    let database = with_users(2);
    let (first, second) = ("user0@example.com", "user1@example.com");
    let added = group(&database, &["add", "editors", "--title", "Éditeurs", "--json"]);
    assert_eq!((added.code, &json(&added)["name"]), (0, &json!("editors")), "{}", added.error);
    assert_eq!(json(&added)["title"], "Éditeurs");
    assert_eq!(group(&database, &["add", "readers"]).code, 0);
    let again = group(&database, &["add", "editors"]);
    assert_eq!((again.code, again.out.as_str()), (3, ""));
    assert!(again.error.contains("already a group editors"), "{}", again.error);

    assert_eq!(group(&database, &["add-member", "editors", first]).code, 0);
    let added = group(&database, &["add-member", "editors", second, "--json"]);
    let expected = json!({ "group": "editors", "email": second, "changed": true });
    assert_eq!((added.code, json(&added)), (0, expected));
    let again = group(&database, &["add-member", "editors", second]);
    assert_eq!(
        (again.code, again.out.trim_end()),
        (3, "user1@example.com was already a member of editors.")
    );

    let shown = json(&group(&database, &["show", "editors", "--json"]));
    let emails: Vec<_> = shown["members"].as_array().unwrap().iter().map(|m| &m["email"]).collect();
    assert_eq!(emails.len(), 2, "{shown}");
    assert!(emails.contains(&&json!(first)) && shown["member_count"] == 2, "{shown}");
    let shown = json(&group(&database, &["show", "editors", "--limit", "1", "--json"]));
    assert_eq!(
        (shown["members"].as_array().unwrap().len(), &shown["member_count"]),
        (1, &json!(2))
    );
    let text = group(&database, &["show", "editors"]).out;
    assert!(text.contains("Title      Éditeurs") && text.contains(second), "{text}");
    let listed = json(&group(&database, &["list", "--json"]));
    let counts: Vec<_> =
        listed.as_array().unwrap().iter().map(|g| (&g["name"], &g["member_count"])).collect();
    assert_eq!(counts, [(&json!("editors"), &json!(2)), (&json!("readers"), &json!(0))]);
    let user = run(&database, &["user", "show", first, "--json"], "");
    assert_eq!(json(&user)["groups"], json!(["editors"]));
    assert!(run(&database, &["user", "show", first], "").out.contains("Groups     editors"));

    assert_eq!(group(&database, &["remove-member", "editors", first]).code, 0);
    let again = group(&database, &["remove-member", "editors", first]);
    assert_eq!(
        (again.code, again.out.trim_end()),
        (3, "user0@example.com was not a member of editors.")
    );
    assert_eq!(group(&database, &["remove", "editors"]).code, 2, "without --yes");
    let removed = group(&database, &["remove", "editors", "--yes", "--json"]);
    assert_eq!(
        (removed.code, json(&removed)),
        (0, json!({ "group": "editors", "removed_members": 1 }))
    );
    assert_eq!(database.db_count("SELECT count(*) FROM group_members"), 0);
    assert_eq!(
        events(&database),
        [
            r#"group_changed {"group": "editors", "change": "created"} false operator"#,
            r#"group_changed {"group": "readers", "change": "created"} false operator"#,
            r#"group_member_added {"group": "editors"} true operator"#,
            r#"group_member_added {"group": "editors"} true operator"#,
            r#"group_member_removed {"group": "editors"} true operator"#,
            r#"group_member_removed {"group": "editors"} true operator"#,
            r#"group_changed {"group": "editors", "change": "removed"} false operator"#,
        ]
    );
}

#[test]
fn a_wrong_name_of_a_group_changes_nothing_and_says_what_is_probably_meant() {
    let database = with_users(1);
    let user = "user0@example.com";
    group(&database, &["add", "editors"]);
    for command in [
        &["show", "editrs"][..],
        &["remove", "editrs", "--yes"],
        &["add-member", "editrs", user],
        &["remove-member", "editrs", user],
    ] {
        let output = group(&database, command);
        let expected = "No such group: editrs. Did you mean editors?";
        assert_eq!((output.code, output.error.trim_end()), (3, expected), "{command:?}");
    }
    let far = group(&database, &["show", "accounting"]);
    assert_eq!((far.code, far.error.trim_end()), (3, "No such group: accounting"));
    let missing = group(&database, &["add-member", "editors", "bob@example.com"]);
    assert_eq!((missing.code, missing.error.trim_end()), (3, "No such account: bob@example.com"));
    for name in ["", "Editors", "a b", "é", "a_b", &"a".repeat(65)] {
        let output = group(&database, &["add", name]);
        assert_eq!(output.code, 2, "{name}: {}", output.error);
    }
    for title in ["", " ", "two\nlines", &"x".repeat(65)] {
        assert_eq!(group(&database, &["add", "readers", "--title", title]).code, 2, "{title:?}");
    }
    assert_eq!(database.db_count("SELECT count(*) FROM groups"), 1);
    assert_eq!(database.db_count("SELECT count(*) FROM group_members"), 0);
}

#[test]
fn a_member_who_or_whose_group_is_deleted_meanwhile_is_not_added() {
    let database = with_users(1);
    let user = "user0@example.com";
    group(&database, &["add", "editors"]);
    let blocked = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FOR KEY SHARE%'";
    for (sql, expected) in [
        ("DELETE FROM groups", "No such group: editors"),
        ("DELETE FROM users", "No such account: user0@example.com"),
    ] {
        let transaction = database.db_begin(sql);
        std::thread::scope(|scope| {
            let adding = scope.spawn(|| group(&database, &["add-member", "editors", user]));
            until(|| database.db_count(blocked) > 0);
            transaction.commit();
            let output = adding.join().unwrap();
            assert_eq!((output.code, output.error.trim_end()), (3, expected), "{}", output.out);
        });
        group(&database, &["add", "editors"]);
    }
    assert_eq!(database.db_count("SELECT count(*) FROM group_members"), 0);
    assert!(events(&database).iter().all(|event| !event.contains("member")));
}

#[test]
fn two_commands_that_add_the_same_member_add_it_once() {
    let database = with_users(1);
    group(&database, &["add", "editors"]);
    std::thread::scope(|scope| {
        let add = || group(&database, &["add-member", "editors", "user0@example.com"]).code;
        let mut codes = [scope.spawn(add), scope.spawn(add)].map(|thread| thread.join().unwrap());
        codes.sort_unstable();
        assert_eq!(codes, [0, 3]);
    });
    assert_eq!(events(&database).iter().filter(|event| event.contains("added")).count(), 1);
}

#[test]
fn the_export_has_the_groups_of_the_user_and_the_deletion_of_the_account_removes_them() {
    let (server, database) = site();
    let mut ada = registered(&server, ADA);
    group(&database, &["add", "editors", "--title", "Editors"]);
    group(&database, &["add", "others"]);
    assert_eq!(group(&database, &["add-member", "editors", ADA]).code, 0);
    let file: Value = serde_json::from_str(&ada.post("/account/export", &[]).body).unwrap();
    let groups = file["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!((&groups[0]["name"], &groups[0]["title"]), (&json!("editors"), &json!("Editors")));
    assert!(groups[0]["added_at"].is_string());
    let activity = ada.get("/account/activity").body;
    assert!(activity.contains("Added to a group"), "{activity}");
    assert_eq!(run(&database, &["user", "delete", ADA, "--yes"], "").code, 0);
    assert_eq!(database.db_count("SELECT count(*) FROM group_members"), 0);
}
