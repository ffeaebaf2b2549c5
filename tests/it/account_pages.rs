//! The account pages of a signed-in user.

use crate::support::{PASSWORD, Response, registered, site};

#[test]
fn the_overview_shows_the_account_and_its_previous_sign_in() {
    let (server, _database) = site();
    let mut browser = registered(&server, "ada@example.com");
    let first = browser.get("/account").body;
    assert!(first.contains("ada@example.com"));
    assert!(first.contains("No earlier sign-ins."));
    browser.post("/logout", &[]);
    browser.login("ada@example.com", PASSWORD);
    let second = browser.get("/account").body;
    assert!(second.contains("Firefox on Linux&nbsp;· 127.0.0.1"), "{second}");
}

#[test]
fn a_new_name_is_escaped_and_confirmed_once() {
    let (server, _database) = site();
    let mut browser = registered(&server, "ada@example.com");
    let name = "<b>Ada</b> {{1234567*7}} & \"Co\"";
    let response = browser.post("/account/profile", &[("display_name", name)]);
    assert_eq!((response.status, response.location()), (303, "/account/profile"));
    let page = browser.get("/account/profile").body;
    assert!(page.contains("Your name is now <bdi>&lt;b&gt;Ada"), "{page}");
    assert!(page.contains("&lt;b&gt;Ada") && !page.contains("<b>Ada") && !page.contains("8641969"));
    assert!(!browser.get("/account/profile").body.contains("Your name is now"));
    let long = "n".repeat(65);
    for (typed, error) in [(" ", "Enter your name."), (long.as_str(), "Use at most 64 characters")]
    {
        let response = browser.post("/account/profile", &[("display_name", typed)]);
        assert_eq!(response.status, 422);
        assert!(response.body.contains(error), "{error}");
    }
}

#[test]
fn extra_form_fields_do_not_change_the_role() {
    let (server, database) = site();
    let mut browser = server.browser();
    let extra = [("role", "admin"), ("is_admin", "true"), ("disabled_at", ""), ("id", "1")];
    let mut fields =
        vec![("email", "eve@example.com"), ("display_name", "Eve"), ("password", PASSWORD)];
    fields.extend(extra);
    assert_eq!(browser.post("/register", &fields).status, 303);
    let mut fields = vec![("display_name", "Eve")];
    fields.extend(extra);
    browser.post("/account/profile", &fields);
    assert_eq!(database.db_texts("SELECT role FROM users"), ["user"]);
}

#[test]
fn a_forged_notice_cookie_is_ignored() {
    let (server, _database) = site();
    let mut browser = server.browser();
    browser
        .cookies
        .insert("notice".to_owned(), r#"{"kind":"danger","text":"Call 555-0100"}"#.to_owned());
    assert!(!browser.get("/").body.contains("555-0100"));
}

/// The pages below /account that can be opened, with the label of their section.
const SECTIONS: [(&str, &str); 8] = [
    ("/account", "Overview"),
    ("/account/profile", "Profile"),
    ("/account/email", "Email"),
    ("/account/sessions", "Sessions"),
    ("/account/password", "Password"),
    ("/account/activity", "Activity"),
    ("/account/export", "Your data"),
    ("/account/delete", "Your data"),
];

#[test]
fn every_account_page_names_its_user_and_marks_its_section() {
    let (server, _database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let marked = |body: &str, current: &str, label: &str| {
        // Once in the list of wide windows and once in the menu of narrow ones.
        body.matches(&format!(" aria-current=\"{current}\">{label}</a>")).count() == 2
            && body.matches("aria-current").count() == 2
            && body.contains(&format!("<summary>{label}</summary>"))
    };
    let named = |body: &str| {
        let header = body.split("<header").nth(1).unwrap().split("</header>").next().unwrap();
        header.contains("Signed in as </span><bdi>ada@example.com</bdi>")
    };
    for (path, label) in SECTIONS {
        let body = ada.get(path).body;
        let current = if path == "/account/delete" { "true" } else { "page" };
        assert!(marked(&body, current, label), "{path}: {body}");
        assert!(named(&body), "{path}");
    }
    // Pages in answer to a form of a section, and one that does not exist.
    let body = ada.post("/account/email/code", &[("verify_code", "x")]).body;
    assert!(marked(&body, "true", "Email"), "{body}");
    let unknown = "/account/sessions/01a20ac9-362c-7088-badc-46d695f6783a/revoke";
    let body = ada.post(unknown, &[]).body;
    assert!(marked(&body, "true", "Sessions"), "{body}");
    let body = ada.get("/account/nowhere").body;
    assert!(
        !body.contains("aria-current") && body.contains("<summary>Account</summary>"),
        "{body}"
    );
    for path in ["/", "/nowhere", "/login"] {
        let page = ada.get(path);
        assert!(page.status == 303 || named(&page.body), "{path}");
    }
    let stranger = server.browser().get("/").body;
    assert!(!stranger.contains("Signed in as"), "{stranger}");
}

#[test]
fn the_title_begins_with_error_exactly_if_the_form_has_errors() {
    let (server, _database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let mut stranger = server.browser();
    let is_error = |page: &Response| page.body.contains("<title>Error: ");
    for path in ["/", "/login", "/register", "/forgot-password", "/nowhere"] {
        assert!(!is_error(&stranger.get(path)), "{path}");
    }
    for (path, _) in SECTIONS {
        assert!(!is_error(&ada.get(path)), "{path}");
    }
    for path in ["/login", "/register", "/forgot-password"] {
        let page = stranger.post(path, &[]);
        assert!(page.status == 422 && is_error(&page), "{path}: {}", page.body);
    }
    for path in ["/account/profile", "/account/password", "/account/email", "/account/email/code"] {
        let page = ada.post(path, &[]);
        assert!(page.status == 422 && is_error(&page), "{path}: {}", page.body);
    }
    let page = ada.post("/account/confirm", &[]);
    assert!(page.status == 422 && is_error(&page), "{}", page.body);
}

/// Spellcheckers of browsers may send what is typed to a server, also passwords that are shown.
#[test]
fn codes_and_passwords_are_neither_spellchecked_nor_capitalized_and_two_codes_have_two_labels() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    ada.post("/account/email/verify", &[]);
    database.db_execute("DELETE FROM throttles");
    ada.post("/account/email", &[("email", "new@example.com")]);
    let inputs = |body: &str, kind: &str| -> Vec<String> {
        let all = body.split("<input ").skip(1).map(|rest| rest.split('>').next().unwrap());
        all.filter(|input| input.contains(kind)).map(str::to_owned).collect()
    };
    let page = ada.get("/account/email").body;
    let codes = inputs(&page, "one-time-code");
    assert_eq!(codes.len(), 2, "{page}");
    for code in &codes {
        for part in [
            "autocapitalize=\"characters\"",
            "spellcheck=\"false\"",
            "maxlength=\"20\"",
            "inputmode=\"text\"",
        ] {
            assert!(code.contains(part), "{code}");
        }
    }
    assert!(page.contains("<label for=\"verify_code\">Code for your email address</label>"));
    assert!(page.contains("<label for=\"change_code\">Code for your new email address</label>"));
    for path in ["/login", "/register", "/account/password"] {
        let page =
            if path.starts_with("/account") { ada.get(path) } else { server.browser().get(path) };
        let passwords = inputs(&page.body, "type=\"password\"");
        assert!(!passwords.is_empty(), "{path}");
        for input in passwords {
            assert!(
                input.contains("spellcheck=\"false\"") && input.contains("autocapitalize=\"none\"")
            );
        }
    }
}

#[test]
fn the_first_field_of_the_sign_in_form_has_the_focus_unless_there_is_an_error() {
    let (server, _database) = site();
    let focused = |body: &str| {
        let at = body.split(" autofocus>").next().filter(|before| before.len() < body.len())?;
        at.rsplit(" id=\"").next()?.split('"').next().map(str::to_owned)
    };
    let page = server.browser().get("/login").body;
    assert_eq!(focused(&page).as_deref(), Some("email"));
    assert_eq!(page.matches("autofocus").count(), 1);
    for (fields, expected) in [
        (&[("email", "ada@example.com"), ("password", "not it")][..], "form-problems"),
        (&[("email", "ada@example.com"), ("password", "")], "password"),
    ] {
        let page = server.browser().post("/login", fields).body;
        assert_eq!(focused(&page).as_deref(), Some(expected), "{page}");
        assert_eq!(page.matches("autofocus").count(), 1, "{page}");
    }
}

#[test]
fn only_pages_with_a_password_field_allow_a_script() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let mut count = 0;
    let mut check = |page: Response, what: &str| {
        let policy = page.header("content-security-policy").unwrap();
        let has_password = page.body.contains("type=\"password\"");
        assert_eq!(policy.contains("script-src 'self';"), has_password, "{what}: {policy}");
        assert!(has_password || !policy.contains("script"), "{what}: {policy}");
        assert_eq!(page.body.contains("<script"), has_password, "{what}");
        count += usize::from(has_password);
        page
    };
    for path in ["/", "/login", "/register", "/forgot-password", "/verify-email", "/nowhere"] {
        check(server.browser().get(path), path);
    }
    for (path, _) in SECTIONS {
        check(ada.get(path), path);
    }
    let name = [("display_name", "<input type=\"password\">")];
    assert_eq!(ada.post("/account/profile", &name).status, 303);
    check(ada.get("/account/profile"), "a name with markup");
    check(server.browser().login("ada@example.com", "not it"), "a refused sign-in");
    database.db_execute("UPDATE sessions SET authenticated_at = now() - interval '1 day'");
    let page = check(ada.post("/account/delete", &[]), "reauthentication");
    assert_eq!(count, 5);
    let script = page.body.split("<script type=\"module\" src=\"").nth(1).unwrap();
    let script = server.browser().get(script.split('"').next().unwrap());
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert!(script.body.contains("Show password"));
}
