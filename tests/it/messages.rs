//! Messages from the folder of an operator (`FRONTDESK_LOCALES_DIR`).

use std::path::Path;

use crate::hooks::SITE;
use crate::own_look::refused;
use crate::support::breakpoint::until;
use crate::support::server::Setting;
use crate::support::website::{self, start};
use crate::support::{Browser, Database, PASSWORD, Server, registered};
use crate::template_commands::run;
use crate::template_folder::{folder, templates_dir};

fn locales_dir(folder: &Path) -> Setting<'_> {
    ("FRONTDESK_LOCALES_DIR", folder.to_str().unwrap())
}

/// The page of the newest mail in the mailbox of development.
fn newest_mail(browser: &mut Browser) -> String {
    let list = browser.get("/dev/mailbox").body;
    let id = list.split("/dev/mailbox/").nth(1).unwrap().split('"').next().unwrap();
    browser.get(&format!("/dev/mailbox/{id}")).body
}

const GREETING: Setting<'static> = ("SHOP_GREETING", "Hello");

#[test]
fn the_messages_in_the_program_of_a_site_replace_ours_and_are_found_by_its_templates_and_code() {
    let locales = folder("site-messages", &[("en/site.ftl", "page-count-one = None is no count.")]);
    let database = Database::empty();
    let server = start(SITE, &database, &[GREETING]);
    let other = start(SITE, &database, &[GREETING, locales_dir(&locales)]);
    let mut ada = registered(&server, "ada@example.com");
    let profile = ada.get("/account/profile").body;
    assert!(profile.contains("How the shop calls you."), "{profile}");
    assert!(!profile.contains("Up to 64 characters."), "{profile}");
    let page = ada.get("/page").body;
    let lead =
        "<p id=\"lead\">Counted by <strong>hand</strong>, see <a href=\"/page\">the site</a></p>";
    assert!(page.contains(lead), "{page}");
    for (count, notice) in [("1", "ADA counted one."), ("7", "ADA counted 7.")] {
        assert_eq!(ada.post("/recent", &[("count", count)]).location(), "/page");
        assert!(ada.get("/page").body.contains(notice), "{notice}");
    }
    for (server, problem) in [(&server, "Count at least one."), (&other, "None is no count.")] {
        let mut browser = Browser::new(&server.addr);
        browser.cookies.clone_from(&ada.cookies);
        let refused = browser.post("/recent", &[("count", "0")]);
        assert!(refused.status == 422 && refused.body.contains(problem), "{}", refused.body);
    }
    // A mail of the site, and one of Frontdesk.
    database.db_execute("UPDATE frontdesk.users SET email_verified_at = now()");
    assert_eq!(ada.post("/remind", &[]).body, "Queued");
    let mail = newest_mail(&mut ada);
    assert!(mail.contains("Reminder from Shop"), "{mail}");
    assert!(mail.contains("Remember: &lt;b&gt;Milk&lt;/b&gt;"), "{mail}");
    ada.post("/forgot-password", &[("email", "ada@example.com")]);
    // The mail is rendered by a background job.
    until(|| ada.get("/dev/mailbox").body.contains("Shop: choose a new password"));
}

#[test]
fn mistakes_in_the_messages_of_a_site_stop_its_program_with_file_and_line() {
    let database = Database::empty();
    let broken = [GREETING, ("SITE_BROKEN_MESSAGES", "1")];
    for command in [&["serve"][..], &["template", "check"], &["user", "list"]] {
        let (code, text) = website::run(SITE, &database, command, &broken);
        assert_eq!(code, Some(2), "{text}");
        for problem in [
            "locales/en/site.ftl:2: The message profile-name-hint has no variable $who. It has none.",
            "locales/en/site.ftl:3: Expected a token starting with \"=\".",
            "templates/page.html:5: Unknown message `page-lead`.",
        ] {
            assert!(text.contains(problem), "{command:?}: {problem}: {text}");
        }
    }
}

#[test]
fn the_messages_of_an_operator_are_on_pages_and_in_mails() {
    let messages = "layout-skip = Read & <3\n\
        login-title = Welcome to the \"Lake\" Club\n\
        login-new-here = <link>Join <strong>us</strong></link>!\n\
        viewer-signed-in = You're { $email }\n\
        mail-reset-password-subject = { $site }: your new password\n\
        mail-reset-password-text = Here is your link for { $site } & you.\n\
        look-hours = Open until { $n ->\n    [one] one\n   *[other] { $n }\n } o'clock\n";
    let locales = folder("messages", &[("en/site.ftl", messages), (".git/x", "x")]);
    let footer = "{% extends \"frontdesk/layouts/base.html\" %}\n{% block footer %}<footer>{{ t(key=\"look-hours\", n=5) }}</footer>{% endblock %}";
    let templates = folder("messages-templates", &[("layouts/base.html", footer)]);
    let database = Database::new();
    let server = Server::start(&database, &[locales_dir(&locales), templates_dir(&templates)]);
    let mut stranger = server.browser();
    let login = stranger.get("/login").body;
    for part in [
        ">Read &amp; &lt;3</a>",
        "<h1>Welcome to the &quot;Lake&quot; Club</h1>",
        "<a href=\"/register\">Join <strong>us</strong></a>!",
        "<footer>Open until 5 o&#39;clock</footer>",
        "Forgot your password?",
    ] {
        assert!(login.contains(part), "{part}: {login}");
    }
    let mut ada = registered(&server, "ada@example.com");
    assert!(ada.get("/account").body.contains("You&#39;re <bdi>ada@example.com</bdi>"));
    stranger.post("/forgot-password", &[("email", "ada@example.com")]);
    // The mail is rendered by a background job.
    until(|| stranger.get("/dev/mailbox").body.contains("Frontdesk: your new password"));
    let mail = newest_mail(&mut stranger);
    assert!(mail.contains("Here is your link for Frontdesk &amp; you."), "{mail}");
    // What a user typed is text on every page, whatever it looks like.
    let name = "<b>{ $n }</b>{{ 7*7 }}\u{F8F1}";
    ada.post("/account/profile", &[("display_name", name)]);
    let overview = ada.get("/account").body;
    assert!(!overview.contains("<b>") && !overview.contains("49</"), "{overview}");
    assert_eq!(server.browser().login("ada@example.com", PASSWORD).status, 303);
}

#[test]
fn a_mistake_in_a_message_stops_the_start_with_file_and_line() {
    let database = Database::new();
    let cases = [
        (
            "en/site.ftl",
            "a = b\nlogin-title",
            "/en/site.ftl:2: Expected a token starting with \"=\".",
        ),
        (
            "en/site.ftl",
            "login-title = Hello\n    { $name }",
            "/en/site.ftl:2: The message login-title has no variable $name. It has none.",
        ),
        (
            "en/site.ftl",
            "sessions-count = { $count }",
            "/en/site.ftl:1: The message sessions-count has no variable $count. It has $n.",
        ),
        (
            "en/site.ftl",
            "overview-not-you = <a>x</a>",
            "/en/site.ftl:1: The message overview-not-you has no element <a>. It has <br>, <code>, <link> and <strong>.",
        ),
        (
            "en/site.ftl",
            "overview-not-you = <link>x",
            "/en/site.ftl:1: In the message overview-not-you, <link> is not closed.",
        ),
        (
            "en/site.ftl",
            "sessions-count = { $n ->\n    [0] { layout-skip }\n   *[other] x\n }\nlayout-skip = { sessions-count }",
            "/en/site.ftl:2: The message sessions-count refers to itself through layout-skip.",
        ),
        ("site.ftl", "a = b", "/site.ftl: is not read. Messages are in en/site.ftl"),
    ];
    for (index, (path, text, expected)) in cases.iter().enumerate() {
        let folder = folder(&format!("broken-messages-{index}"), &[(path, text)]);
        let expected = format!("FRONTDESK_LOCALES_DIR: {}{expected}", folder.display());
        let (code, printed) = refused(&database, &[locales_dir(&folder)]);
        assert!(code == Some(2) && printed.contains(&expected), "{printed}\n{expected}");
        if index == 1 {
            for command in [&["template", "check"][..], &["doctor"]] {
                let (code, printed) = run(&database, command, &[locales_dir(&folder)]);
                assert!(code == Some(2) && printed.contains(&expected), "{printed}");
            }
            // Together with what is wrong with the other folders.
            let broken = self::folder("messages-broken", &[("x.html", "{% if %}")]);
            let (_, printed) = refused(&database, &[locales_dir(&folder), templates_dir(&broken)]);
            assert!(printed.contains(&expected) && printed.contains("/x.html:1: "), "{printed}");
        }
    }
    let unknown = folder("unknown-key", &[("x.html", "<p>\n{{ t(key=\"login-titel\") }}")]);
    let (code, printed) = refused(&database, &[templates_dir(&unknown)]);
    let expected = format!(
        "{}/x.html:2: Unknown message `login-titel`. Did you mean login-title?",
        unknown.display()
    );
    assert!(code == Some(2) && printed.contains(&expected), "{printed}");
    let missing = Path::new(env!("CARGO_TARGET_TMPDIR")).join("locales-missing");
    let (code, printed) = refused(&database, &[locales_dir(&missing)]);
    assert!(code == Some(2) && printed.contains("cannot be read"), "{printed}");
}

#[test]
fn a_mistake_in_a_changed_message_is_on_every_page_with_file_and_line_in_development() {
    let database = Database::new();
    let text = |title: &str| format!("# Ours.\nlogin-title = {title}\n");
    let folder = folder("messages-reload", &[("en/site.ftl", &text("One"))]);
    let server = Server::start(&database, &[locales_dir(&folder)]);
    let mut browser = server.browser();
    assert!(browser.get("/login").body.contains("One"));
    let file = folder.join("en/site.ftl");
    std::fs::write(&file, text("Two { $who }")).unwrap();
    for path in ["/login", "/register"] {
        let broken = browser.get(path);
        let expected = "/en/site.ftl:2: The message login-title has no variable $who.";
        assert!(broken.status == 500 && broken.body.contains(expected), "{}", broken.body);
    }
    std::fs::write(&file, text("Three")).unwrap();
    assert!(browser.get("/login").body.contains("Three"));
}
