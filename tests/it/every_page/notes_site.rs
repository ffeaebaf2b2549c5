//! The pages of `examples/notes`, and pages of ours in its layout and colors.

use std::fs;

use super::{PageChecker, assert_valid_html};
use crate::support::webdriver::Driver;
use crate::support::website::start;
use crate::support::{Database, registered};

#[test]
fn axe_and_html_validate_find_no_problem_on_the_pages_of_the_notes_site() {
    let database = Database::empty();
    let server = start("notes", &database, &[]);
    let driver = Driver::start();
    let window = driver.scripted_window(&server.addr);
    let mut checker = PageChecker::new("pages-of-notes");
    for (path, name) in [("/", "start"), ("/login", "login"), ("/register", "register")] {
        window.open(path);
        checker.check(&window, name);
    }
    window.fill("email", "ada@example.com");
    window.fill("display_name", "Ada");
    window.fill("password", crate::support::PASSWORD);
    window.click("form[action='/register'] button");
    window.wait_for_path("/account");
    checker.check(&window, "account");
    window.open("/");
    checker.check(&window, "start-signed-in");
    window.open("/notes");
    window.fill("body", &"long ".repeat(60));
    window.click("form[action='/notes'] button");
    assert!(window.text("[role=status]").contains("Note added."));
    checker.check(&window, "notes");
    window.fill("body", " ");
    window.click("form[action='/notes'] button");
    window.text("#body-problem");
    checker.check(&window, "notes-errors");
    assert!(checker.findings.is_empty(), "{}", checker.findings.join("\n"));

    let mut bob = registered(&server, "bob@example.com");
    for (path, name) in [("/", "start"), ("/notes", "notes"), ("/account", "account")] {
        let page = bob.get(path);
        assert!(page.body.contains("site-footer") && page.body.contains("logo.svg"), "{path}");
        fs::write(checker.folder.join(format!("{name}.html")), page.body).unwrap();
    }
    let refused = bob.post("/notes", &[("body", "")]);
    fs::write(checker.folder.join("notes-errors.html"), refused.body).unwrap();
    assert_valid_html(&checker.folder);
}
