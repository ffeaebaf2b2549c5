//! User journeys in Chromium with JavaScript disabled, and in a text browser.

use std::process::Command;

use crate::support::webdriver::{Driver, Window};
use crate::support::website;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, registered, site};

fn sign_in(window: &Window<'_>, password: &str) {
    window.open("/account");
    window.wait_for_path("/login?next=%2Faccount");
    window.fill("email", "ada@example.com");
    window.fill("password", password);
    window.click("form[action='/login'] button");
}

#[test]
fn registration_sign_in_revocation_and_sign_out_work_without_javascript() {
    let (server, database) = site();
    let driver = Driver::start();
    let first = driver.window(&server.addr, 1200);
    first.open("/");
    first.click("a[href='/register']");
    first.wait_for_path("/register");
    assert_eq!(first.title(), "Create an account · Frontdesk");
    first.fill("email", "ada@example.com");
    first.fill("display_name", "Ada Lovelace");
    first.fill("password", "short");
    first.click("form button");
    assert!(first.text("#password-problem").contains("Use at least 8 characters"));
    assert_eq!(first.focused(), "password", "focus moves to the first error");
    first.fill("password", PASSWORD);
    first.click("form[action='/register'] button");
    first.wait_for_path("/account");
    assert_eq!(first.title(), "Overview · Frontdesk");
    assert!(first.text("main h1").contains("Ada Lovelace"));
    first.click("nav a[href='/account/sessions']");
    first.wait_for_path("/account/sessions");
    assert_eq!(first.count(".session"), 1);
    assert!(first.text("main").contains("You're signed in only on this device"));

    // A second browser as wide as a phone.
    let second = driver.window(&server.addr, 500);
    sign_in(&second, OTHER_PASSWORD);
    second.wait_for_path("/login");
    assert!(second.text("[role=alert]").contains("That email or password is incorrect"));
    assert_eq!(second.focused(), "form-problems", "focus moves to the error summary");
    second.fill("password", PASSWORD);
    second.click("form[action='/login'] button");
    second.wait_for_path("/account");
    second.open("/account/sessions");
    assert_eq!(second.count(".session"), 2);
    assert_eq!(second.count(".session.current"), 1);

    // The second browser signs the first one out; the first is redirected to sign-in.
    second.click(".session:not(.current) button");
    assert!(second.text("[role=status]").starts_with("Signed out of Chrome on Linux"));
    assert_eq!(second.count(".session"), 1);
    first.open("/account/profile");
    first.wait_for_path("/login?next=%2Faccount%2Fprofile");
    sign_in(&first, PASSWORD);
    first.wait_for_path("/account");

    // The second browser signs out; a copy of its cookie is rejected.
    let copied = second.session_cookie().expect("signed in");
    second.click("header form[action='/logout'] button");
    second.wait_for_path("/");
    assert!(second.text("[role=status]").contains("You're signed out."));
    assert!(second.session_cookie().is_none());
    let mut thief = Browser::new(&server.addr);
    thief.cookies.insert("session".to_owned(), copied);
    assert!(!thief.is_signed_in());

    // The first browser changes the password and stays signed in.
    first.open("/account/password");
    first.fill("current_password", PASSWORD);
    first.fill("new_password", OTHER_PASSWORD);
    first.click("form[action='/account/password'] button");
    assert!(first.text("[role=status]").contains("Your password has been changed"));
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 1);
}

#[test]
fn passwords_can_be_shown_with_javascript_and_are_sent_as_passwords() {
    let (server, _database) = site();
    registered(&server, "ada@example.com");
    let driver = Driver::start();
    let window = driver.scripted_window(&server.addr);
    window.open("/login");
    assert_eq!(window.focused(), "email");
    let kind = "return document.querySelector('#password').type";
    let named = |name: &str| format!("input[type=button][value='{name}']");
    window.fill("email", "ada@example.com");
    window.fill("password", PASSWORD);
    window.click(&named("Show password"));
    assert_eq!(window.run(kind), "text");
    window.click(&named("Hide password"));
    assert_eq!(window.run(kind), "password");
    window.click(&named("Show password"));
    window.run("document.querySelector('form[action=\"/login\"]').addEventListener('submit', event => { event.preventDefault(); document.title = document.querySelector('#password').type })");
    window.click("form[action='/login'] button");
    assert_eq!(window.title(), "password", "hidden again before it is sent");
    window.open("/login");
    window.fill("email", "ada@example.com");
    window.fill("password", PASSWORD);
    window.click("form[action='/login'] button");
    window.wait_for_path("/account");
    window.open("/account/password");
    assert_eq!(window.count(&named("Show password")), 2);
    let names = window.run(
        "return [...document.querySelectorAll('.reveal')].map(button => button.getAttribute('aria-label')).join()",
    );
    assert_eq!(names, "Show password (Current password),Show password (New password)");
    // The button is beside the label and does not cover the field, and the name of the site stays in one line.
    let layout = "const box = css => document.querySelector(css).getBoundingClientRect();
                  return box('.reveal').bottom <= box('#current_password').top + 1 && box('header').height < 120";
    for width in [360, 768, 1600] {
        window.emulate(width, false);
        assert_eq!(window.run(layout), true, "{width}");
    }
    // A script of another origin, or in the page, is still refused.
    let inline = window.run(
        "const script = document.createElement('script'); script.textContent = 'document.title = \"inline\"';
         document.body.append(script); return document.title",
    );
    assert_eq!(inline, "Password · Frontdesk");
    let plain = driver.window(&server.addr, 1200);
    plain.open("/login");
    plain.text("h1");
    let fields = plain.count("#password");
    assert_eq!((fields, plain.count(".field input")), (1, 2), "no button without JavaScript");
}

#[test]
fn a_narrow_window_has_the_navigation_in_one_line() {
    let (server, _database) = site();
    let driver = Driver::start();
    let window = driver.window(&server.addr, 1200);
    window.open("/register");
    window.fill("email", "ada@example.com");
    window.fill("display_name", "Ada");
    window.fill("password", PASSWORD);
    window.click("form[action='/register'] button");
    window.wait_for_path("/account");
    window.emulate(360, false);
    window.open("/account/password");
    assert_eq!(window.text("nav summary"), "Password");
    assert_eq!(window.text("nav"), "Password", "the menu is closed");
    window.click("nav summary");
    window.click("nav details a[href='/account/sessions']");
    window.wait_for_path("/account/sessions");
    assert_eq!(window.text("nav"), "Sessions");
    window.emulate(1600, false);
    assert!(window.text("nav").starts_with("Overview\nProfile\nEmail\n"));
}

#[test]
fn registration_sign_in_and_sign_out_work_in_a_text_browser() {
    let (server, database) = site();
    let home = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("w3m");
    std::fs::remove_dir_all(&home).ok();
    std::fs::create_dir_all(&home).unwrap();
    let open = |path: &str, fields: Option<&[(&str, &str)]>| {
        let mut command = Command::new("w3m");
        command.env("HOME", &home).args(["-dump", "-o", "use_cookie=1", "-o", "accept_cookie=1"]);
        if let Some(fields) = fields {
            let body = home.join("form");
            std::fs::write(&body, crate::support::browser::encode(fields)).unwrap();
            command.arg("-post").arg(&body);
        }
        let output = command.arg(format!("http://{}{path}", server.addr)).output();
        String::from_utf8_lossy(&output.expect("w3m is installed").stdout).into_owned()
    };
    assert!(open("/", None).contains("Create an account"));
    let form = open("/register", None);
    assert!(
        form.contains("Email") && form.contains("Your name") && form.contains("Password"),
        "{form}"
    );
    let fields = [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
    assert!(open("/register", Some(&fields)).contains("Hello, Ada"));
    // Each w3m run is a new process: like a browser after a restart, it keeps persistent cookies only.
    let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("remember_me", "on")];
    assert!(open("/login", Some(&fields)).contains("Hello, Ada"));
    let sessions = open("/account/sessions", None);
    assert!(sessions.contains("w3m") && sessions.contains("This device"), "{sessions}");
    assert!(open("/logout", Some(&[])).contains("You're signed out."));
    assert!(open("/account", None).contains("Keep me signed in"));
    assert_eq!(database.db_count("SELECT count(*) FROM sessions WHERE remembered"), 0);
}

#[test]
fn the_notes_site_works_without_javascript_from_the_start_page_to_the_deletion() {
    let database = Database::empty();
    let server = website::start("notes", &database, &[]);
    let driver = Driver::start();
    let window = driver.window(&server.addr, 1200);
    window.open("/");
    assert_eq!(window.title(), "Start · Notes");
    window.click("main a[href='/register']");
    window.wait_for_path("/register");
    window.fill("email", "ada@example.com");
    window.fill("display_name", "Ada");
    window.fill("password", PASSWORD);
    window.click("form[action='/register'] button");
    window.wait_for_path("/account");
    window.click("header a[href='/notes']");
    window.wait_for_path("/notes");
    window.fill("body", "Buy <milk>");
    window.click("form[action='/notes'] button");
    assert!(window.text("[role=status]").contains("Note added."));
    assert!(window.text(".notes").contains("Buy <milk>"));
    let delete = "form[action='/notes/1/delete'] button";
    window.click(delete);
    assert!(window.text("[role=status]").contains("Note deleted."));
    assert!(!window.text(".notes").contains("Welcome!"));

    // The export has the notes. A browser saves it as a file, so it is read with the cookie of this one.
    let mut same = Browser::new(&server.addr);
    same.cookies.insert("session".to_owned(), window.session_cookie().expect("signed in"));
    assert!(same.post("/account/export", &[]).body.contains("Buy <milk>"));
    window.open("/account/delete");
    window.click("form[action='/account/delete'] button");
    assert!(window.text("[role=status]").contains("delet"), "{}", window.text("[role=status]"));
    assert_eq!(
        database.db_count("SELECT count(*) FROM frontdesk.users WHERE deletion_due_at IS NOT NULL"),
        1
    );
}
