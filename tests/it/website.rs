//! Sites that are built on the crate: `examples/notes`, and `tests/site`, which uses what notes does not.

use crate::crawl::fixed_headers::assert_fixed_headers;
use crate::support::breakpoint::until;
use crate::support::browser::encode;
use crate::support::server::Setting;
use crate::support::website::{run, start, try_start};
use crate::support::{Browser, Database, PASSWORD, Response, registered};

const SITE: &str = "site-under-test";
const GREETING: Setting<'static> = ("SHOP_GREETING", "Hello");
/// As a browser sends it when a person opens a page.
const NAVIGATION: [(&str, &str); 2] =
    [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];

fn open(browser: &mut Browser, path: &str) -> Response {
    browser.send("GET", path, &NAVIGATION, "")
}

fn token(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"form_token\" value=\"").expect("a form");
    rest.split('"').next().unwrap().to_owned()
}

#[test]
fn a_site_has_its_own_pages_and_tables_and_accounts_from_the_crate() {
    let database = Database::empty();
    let server = start("notes", &database, &[]);
    let start_page = server.browser().get("/").body;
    assert!(start_page.contains("Keep your notes in one place."), "{start_page}");
    assert!(
        start_page.contains("<title>Start · Notes</title>") && start_page.contains("/site.css\"")
    );
    let (mut ada, mut bob) =
        (registered(&server, "ada@example.com"), registered(&server, "bob@example.com"));
    let answer = ada.post("/notes", &[("body", " Milk <b> ")]);
    assert_eq!((answer.status, answer.location()), (303, "/notes"));
    let page = ada.get("/notes").body;
    assert!(page.contains("<bdi>Milk &lt;b&gt;</bdi>") && page.contains("Note added."), "{page}");
    assert!(!ada.get("/notes").body.contains("Note added."), "the notice is shown once");
    let notes = bob.get("/notes").body;
    assert!(notes.contains("Welcome!") && !notes.contains("Milk"), "{notes}");
    let id = database.db_texts("SELECT id::text FROM notes WHERE body LIKE 'Milk%'")[0].clone();
    let delete = format!("/notes/{id}/delete");
    assert_eq!(bob.post(&delete, &[]).status, 404, "another user's note");
    assert_eq!(ada.post("/notes/x/delete", &[]).status, 404);
    let refused = ada.post("/notes", &[("body", "")]);
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("Write 1 to 2,000 characters."), "{}", refused.body);
    assert!(refused.body.contains("<title>Error: Notes"), "{}", refused.body);
    assert_eq!(ada.post("/notes", &[]).status, 422, "a missing field");
    assert_eq!(ada.post(&delete, &[]).status, 303);
    assert_eq!(database.db_count("SELECT count(*) FROM notes WHERE body LIKE 'Milk%'"), 0);
    // The hooks: everyone gets a note at first, and the notes are in the export.
    let export = ada.post("/account/export", &[]).body;
    let export: serde_json::Value = serde_json::from_str(&export).unwrap();
    assert_eq!(export["website"]["notes"][0]["body"], "Welcome!");
    // The site's navigation and style on the pages of the account.
    let account = ada.get("/account").body;
    assert!(account.contains("<a href=\"/notes\">Notes</a>") && account.contains("/site.css\""));
    assert!(ada.get("/notes").body.contains("<a href=\"/account\">Account</a>"));
    assert!(server.browser().get("/").body.contains("<a href=\"/login\">Sign in</a>"));
    assert_eq!(ada.get("/account/nothing").status, 404);
}

#[test]
fn every_layer_applies_to_the_routes_of_a_site() {
    let database = Database::empty();
    let server = start("notes", &database, &[]);
    let mut ada = registered(&server, "ada@example.com");
    let answer = ada.get("/notes");
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-request-id").map(str::len), Some(36));
    let head = ada.send("HEAD", "/notes", &[], "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let wrong = ada.send("PUT", "/notes", &[], "");
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD, POST")));
    assert!(wrong.body.contains("This action isn&#39;t available here"));
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let other = [form[0], ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(ada.send("POST", "/notes", &other, "body=x").status, 403);
    // A form that arrives twice acts once, and one of another account not at all.
    let page = token(&ada.get("/notes").body);
    let fields = [("body", "Milk"), ("form_token", page.as_str())];
    for _ in 0..2 {
        assert_eq!(ada.post("/notes", &fields).status, 303);
    }
    assert_eq!(database.db_count("SELECT count(*) FROM notes WHERE body <> 'Welcome!'"), 1);
    let mut bob = registered(&server, "bob@example.com");
    let page = token(&ada.get("/notes").body);
    assert_eq!(bob.post("/notes", &[("body", "x"), ("form_token", &page)]).status, 409);
    // A handler that takes no form is not called either.
    assert_eq!(bob.post("/notes/1/delete", &[("form_token", &page)]).status, 409);
    assert_eq!(database.db_count("SELECT count(*) FROM notes WHERE body <> 'Welcome!'"), 1);
    // A person is redirected and comes back, a script gets JSON.
    let mut stranger = server.browser();
    let answer = open(&mut stranger, "/notes?page=2");
    assert_eq!((answer.status, answer.location()), (303, "/login?next=%2Fnotes%3Fpage%3D2"));
    let answer = stranger.send("GET", "/notes", &[("Sec-Fetch-Mode", "cors")], "");
    assert_eq!((answer.status, answer.body.as_str()), (401, "{\"error\":\"sign_in_required\"}"));
    assert_fixed_headers(&answer, false, "401");
    let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("next", "/notes")];
    assert_eq!(stranger.post("/login", &fields).location(), "/notes");
}

#[test]
fn two_records_of_migrations_lie_side_by_side() {
    let database = Database::empty();
    let (code, text) = run("notes", &database, &["migrate", "run"], &[]);
    assert_eq!(code, Some(0), "{text}");
    let count = |schema: &str| {
        database.db_count(&format!("SELECT count(*) FROM {schema}._sqlx_migrations"))
    };
    assert_eq!(count("public"), 1);
    assert!(count("frontdesk") > 50);
    let in_public = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
                        AND relkind = 'r' ORDER BY 1";
    assert_eq!(database.db_texts(in_public), ["_sqlx_migrations", "notes"]);
    let (code, text) = run("notes", &database, &["migrate", "run"], &[]);
    assert!(code == Some(0) && text.contains("up to date"), "{text}");
    let (_, text) = run("notes", &database, &["migrate", "info"], &[]);
    assert!(text.contains("20261201000001") && text.contains("20261123000001"), "{text}");
    let (code, text) = run("notes", &database, &["migrate", "revert", "--yes"], &[]);
    assert!(code == Some(0) && text.contains("Reverted 20261201000001."), "{text}");
    assert_eq!(database.db_texts(in_public), ["_sqlx_migrations"]);
    let (code, text) = run("notes", &database, &["migrate", "revert", "--yes"], &[]);
    assert!(code == Some(3) && text.contains("nothing to revert"), "{text}");
    drop(start("notes", &database, &[]));
    let (code, text) =
        run("notes", &database, &["migrate", "revert", "--frontdesk", "--all", "--yes"], &[]);
    assert!(code == Some(1) && text.contains("notes (notes_owner_id_fkey)"), "{text}");
    let (code, text) = run("notes", &database, &["migrate", "revert", "--all", "--yes"], &[]);
    assert!(code == Some(0) && text.contains("Reverted 20261201000001."), "{text}");
    assert!(count("frontdesk") > 50, "Frontdesk's are reverted only with --frontdesk");
    let (code, text) = run("notes", &database, &["doctor"], &[]);
    assert!(code == Some(4) && text.contains("1 migration(s) of the site are pending"), "{text}");
    let (code, text) = run("notes", &database, &["user", "list"], &[]);
    assert!(code == Some(1) && text.contains("of the site are pending"), "{text}");
    let off = [("FRONTDESK_MIGRATE", "off")];
    let log = try_start("notes", &database, &off).err().expect("a migration is pending");
    assert!(log.contains("1 migration(s) of the site are pending"), "{log}");
    drop(start("notes", &database, &[]));
    let same = [("FRONTDESK_SITE_SCHEMA", "frontdesk")];
    let (code, text) = run("notes", &database, &["migrate", "run"], &same);
    assert!(code == Some(2) && text.contains("Use two schemas"), "{text}");
    database.db_execute("UPDATE public._sqlx_migrations SET checksum = 'x'");
    let log = try_start("notes", &database, &[]).err().expect("a changed file");
    assert!(log.contains("Migration 20261201000001 of the site was changed"), "{log}");
    database.db_execute("UPDATE public._sqlx_migrations SET version = 7");
    let log = try_start("notes", &database, &[]).err().expect("an unknown migration");
    assert!(log.contains("The site's schema has migration 7"), "{log}");
}

#[test]
fn a_site_does_not_hide_the_accounts_of_an_installation_in_another_schema() {
    let database = Database::new();
    let log = try_start("notes", &database, &[]).err().expect("it refuses to start");
    assert!(log.contains("The tables of Frontdesk are in the schema public"), "{log}");
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'frontdesk'";
    assert_eq!(database.db_count(schemas), 0, "nothing was changed");
    let both = [GREETING, ("FRONTDESK_SCHEMA", "public"), ("FRONTDESK_SITE_SCHEMA", "shop")];
    let server = start(SITE, &database, &both);
    registered(&server, "ada@example.com");
    assert_eq!(database.db_count("SELECT count(*) FROM public.users"), 1);
    assert_eq!(database.db_count("SELECT count(*) FROM shop._sqlx_migrations"), 2);
}

#[test]
fn handlers_get_the_user_their_data_and_only_the_cookies_of_the_site() {
    let database = Database::empty();
    let server = start(SITE, &database, &[GREETING, ("SHOP_LIMIT", "9")]);
    let answer = server.browser().get("/").body;
    assert_eq!(answer, r#"{"email":null,"greeting":"Hello","limit":9,"visits":1}"#);
    let mut ada = registered(&server, "ada@example.com");
    assert!(ada.get("/").body.contains(r#""email":"ada@example.com""#));
    // `require_live` finds Frontdesk's table, although the site has one with the same name.
    let answer = ada.get("/whoami");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains(r#""display_name":"ADA""#) && answer.body.contains("\"User\""));
    ada.cookies.insert("theme".to_owned(), "dark%20blue".to_owned());
    let answer = ada.get("/cookies").body;
    assert!(answer.contains(r#""theme":"dark blue""#), "{answer}");
    assert!(answer.contains(r#""headers":["theme=dark%20blue"]"#), "{answer}");
    assert_eq!(ada.get("/statistics").status, 404);
    database.db_execute("UPDATE frontdesk.users SET role = 'admin'");
    until(|| ada.get("/statistics").status == 200);
    assert_eq!(ada.get("/statistics").body, "ada@example.com");
    let missing = ada.get("/not/there").body;
    assert_eq!(missing, r#"{"cookies":"theme=dark%20blue","theme":"dark blue"}"#);
    assert_eq!(
        ada.post("/bytes", &[("a", "b c")]).body,
        "5",
        "a handler that reads the body itself"
    );
    let json = [("Content-Type", "application/json")];
    assert_eq!(ada.send("POST", "/echo", &json, "{\"a\":1}").body, "{\"a\":1}");
    for method in ["PUT", "PATCH", "DELETE"] {
        assert_eq!(ada.send(method, "/thing", &[], "four").body, "4", "{method}");
    }
    assert_eq!(ada.get("/raw").body, "raw");
    assert_eq!(ada.get("/.well-known/assetlinks.json").body, "feed");
}

#[test]
fn every_server_knows_at_the_next_request_whether_an_email_is_verified() {
    let database = Database::empty();
    let start = || start(SITE, &database, &[GREETING]).until_live();
    let servers = [start(), start()];
    let ada = registered(&servers[0], "ada@example.com");
    let mut browsers = servers.each_ref().map(|server| ada.on_server(&server.addr));
    let mut expect = |expected: bool| {
        for browser in &mut browsers {
            // The first request may load the session, and the second one gets it from memory.
            for _ in 0..2 {
                let answer = browser.get("/whoami").body;
                let text = format!("\"email_is_verified\":{expected}");
                assert!(answer.contains(&text), "{answer}");
            }
        }
    };
    expect(false);
    for (value, expected) in [("now()", true), ("NULL", false), ("now()", true)] {
        // Waits until every server knows the change.
        database.db_execute(&format!("UPDATE frontdesk.users SET email_verified_at = {value}"));
        expect(expected);
    }
}

#[test]
fn sensitive_forms_ask_for_the_password_and_are_resumed() {
    let database = Database::empty();
    let server = start(SITE, &database, &[GREETING]);
    let mut ada = registered(&server, "ada@example.com");
    let answer = ada.post("/recent", &[("count", "3")]);
    assert_eq!((answer.status, answer.location()), (303, "/page"));
    assert!(ada.get("/page").body.contains("ADA counted 3."));
    for (count, message) in [("many", "Enter a whole number."), ("0", "Count at least one.")] {
        let refused = ada.post("/recent", &[("count", count)]);
        assert!(refused.status == 422 && refused.body.contains(message), "{}", refused.body);
        assert!(refused.body.contains(&format!("value=\"{count}\"")), "{}", refused.body);
    }
    assert!(ada.get("/page").body.contains(">just now</time>"), "{}", ada.get("/page").body);
    // The form's type has `deny_unknown_fields`; the hidden field of every form is none of its fields.
    let page = ada.get("/page").body;
    let (_, rest) = page.split_once("name=\"form_token\" value=\"").expect("form.hidden");
    let form_token = ("form_token", rest.split('"').next().unwrap());
    assert_eq!(ada.post("/recent", &[("count", "4"), form_token]).status, 303);
    let refused = ada.post("/recent", &[("count", "4"), form_token, ("colour", "red")]);
    assert!(refused.status == 422, "{}", refused.body);
    assert!(refused.body.contains("This field is not known."), "{}", refused.body);
    // In the wrong order of the arguments, the mistake is found at once.
    assert_eq!(ada.post("/wrong-order", &[("count", "3")]).status, 500);
    until(|| server.log().contains("RecentlyAuthenticated must stand before Form"));
    database.db_execute("UPDATE frontdesk.sessions SET authenticated_at = now() - interval '1 hour', created_at = now() - interval '1 hour'");
    let server = start(SITE, &database, &[GREETING]);
    ada.addr.clone_from(&server.addr);
    let form =
        [("Content-Type", "application/x-www-form-urlencoded"), NAVIGATION[0], NAVIGATION[1]];
    let asked = ada.send("POST", "/recent", &form, "count=5");
    assert_eq!(asked.status, 403, "{}", asked.body);
    let (_, rest) = asked.body.split_once("name=\"original_request\" value=\"").expect("the form");
    let original = rest.split('"').next().unwrap();
    let script = ada.post("/recent", &[("count", "5")]);
    assert_eq!(script.body, "{\"error\":\"reauthentication_required\"}");
    let fields = [("password", PASSWORD), ("original_request", original), ("next", "/recent")];
    let answer = ada.post("/account/confirm", &fields);
    assert_eq!(answer.status, 307, "{}", answer.body);
    let answer = ada.send("POST", answer.location(), &form, &encode(&fields));
    assert_eq!((answer.status, answer.location()), (303, "/page"), "{}", answer.body);
    assert!(ada.get("/page").body.contains("ADA counted 5."));
}

#[test]
fn errors_of_a_site_have_a_page_and_their_cause_is_only_in_the_log() {
    let database = Database::empty();
    let server = start(SITE, &database, &[GREETING]);
    let mut visitor = server.browser();
    for (kind, status, title) in [
        ("not-found", 404, "Page not found"),
        ("forbidden", 403, "You don&#39;t have access to this page"),
        ("bad-request", 400, "We couldn&#39;t understand that request"),
        ("unavailable", 503, "We&#39;ll be right back"),
        ("internal", 500, "Something went wrong on our end"),
        ("parse", 500, "Something went wrong on our end"),
        ("database", 500, "Something went wrong on our end"),
        ("table", 500, "Something went wrong on our end"),
        ("panic", 500, "Something went wrong on our end"),
    ] {
        let answer = visitor.get(&format!("/fail/{kind}"));
        assert_eq!(answer.status, status, "{kind}");
        assert!(answer.body.contains(title), "{kind}: {}", answer.body);
        for secret in ["printer", "invalid digit", "division by zero"] {
            assert!(!answer.body.contains(secret), "{kind}");
        }
    }
    for cause in
        ["the printer is out of paper", "invalid digit found in string", "division by zero"]
    {
        until(|| server.log().contains(cause));
    }
    let missing = visitor.get("/fail/not/there");
    assert_eq!((missing.status, missing.body.as_str()), (404, r#"{"cookies":null,"theme":null}"#));
}

#[test]
fn routes_without_a_session_and_with_other_limits_have_what_they_ask_for() {
    let database = Database::empty();
    let server = start(SITE, &database, &[GREETING]);
    let mut ada = registered(&server, "ada@example.com");
    let feed = ada.get("/feed");
    assert_eq!(feed.header("cache-control"), Some("public, max-age=60"));
    assert!(feed.cookies().is_empty());
    // A pattern with variables takes no page of Frontdesk and none with a session.
    assert_eq!(ada.get("/pq").body, "feed");
    assert_eq!(ada.get("/a/b.txt").body, "feed");
    for path in ["/page", "/account", "/login", "/robots.txt"] {
        assert_ne!(ada.get(path).body, "feed", "{path}");
    }
    assert_eq!(ada.get("/never").status, 500);
    until(|| server.log().contains("a handler below Routes::without_session takes CurrentUser"));
    // A webhook of another site is no cross-site request of a browser of ours.
    let other = [("Sec-Fetch-Site", "cross-site")];
    assert_eq!(ada.send("POST", "/webhook", &other, "four").body, "4");
    assert_eq!(ada.get("/slow").status, 503, "the deadline is 200 ms");
    let text = "x".repeat(100 * 1024);
    let fields = [("count", "3"), ("note", text.as_str())];
    assert_eq!(ada.post("/recent", &fields).status, 413);
    assert_eq!(ada.post("/large", &fields).status, 303);
}

#[test]
fn jobs_run_at_start_and_commands_get_the_tables_of_the_site() {
    let database = Database::empty();
    let server = start(SITE, &database, &[GREETING]);
    until(|| database.db_count("SELECT count(*) FROM ticks") == 1);
    drop(server);
    let (code, text) = run(SITE, &database, &["count", "--all", "x"], &[GREETING]);
    assert_eq!((code, text.trim()), (Some(7), "1 ticks, 2 arguments"));
    let (code, text) = run(SITE, &database, &["count", "--fail"], &[GREETING]);
    assert!(code == Some(1) && text.contains("It was asked to fail."), "{text}");
    let (code, text) = run(SITE, &database, &["--help"], &[]);
    assert!(code == Some(0) && text.contains("Count the ticks"), "{text}");
    assert!(text.contains("Usage: site-under-test"), "{text}");
    let (code, text) = run(SITE, &database, &["routes"], &[]);
    assert!(code == Some(0), "{text}");
    for line in ["GET     /feed", "src/main.rs:", "DELETE  /thing"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn mistakes_in_a_site_are_all_reported_and_it_does_not_start() {
    let database = Database::empty();
    let (code, text) = run(SITE, &database, &["serve"], &[GREETING, ("SITE_BROKEN", "1")]);
    assert_eq!(code, Some(2), "{text}");
    for line in [
        "GET /account/notes (src/main.rs:",
        "is below /account, which belongs to Frontdesk",
        "The job tick is defined twice: src/work.rs:",
        "The command count is defined twice: src/work.rs:",
        "The prefix of settings SHOP_ is defined twice: src/work.rs:",
        "The prefix “FRONTDESK_SHOP_” of the site's settings (src/work.rs:",
        "GET /feed is defined twice: src/main.rs:",
        "GET /page is defined twice: src/main.rs:",
        "The hook on_registered hooks::registered is defined twice, at src/hooks.rs:",
        "The hook on_export shop is defined twice, at src/hooks.rs:",
        "The hook after_sign_in hooks::signed_in is defined twice, at src/hooks.rs:",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let broken = [("SHOP_LIMIT", "many"), ("FRONTDESK_WORKERS", "none")];
    let (code, text) = run(SITE, &database, &["serve"], &[GREETING, broken[0], broken[1]]);
    assert!(code == Some(2) && text.contains("SHOP_LIMIT cannot be read"), "{text}");
    assert!(text.contains("FRONTDESK_WORKERS is “none”"), "{text}");
    let (code, text) = run(SITE, &database, &["serve"], &[]);
    assert!(code == Some(2) && text.contains("SHOP_GREETING must be set."), "{text}");
}

#[test]
fn two_servers_of_a_site_share_sessions_and_end_them_everywhere() {
    let database = Database::empty();
    let here = start("notes", &database, &[]).until_live();
    let there = start("notes", &database, &[]).until_live();
    let mut ada = registered(&here, "ada@example.com");
    let mut elsewhere = ada.on_server(&there.addr);
    assert_eq!(elsewhere.get("/notes").status, 200);
    assert_eq!(ada.post("/logout", &[]).status, 303);
    assert_eq!(open(&mut elsewhere, "/notes").status, 303);
    until(|| database.db_count("SELECT count(*) FROM frontdesk.sessions") == 0);
}
