//! Every page in every state: no violation found by axe-core, valid HTML, no horizontal scrolling, light and
//! dark, from phone to wide screen. Saves a screenshot of each in target/tmp/pages.

mod account_deletion;
mod clubhouse_site;
mod mailed_links;
mod notes_site;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::breakpoint::until;
use crate::support::webdriver::{Driver, Window};
use crate::support::{Browser, Database, PASSWORD, Server, site};

const AXE: &str = "const done = arguments[arguments.length - 1];
    axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
                        rules: { 'color-contrast-enhanced': { enabled: true } } })
       .then(found => done(found.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html + ' ' + n.failureSummary).join(' | '))));";

/// Error pages only have the form that signs out, which needs none. In the upload of the clubhouse, whose fields only the
/// site reads, a token has no effect.
const FORMS_WITHOUT_TOKEN: &str = "return [...document.forms]
    .filter(form => form.method === 'post' && !form.elements.form_token)
    .filter(form => !form.action.endsWith('/logout') && !form.action.endsWith('/members/picture'))
    .map(form => form.action);";

struct PageChecker {
    axe: String,
    folder: PathBuf,
    count: usize,
    findings: Vec<String>,
}

impl PageChecker {
    fn new(folder: &str) -> Self {
        let axe = Path::new("tests/pages/node_modules/axe-core/axe.min.js");
        let axe = fs::read_to_string(axe).expect("axe-core is installed (script/bootstrap --test)");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        Self { axe, folder, count: 0, findings: Vec::new() }
    }

    /// Checks the page in the window at each width and color scheme.
    fn check(&mut self, window: &Window<'_>, name: &str) {
        for (width, scheme) in
            [(360, "light"), (360, "dark"), (768, "light"), (1600, "light"), (1600, "dark")]
        {
            window.emulate(width, scheme == "dark");
            let what = format!("{name}-{width}-{scheme}");
            fs::write(self.folder.join(format!("{what}.png")), window.screenshot()).unwrap();
            let overflow =
                window.run("return document.documentElement.scrollWidth - window.innerWidth");
            if overflow.as_i64().is_none_or(|overflow| overflow > 0) {
                self.findings.push(format!("{what} scrolls horizontally by {overflow}"));
            }
            for form in window.run(FORMS_WITHOUT_TOKEN).as_array().expect("a list") {
                self.findings.push(format!("{what}: the form {form} has no form_token"));
            }
            window.run(&self.axe);
            for violation in window.run_async(AXE).as_array().expect("a list") {
                self.findings.push(format!("{what}: {violation}"));
            }
            self.count += 1;
        }
        self.check_forced_colors(window, name);
    }

    /// Forced colors remove shadows and backgrounds: boxes and the current entry need a border.
    fn check_forced_colors(&mut self, window: &Window<'_>, name: &str) {
        window.force_colors();
        let file = self.folder.join(format!("{name}-1600-forced.png"));
        fs::write(file, window.screenshot()).unwrap();
        let bare = window.run(
            "const boxes = '.card, .panel, .session, .events, .badge, .notice, .links a, .columns nav a[aria-current]';
             return [...document.querySelectorAll(boxes)].filter(box => {
                 const style = getComputedStyle(box);
                 return style.display !== 'none' && style.borderInlineStartStyle === 'none';
             }).map(box => box.className || box.tagName);",
        );
        if bare.as_array().is_none_or(|bare| !bare.is_empty()) {
            self.findings.push(format!("{name}: no border in forced colors: {bare}"));
        }
    }
}

#[test]
fn axe_finds_no_violation_on_any_page_in_any_state() {
    let (server, database) = site();
    let driver = Driver::start();
    let window = driver.scripted_window(&server.addr);
    let mut checker = PageChecker::new("pages");
    for (path, name) in [
        ("/", "home"),
        ("/login", "login"),
        ("/register", "register"),
        ("/nowhere", "error-404"),
        ("/logout", "error-405"),
    ] {
        window.open(path);
        checker.check(&window, name);
    }
    window.open("/dev/mailbox");
    checker.check(&window, "mailbox-empty");
    let long_name = "m".repeat(60);
    for message in [crate::mail::reset("Ada"), crate::mail::changed("عائشة بنت محمد")] {
        database.db_enqueue(&format!("{long_name}@example.com"), &message);
    }
    window.open("/dev/mailbox");
    checker.check(&window, "mailbox");
    window.click(".links a");
    window.text(".mail-text");
    checker.check(&window, "mailbox-mail");
    window.open("/register");
    window.fill("email", "ada");
    window.click("form button");
    window.text("#email-problem");
    checker.check(&window, "register-errors");
    window.open("/login?next=/account/sessions");
    window.fill("email", "ada@example.com");
    window.fill("password", "not the password");
    window.click("form[action='/login'] button");
    window.text("[role=alert]");
    checker.check(&window, "login-refused");
    database.db_execute("UPDATE throttles SET free_at = now() + interval '40 minutes'");
    window.fill("password", "not the password");
    window.click("form[action='/login'] button");
    // The previous page has an alert as well: wait for the new text.
    until(|| window.text("[role=alert]").contains("Too many attempts"));
    assert_eq!(window.run("return document.title.startsWith('Error: Sign in')"), true);
    checker.check(&window, "login-throttled");
    database.db_execute("DELETE FROM throttles");

    let long = format!("{}@example.com", "m".repeat(60));
    window.open("/register");
    window.fill("email", &long);
    window.fill("display_name", &"W".repeat(64));
    window.fill("password", PASSWORD);
    window.click("form[action='/register'] button");
    window.wait_for_path("/account");
    checker.check(&window, "overview-first");
    window.open("/account/sessions");
    checker.check(&window, "sessions-one");
    for agent in [
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/145.0 Mobile/15E148 Safari/605.1.15",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
        "curl/8.14.1",
        "something else",
    ] {
        let mut other = Browser::new(&server.addr);
        other.user_agent = agent.to_owned();
        other.post("/login", &[("email", &long), ("password", PASSWORD), ("remember_me", "on")]);
    }
    database.db_execute(
        "UPDATE sessions SET ip_address = '2001:db8:85a3:8d3:1319:8a2e:370:7348', created_at = now() - interval '3 days', last_seen_at = now() - interval '5 hours' WHERE remembered",
    );
    window.open("/account/sessions");
    checker.check(&window, "sessions-many");
    window.click(".session:not(.current) button");
    window.text("[role=status]");
    checker.check(&window, "sessions-notice");
    for (path, name) in [
        ("/", "home-signed-in"),
        ("/account", "overview"),
        ("/account/profile", "profile"),
        ("/account/password", "password"),
        ("/nowhere", "error-404-signed-in"),
        ("/account/nowhere", "error-404-account"),
    ] {
        window.open(path);
        checker.check(&window, name);
    }
    window.open("/account/profile");
    window.fill("display_name", "عائشة بنت محمد");
    window.click("form[action='/account/profile'] button");
    window.text("[role=status]");
    checker.check(&window, "profile-right-to-left");
    window.open("/account/password");
    window.fill("current_password", "not it");
    window.fill("new_password", "12345678");
    window.click("form[action='/account/password'] button");
    window.text("#new_password-problem");
    checker.check(&window, "password-errors");
    window.fill("current_password", "not it");
    window.fill("new_password", "a few words in a row");
    window.click("form[action='/account/password'] button");
    window.text("#current_password-problem");
    db_rate_limit_all(&database);
    window.fill("current_password", "not it");
    window.fill("new_password", "a few words in a row");
    window.click("form[action='/account/password'] button");
    window.text("[role=alert][autofocus]");
    assert_eq!(window.focused(), "form-problems", "focus moves to the error summary");
    checker.check(&window, "password-throttled");
    database.db_execute("DELETE FROM throttles");
    mailed_links::check_mailed_links(&mut checker, &driver);
    account_deletion::check_account_deletion(&mut checker, &window, &database, &long);
    database.db_execute("UPDATE sessions SET last_seen_at = now()");
    drop_database(&database);
    window.open("/account");
    checker.check(&window, "error-503");
    println!(
        "{} views, {} findings; screenshots in {}",
        checker.count,
        checker.findings.len(),
        checker.folder.display()
    );
    assert!(checker.findings.is_empty(), "{}", checker.findings.join("\n"));
}

#[test]
fn a_64_character_site_name_fits_the_pages() {
    let database = Database::new();
    let name = "The Royal Wittelsbach Residence and Conference Hotel at the Lake";
    assert_eq!(name.len(), 64);
    let server = Server::start(&database, &[("FRONTDESK_SITE_NAME", name)]);
    let driver = Driver::start();
    let window = driver.scripted_window(&server.addr);
    let mut checker = PageChecker::new("pages-long-name");
    for (path, name) in [("/", "long-name-home"), ("/login", "long-name-login")] {
        window.open(path);
        checker.check(&window, name);
    }
    window.open("/register");
    window.fill("email", "ada@example.com");
    window.fill("display_name", "Ada");
    window.fill("password", PASSWORD);
    window.click("form[action='/register'] button");
    window.wait_for_path("/account");
    checker.check(&window, "long-name-overview");
    window.open("/nowhere");
    checker.check(&window, "long-name-error");
    assert!(checker.findings.is_empty(), "{}", checker.findings.join("\n"));
}

#[test]
fn every_page_in_every_state_is_valid_html() {
    let database = Database::new();
    let server = Server::start(&database, &[("RUST_LOG", "info,frontdesk::fields=trace")]);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("html");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    let mut count = 0;
    let mut save = |response: crate::support::Response| {
        assert!(
            response.body.starts_with("<!DOCTYPE html>"),
            "{} {}",
            response.status,
            response.body
        );
        count += 1;
        fs::write(folder.join(format!("{count}-{}.html", response.status)), response.body).unwrap();
    };
    let mut browser = server.browser();
    for path in ["/", "/login", "/login?next=/account", "/register", "/nowhere", "/logout"] {
        save(browser.get(path));
    }
    save(browser.post("/login", &[]));
    save(browser.login("ada@example.com", "not the password"));
    save(
        browser.post("/register", &[("email", "\"><b>"), ("display_name", "'"), ("password", "x")]),
    );
    save(browser.send("POST", "/login", &[("Sec-Fetch-Site", "cross-site")], ""));
    save(browser.send("POST", "/login", &[("Content-Type", "text/plain")], "x"));
    let large = "a".repeat(70_000);
    save(browser.send(
        "POST",
        "/login",
        &[("Content-Type", "application/x-www-form-urlencoded")],
        &large,
    ));
    browser.register("ada@example.com");
    for path in
        ["/", "/account", "/account/profile", "/account/sessions", "/account/password", "/nowhere"]
    {
        save(browser.get(path));
    }
    save(browser.get("/account/nowhere"));
    save(browser.post("/account/password", &[("current_password", "x"), ("new_password", "y")]));
    server.browser().login("ada@example.com", PASSWORD);
    save(browser.get("/account/sessions"));
    save(browser.post("/account/profile", &[("display_name", "")]));
    save(browser.post("/account/password", &[("current_password", "x"), ("new_password", "y")]));
    browser.post("/account/sessions/revoke-others", &[]);
    save(browser.get("/account/sessions"));
    mailed_links::save_mailed_links(&mut save);
    for path in
        ["/account/activity", "/account/activity?before=1", "/account/export", "/account/delete"]
    {
        save(browser.get(path));
    }
    database.db_execute("UPDATE sessions SET authenticated_at = now() - interval '1 day'");
    for path in ["/account/export", "/account/delete", "/account/confirm?next=/account%22%3E"] {
        save(browser.get(path));
    }
    save(browser.post("/account/export", &[("a", "\"><b>")]));
    save(browser.post("/account/confirm", &[("password", ""), ("next", "\"><b>")]));
    database.db_execute("UPDATE users SET deletion_due_at = now() + interval '7 days'");
    save(browser.get("/account/delete"));
    save(browser.get("/account"));
    database.db_execute("DELETE FROM audit_events");
    save(browser.get("/account/activity"));
    let closed = Database::new();
    let closed = Server::start(&closed, &[("FRONTDESK_REGISTRATION", "closed")]);
    save(closed.browser().get("/register"));
    save(closed.browser().get("/"));
    save(browser.get("/dev/mailbox"));
    database.db_enqueue("ada@example.com", &crate::mail::reset("Ada"));
    let list = browser.get("/dev/mailbox");
    let path = list.body.split("href=\"/dev/mailbox/").nth(1).unwrap().split('"').next().unwrap();
    save(browser.get(&format!("/dev/mailbox/{path}")));
    save(list);
    drop_database(&database);
    save(browser.get("/account"));
    println!("{count} pages");
    assert_samples_have_the_fields_of_pages(&server.log());
    assert_valid_html(&folder);
}

/// Checks every `.html` file in the folder.
fn assert_valid_html(folder: &Path) {
    let output = Command::new("node")
        .args([
            "tests/pages/node_modules/html-validate/bin/html-validate.mjs",
            "--config",
            "tests/pages/.htmlvalidate.json",
        ])
        .arg(folder.join("*.html"))
        .output()
        .expect("node is installed (script/bootstrap --test)");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The log names the values that each page got. A sample has the same, besides those that every page has.
fn assert_samples_have_the_fields_of_pages(log: &str) {
    let common = ["path", "viewer", "notice"];
    let mut found = BTreeSet::new();
    for line in log.lines() {
        let Some((_, rest)) = line.split_once("the template ") else { continue };
        let Some((template, fields)) = rest.split_once(" gets ") else { continue };
        found.insert((
            template.to_owned(),
            fields.split_whitespace().next().unwrap_or("").to_owned(),
        ));
    }
    assert!(found.len() > 12, "{found:?}");
    for (template, fields) in found {
        let page = Path::new("templates/samples").join(&template).with_extension("");
        let prefix = format!("{}.", page.file_name().unwrap().to_string_lossy());
        let files = fs::read_dir(page.parent().unwrap()).unwrap().map(|file| file.unwrap().path());
        let is_sample =
            |file: &PathBuf| file.file_name().unwrap().to_string_lossy().starts_with(&prefix);
        let samples: Vec<PathBuf> = files.filter(is_sample).collect();
        assert!(!samples.is_empty(), "{template} has no sample");
        let fields: BTreeSet<&str> = fields.split(',').filter(|name| !name.is_empty()).collect();
        for sample in samples {
            let values: serde_json::Value =
                serde_json::from_str(&fs::read_to_string(&sample).unwrap()).unwrap();
            let names = values.as_object().unwrap().keys().map(String::as_str);
            let names: BTreeSet<&str> = names.filter(|name| !common.contains(name)).collect();
            assert_eq!(names, fields, "{}", sample.display());
        }
    }
}

/// Rate limits every action for ten minutes, which no limit exceeds.
fn db_rate_limit_all(database: &Database) {
    database
        .db_execute("UPDATE throttles SET tries = 1000, free_at = now() + interval '10 minutes'");
}

/// Drops the database, so that every query fails.
fn drop_database(database: &Database) {
    let name = database.db_texts("SELECT current_database()::text").remove(0);
    let admin = database.url.replace(&format!("/{name}?"), "/postgres?");
    database.runtime.block_on(async {
        let pool = sqlx::PgPool::connect(&admin).await.unwrap();
        let drop = sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
        sqlx::query(drop).execute(&pool).await.unwrap();
        pool.close().await;
    });
}
