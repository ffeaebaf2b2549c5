//! `examples/clubhouse` in Chromium: without JavaScript, and its guest list with it.

use std::path::Path;

use crate::support::breakpoint::until;
use crate::support::webdriver::{Driver, Window};
use crate::support::website::{run, start};
use crate::support::{Browser, Database, PASSWORD, Server, registered};

pub const CLUBHOUSE: &str = "clubhouse";

/// A server with the events of the command `sample-events`: the first one is tomorrow.
pub fn club() -> (Server, Database) {
    let database = Database::empty();
    let server = start(CLUBHOUSE, &database, &[]);
    command(&database, &["sample-events"]);
    (server, database)
}

pub fn command(database: &Database, arguments: &[&str]) {
    let (code, text) = run(CLUBHOUSE, database, arguments, &[]);
    assert_eq!(code, Some(0), "{text}");
}

/// Registers in the window, which shows the form.
pub fn register(window: &Window<'_>, name: &str) {
    window.fill("email", &format!("{}@example.com", name.to_lowercase()));
    window.fill("display_name", name);
    window.fill("password", PASSWORD);
    window.click("form[action='/register'] button");
    window.wait_for_path("/account");
}

/// A picture for the directory.
pub fn choose_picture(window: &Window<'_>) {
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images/sessions-light.png");
    window.choose_file("picture", &picture);
    window.click("form[action='/members/picture'] button");
}

/// A browser with the session of the window.
fn same_session(server: &Server, window: &Window<'_>) -> Browser {
    let mut same = server.browser();
    same.cookies.insert("session".to_owned(), window.session_cookie().expect("signed in"));
    same
}

#[test]
fn the_clubhouse_site_works_without_javascript_from_the_start_page_to_the_deletion() {
    let (server, database) = club();
    database.db_execute("UPDATE public.club_events SET capacity = 2 WHERE id = 1");
    let driver = Driver::start();
    let window = driver.window(&server.addr, 1200);
    window.open("/");
    assert_eq!(window.title(), "Start · The Lake Club");
    window.click("header a[href='/calendar']");
    window.wait_for_path("/calendar");
    assert_eq!(window.count(".club-events li"), 3);
    window.click(".club-events a[href='/events/1']");
    window.wait_for_path("/events/1");
    window.click("main a[href^='/login']");
    window.wait_for_path("/login?next=/events/1");
    window.click("a[href='/register']");
    window.wait_for_path("/register");
    register(&window, "Ada");

    // The last place of an event.
    window.open("/events/1");
    window.click("form[action='/events/1/sign-up'] button");
    assert!(window.text("[role=status]").contains("You're on the guest list."));
    assert_eq!(window.text("#guests"), "Ada");
    let mut bob = registered(&server, "bob@example.com");
    assert_eq!(bob.post("/events/1/sign-up", &[]).status, 303);
    let carol = driver.window(&server.addr, 500);
    carol.open("/register");
    register(&carol, "Carol");
    carol.open("/events/1");
    assert!(carol.text("main").contains("All places are taken."), "{}", carol.text("main"));
    assert_eq!(carol.text("#guests"), "Ada\nBOB");
    window.open("/events/1");
    window.click("form[action='/events/1/leave'] button");
    assert!(window.text("[role=status]").contains("no longer on the guest list"));
    carol.go("refresh");
    carol.click("form[action='/events/1/sign-up'] button");
    assert!(carol.text("[role=status]").contains("You're on the guest list."));
    assert_eq!(carol.text("#guests"), "BOB\nCarol");

    // The directory is for members, with a picture of each.
    window.click("header a[href='/members']");
    window.wait_for_path("/members");
    assert!(window.text("main").contains("You don't have access to this page"));
    command(&database, &["group", "add", "members"]);
    command(&database, &["group", "add-member", "members", "ada@example.com"]);
    window.go("refresh");
    assert_eq!((window.text(".members"), window.count(".members img")), ("Ada".to_owned(), 0));
    choose_picture(&window);
    assert!(window.text("[role=status]").contains("Picture saved."));
    assert_eq!(window.count(".members img"), 1);

    // New events are for administrators. For everyone else, the page does not exist.
    window.open("/events/new");
    assert!(window.title().contains("Page not found"), "{}", window.title());
    // A new role signs the user out.
    command(&database, &["user", "promote", "ada@example.com"]);
    window.open("/account");
    window.wait_for_path("/login?next=%2Faccount");
    window.fill("email", "ada@example.com");
    window.fill("password", PASSWORD);
    window.click("form[action='/login'] button");
    window.wait_for_path("/account");
    window.click("header a[href='/calendar']");
    window.click("main a[href='/events/new']");
    window.fill("title", "Night race");
    window.fill("place", "Pier");
    window.fill_local_time("starts", "07012099", "0930PM");
    window.fill("capacity", "0");
    window.click("form[action='/events/new'] button");
    assert!(window.text("#capacity-problem").contains("Enter a number from 1 to 1,000."));
    window.fill("capacity", "12");
    window.click("form[action='/events/new'] button");
    assert!(window.text("[role=status]").contains("Event added."));
    assert!(window.text(".club-events").contains("Wednesday, 1 July 2099, 21:30, Pier"));

    // The export has what the site knows. A browser saves it as a file.
    let export = same_session(&server, &carol).post("/account/export", &[]).body;
    assert!(export.contains("First row of the year"), "{export}");
    carol.click("header form[action='/logout'] button");
    carol.wait_for_path("/");
    assert!(carol.text("[role=status]").contains("You're signed out."));
    window.open("/account/delete");
    window.click("form[action='/account/delete'] button");
    assert!(window.text("[role=status]").contains("delet"), "{}", window.text("[role=status]"));
    let due = "SELECT count(*) FROM frontdesk.users WHERE deletion_due_at IS NOT NULL";
    assert_eq!(database.db_count(due), 1);
}

#[test]
fn an_open_guest_list_shows_sign_ups_without_a_reload_until_its_viewer_signs_out() {
    let (server, _database) = club();
    let driver = Driver::start();
    let window = driver.scripted_window(&server.addr);
    window.open("/register");
    register(&window, "Ada");
    window.open("/events/1");
    window.run("window.isFirstLoad = true");
    let mut bob = registered(&server, "bob@example.com");
    let shown = || (window.text("#guest-count"), window.text("#guests"));
    for (action, names) in [("sign-up", &["BOB"][..]), ("leave", &[]), ("sign-up", &["BOB"])] {
        bob.post(&format!("/events/1/{action}"), &[]);
        let expected = (names.len().to_string(), names.join("\n"));
        until(|| shown() == expected);
    }
    let mut same = same_session(&server, &window);
    assert_eq!(same.post("/logout", &[]).status, 303);
    // The browser tries to connect again, and is refused.
    until(|| window.run("return 'ended' in document.querySelector('#guests').dataset") == true);
    // Another page sees that Bob leaves.
    let other = driver.scripted_window(&server.addr);
    other.open("/register");
    register(&other, "Eve");
    other.open("/events/1");
    bob.post("/events/1/leave", &[]);
    until(|| other.text("#guest-count") == "0");
    assert_eq!(shown(), ("1".to_owned(), "BOB".to_owned()));
    assert_eq!(window.run("return window.isFirstLoad"), true, "the page was not loaded again");
    window.go("refresh");
    assert!(window.text("main").contains("Sign in to come along"));
}
