//! The pages of `examples/clubhouse`, and pages of ours in its layout and colors.

use std::fs;

use super::{PageChecker, assert_valid_html};
use crate::clubhouse::{choose_picture, club, command, register};
use crate::support::webdriver::Driver;
use crate::support::{Browser, Database};

/// Guests and members with long names, one of them without a space and one from right to left.
fn db_add_guests(database: &Database) {
    database.db_execute(
        "WITH added AS (
              INSERT INTO frontdesk.users (id, email, email_canonical, display_name)
              SELECT gen_random_uuid(), n || '@example.com', n || '@example.com', name
                FROM (VALUES (1, 'Maximiliane Freifrau von Wittelsbach und zu Hohenzollern'),
                             (2, repeat('W', 64)), (3, 'عائشة بنت محمد')) AS names (n, name)
              RETURNING id),
              members AS (
              INSERT INTO frontdesk.group_members (group_id, user_id)
              SELECT groups.id, added.id FROM frontdesk.groups, added)
         INSERT INTO public.guests (event_id, user_id) SELECT 1, id FROM added",
    );
}

#[test]
fn axe_and_html_validate_find_no_problem_on_the_pages_of_the_clubhouse_site() {
    let (server, database) = club();
    let driver = Driver::start();
    let window = driver.scripted_window(&server.addr);
    let mut checker = PageChecker::new("pages-of-clubhouse");
    let folder = checker.folder.clone();
    let mut browser = server.browser();
    let mut check = |path: &str, name: &str, browser: &mut Browser| {
        window.open(path);
        checker.check(&window, name);
        fs::write(folder.join(format!("{name}.html")), browser.get(path).body).unwrap();
    };
    for (path, name) in [
        ("/", "start"),
        ("/calendar", "calendar"),
        ("/events/1", "event"),
        ("/login", "login"),
        ("/events/99", "error-404"),
        ("/register", "register"),
    ] {
        check(path, name, &mut browser);
    }
    register(&window, "Ada");
    let with_session = |browser: &mut Browser| {
        browser.cookies.insert("session".to_owned(), window.session_cookie().expect("signed in"));
    };
    with_session(&mut browser);
    command(&database, &["group", "add", "members"]);
    check("/members", "members-refused", &mut browser);
    check("/events/1", "event-without-guests", &mut browser);
    command(&database, &["group", "add-member", "members", "ada@example.com"]);
    db_add_guests(&database);
    window.open("/events/1");
    window.click("form[action='/events/1/sign-up'] button");
    window.text("[role=status]");
    check("/events/1", "event-guest", &mut browser);
    window.click("form[action='/events/1/leave'] button");
    window.text("[role=status]");
    database.db_execute("UPDATE public.club_events SET capacity = 3 WHERE id = 1");
    check("/events/1", "event-full", &mut browser);
    check("/account", "account", &mut browser);
    check("/account/sessions", "sessions", &mut browser);
    window.open("/members");
    choose_picture(&window);
    window.text("[role=status]");
    check("/members", "members", &mut browser);

    // A new role signs the user out.
    command(&database, &["user", "promote", "ada@example.com"]);
    window.open("/login");
    window.fill("email", "ada@example.com");
    window.fill("password", crate::support::PASSWORD);
    window.click("form[action='/login'] button");
    window.wait_for_path("/account");
    with_session(&mut browser);
    check("/calendar", "calendar-administrator", &mut browser);
    check("/events/new", "new-event", &mut browser);
    window.fill("title", "Race");
    window.fill("place", "Pier");
    window.fill_local_time("starts", "07012099", "0930PM");
    window.fill("capacity", "0");
    window.click("form[action='/events/new'] button");
    window.text("#capacity-problem");
    checker.check(&window, "new-event-errors");
    let refused = browser.post("/events/new", &[("title", ""), ("capacity", "many")]);
    fs::write(folder.join("new-event-errors.html"), refused.body).unwrap();
    database.db_execute("DELETE FROM public.club_events");
    window.open("/");
    checker.check(&window, "start-without-events");
    assert!(checker.findings.is_empty(), "{}", checker.findings.join("\n"));
    assert_valid_html(&folder);
}
