//! Pages of a site for the members of a group: who gets them, and that every server knows a change at once.

use crate::hooks::{ADA, BOB, run, shop};
use crate::support::{Browser, Database, registered};

const NAVIGATION: [(&str, &str); 2] =
    [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
const SCRIPT: [(&str, &str); 2] = [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")];

fn group(database: &Database, arguments: &[&str]) {
    let (code, text) = run(database, &[&["group"], arguments].concat(), "");
    assert_eq!(code, Some(0), "{arguments:?}: {text}");
}

fn status(browser: &mut Browser, path: &str) -> u16 {
    browser.send("GET", path, &NAVIGATION, "").status
}

#[test]
fn a_page_for_members_is_refused_to_everyone_else() {
    let database = Database::empty();
    let server = shop(&database, &[]);
    let (mut ada, mut bob) = (registered(&server, ADA), registered(&server, BOB));
    // Nobody is a member of a group that does not exist.
    assert_eq!(status(&mut ada, "/editors"), 403);
    group(&database, &["add", "editors"]);
    group(&database, &["add", "a-group"]);
    group(&database, &["add-member", "editors", ADA]);
    group(&database, &["add-member", "a-group", ADA]);
    let page = ada.send("GET", "/editors", &NAVIGATION, "");
    assert_eq!((page.status, page.body.as_str()), (200, ADA));
    let values = ada.get("/page").body;
    assert!(values.contains(", 2 groups a-group editors|"), "{values}");
    assert!(bob.get("/page").body.contains(", 0 groups|"));
    for (name, expected) in [("editors", "true"), ("editor", "false"), ("Editors", "false")] {
        assert_eq!(ada.get(&format!("/is-in/{name}")).body, expected, "{name}");
    }

    let refused = bob.send("GET", "/editors", &NAVIGATION, "");
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("You don&#39;t have access to this page"), "{}", refused.body);
    for headers in [&SCRIPT[..], &[("Accept", "application/json")]] {
        let refused = bob.send("GET", "/editors", headers, "");
        assert_eq!((refused.status, refused.body.as_str()), (403, r#"{"error":"forbidden"}"#));
        assert_eq!(refused.header("content-type"), Some("application/json"));
    }
    assert_eq!(bob.post("/editors", &[]).status, 403);
    let mut visitor = server.browser();
    let sent = visitor.send("GET", "/editors", &NAVIGATION, "");
    assert_eq!((sent.status, sent.location()), (303, "/login?next=%2Feditors"));
    let refused = visitor.send("GET", "/editors", &SCRIPT, "");
    assert_eq!((refused.status, refused.body.as_str()), (401, r#"{"error":"sign_in_required"}"#));
}

#[test]
fn a_change_of_groups_counts_at_the_next_request_on_every_server_and_signs_no_user_out() {
    let database = Database::empty();
    let servers = [shop(&database, &[]).until_live(), shop(&database, &[]).until_live()];
    let ada = registered(&servers[0], ADA);
    let mut browsers = servers.each_ref().map(|server| {
        let mut browser = server.browser();
        browser.cookies = ada.cookies.clone();
        browser
    });
    let mut expect = |expected: u16, after: &str| {
        for browser in &mut browsers {
            // The first request may load the session, and the second one gets it from memory.
            let got = [status(browser, "/editors"), status(browser, "/editors")];
            assert_eq!(got, [expected; 2], "{after}");
            assert!(browser.is_signed_in(), "{after}");
        }
    };
    expect(403, "at first");
    let member = ["editors", ADA];
    group(&database, &["add", "editors"]);
    for _ in 0..3 {
        group(&database, &[&["add-member"], &member[..]].concat());
        expect(200, "add-member");
        group(&database, &[&["remove-member"], &member[..]].concat());
        expect(403, "remove-member");
    }
    let added =
        "INSERT INTO group_members (group_id, user_id) SELECT g.id, u.id FROM groups g, users u";
    for (sql, expected) in [
        (added, 200),
        ("UPDATE groups SET name = 'authors'", 403),
        ("UPDATE groups SET name = 'editors', title = 'Editors'", 200),
        ("DELETE FROM group_members", 403),
        (added, 200),
        ("TRUNCATE group_members", 403),
        (added, 200),
        ("DELETE FROM groups", 403),
    ] {
        // Waits until every server knows the change.
        database.db_execute(sql);
        expect(expected, sql);
    }
    group(&database, &["add", "editors"]);
    group(&database, &[&["add-member"], &member[..]].concat());
    expect(200, "the group was created again");
    group(&database, &["remove", "editors", "--yes"]);
    expect(403, "remove");
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 1);
}
