//! The look of the plain program, changed with a folder of files and settings.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::breakpoint::until;
use crate::support::folder::new_folder;
use crate::support::server::{KEY, Setting};
use crate::support::{Browser, Database, PASSWORD, Response, Server, registered};

const LOGO: &str =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1 1\"><path d=\"M0 0h1v1z\"/></svg>";
const IMMUTABLE: Option<&str> = Some("public, max-age=31536000, immutable");

/// A new folder with these files.
fn folder_with(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = new_folder(&format!("own_look_{name}"));
    fs::create_dir_all(&folder).unwrap();
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn static_dir(folder: &Path) -> Setting<'_> {
    ("FRONTDESK_STATIC_DIR", folder.to_str().unwrap())
}

/// Starts a server that must not start: its exit code and what it printed.
pub fn refused(database: &Database, settings: &[Setting<'_>]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .arg("serve")
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .envs([("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)])
        .env("FRONTDESK_BIND", "127.0.0.1:0")
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// The URLs in quotes that end in `/{name}`, in their order.
fn urls(page: &str, name: &str) -> Vec<String> {
    let is_url = |part: &&str| part.starts_with("/static/") && part.ends_with(&format!("/{name}"));
    page.split('"').filter(is_url).map(str::to_owned).collect()
}

fn caching(response: &Response) -> Option<&str> {
    response.header("cache-control")
}

fn get_with(browser: &mut Browser, path: &str, name: &str, value: &str) -> Response {
    browser.send("GET", path, &[(name, value)], "")
}

#[test]
fn files_of_the_operator_are_served_with_one_hash_and_their_folders() {
    let css = ":root { --own: url(fonts/a.woff2) }\n".repeat(99);
    let folder = folder_with(
        "files",
        &[
            ("site.css", &css),
            ("favicon.svg", LOGO),
            ("fonts/a.woff2", "wOF2"),
            ("js/app.mjs", "import './util.mjs'"),
            ("js/util.mjs", "export {}"),
            ("a b%.txt", "text"),
            (".hidden/x.exe", ""),
        ],
    );
    let server = Server::start(&Database::new(), &[static_dir(&folder)]);
    let mut browser = server.browser();
    for path in ["/", "/login", "/nowhere"] {
        let page = browser.get(path).body;
        let (own, ours) = (urls(&page, "site.css"), urls(&page, "frontdesk.css"));
        assert_eq!((own.len(), ours.len()), (1, 1), "{path}: {page}");
        assert!(page.find(&ours[0]) < page.find(&own[0]), "{path}: ours come first");
        assert!(own[0].starts_with("/static/s-") && ours[0].starts_with("/static/f-"));
    }
    let page = browser.get("/").body;
    let site_css = urls(&page, "site.css").remove(0);
    let layer = site_css.strip_suffix("/site.css").unwrap();
    assert_eq!(urls(&page, "favicon.svg"), [format!("{layer}/favicon.svg")], "it replaces ours");
    for (path, media_type) in [
        ("site.css", "text/css; charset=utf-8"),
        ("fonts/a.woff2", "font/woff2"),
        ("js/app.mjs", "text/javascript; charset=utf-8"),
        ("js/util.mjs", "text/javascript; charset=utf-8"),
        ("favicon.svg", "image/svg+xml; charset=utf-8"),
        ("a%20b%25.txt", "text/plain; charset=utf-8"),
    ] {
        let answer = browser.get(&format!("{layer}/{path}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(media_type)));
        assert_eq!(caching(&answer), IMMUTABLE, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert_eq!(policy == "sandbox", path.ends_with(".svg"), "{path}: {policy}");
    }
    for coding in ["br", "gzip"] {
        let answer = get_with(&mut browser, &site_css, "Accept-Encoding", coding);
        assert_eq!(answer.header("content-encoding"), Some(coding));
        let length: usize = answer.header("content-length").unwrap().parse().unwrap();
        assert!(length < css.len() / 4, "{coding}: {length}");
    }
    for absent in ["nothing.css", ".hidden/x.exe", "../site.css"] {
        assert_eq!(browser.get(&format!("{layer}/{absent}")).status, 404, "{absent}");
    }
}

#[test]
fn a_server_serves_the_files_of_pages_that_another_version_rendered() {
    let database = Database::new();
    let blue = folder_with("blue", &[("site.css", "a { color: blue }"), ("old.js", "1")]);
    let green = folder_with("green", &[("site.css", "a { color: green }")]);
    let blue = Server::start(&database, &[static_dir(&blue)]);
    let green = Server::start(&database, &[static_dir(&green)]);
    let (blue_page, green_page) = (blue.browser().get("/").body, green.browser().get("/").body);
    assert_eq!(urls(&blue_page, "frontdesk.css"), urls(&green_page, "frontdesk.css"));
    let (of_blue, of_green) = (urls(&blue_page, "site.css"), urls(&green_page, "site.css"));
    assert_ne!(of_blue, of_green);
    let mut browser = green.browser();
    let other = browser.get(&of_blue[0]);
    assert_eq!((other.status, other.body.as_str()), (200, "a { color: green }"));
    assert_eq!(caching(&other), Some("no-cache"));
    let etag = other.header("etag").unwrap().to_owned();
    for url in [&of_blue[0], &of_green[0]] {
        let known = get_with(&mut browser, url, "If-None-Match", &etag);
        assert_eq!((known.status, known.body.as_str()), (304, ""), "{url}");
        assert_eq!(known.header("etag"), Some(etag.as_str()));
        let changed = get_with(&mut browser, url, "If-None-Match", "W/\"other\"");
        assert_eq!((changed.status, caching(&changed) == IMMUTABLE), (200, *url == of_green[0]));
    }
    // The names of the version before.
    let former = browser.get("/static/frontdesk-0123456789ab.css");
    assert_eq!((former.status, caching(&former)), (200, Some("no-cache")));
    let ours = browser.get("/static/f-000000000000/frontdesk.css");
    assert_eq!((ours.status, caching(&ours)), (200, Some("no-cache")));
    assert_eq!(ours.body, former.body);
    assert_eq!(browser.get("/static/frontdesk.css").status, 404);
}

#[test]
fn files_at_the_root_replace_ours_and_are_kept_for_one_hour() {
    let folder = folder_with(
        "root",
        &[
            ("root/robots.txt", "User-agent: *\nDisallow: /\n"),
            ("root/.well-known/security.txt", "Contact: https://example.com/own\n"),
            ("root/icons/touch.png", "png"),
            ("root/site.webmanifest", "{}"),
        ],
    );
    let contact = ("FRONTDESK_SECURITY_CONTACT", "security@example.com");
    let server = Server::start(&Database::new(), &[static_dir(&folder), contact]);
    let mut browser = server.browser();
    for (path, text, media_type) in [
        ("/robots.txt", "Disallow: /\n", "text/plain; charset=utf-8"),
        ("/.well-known/security.txt", "example.com/own", "text/plain; charset=utf-8"),
        ("/icons/touch.png", "png", "image/png"),
        ("/site.webmanifest", "{}", "application/manifest+json"),
        ("/favicon.ico", "", "image/x-icon"),
    ] {
        let answer = browser.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(media_type)));
        assert!(answer.body.contains(text), "{path}: {}", answer.body);
        assert_eq!(caching(&answer), Some("public, max-age=3600"), "{path}");
        let etag = answer.header("etag").unwrap();
        assert_eq!(get_with(&mut browser, path, "If-None-Match", etag).status, 304, "{path}");
        assert_eq!(browser.send("POST", path, &[], "").status, 405, "{path}");
    }
    assert_eq!(browser.get("/icons/other.png").status, 404);
}

#[test]
fn a_static_folder_that_cannot_be_used_stops_the_start_with_the_path() {
    let database = Database::new();
    let endings = folder_with("endings", &[("site.css", ""), ("b/x.exe", "MZ"), ("noending", "")]);
    let large = folder_with("large", &[]);
    fs::write(large.join("a.png"), vec![0; 1024 * 1024 + 1]).unwrap();
    let linked = folder_with("linked", &[]);
    symlink("/etc/passwd", linked.join("passwd.txt")).unwrap();
    let reserved = folder_with("reserved", &[("root/account/x.txt", ""), ("root/a{b}.txt", "")]);
    let cases: [(&Path, &[&str]); 6] = [
        (
            &endings,
            &["endings/b/x.exe has an ending that is not served", "/noending has an ending"],
        ),
        (&large, &["large/a.png has 1048577 bytes, more than 1 MiB"]),
        (&linked, &["linked/passwd.txt is a link to /etc/passwd, which is outside"]),
        (&reserved, &["/account/x.txt, and /account belongs to Frontdesk", "has a brace"]),
        (&endings.join("nothing"), &["endings/nothing cannot be read"]),
        (&endings.join("site.css"), &["endings/site.css is not a folder"]),
    ];
    for (folder, expected) in cases {
        let (code, text) = refused(&database, &[static_dir(folder)]);
        assert_eq!(code, Some(2), "{}: {text}", folder.display());
        for expected in expected {
            assert!(text.contains("FRONTDESK_STATIC_DIR: "), "{text}");
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
    }
}

const HTTPS: Setting<'static> = ("FRONTDESK_PUBLIC_URL", "https://desk.example.com");

/// The first mail in the folder, once it is written.
fn written_mail(folder: &Path) -> String {
    let read = || {
        let mut files = fs::read_dir(folder).ok()?.filter_map(Result::ok);
        let file = files.find(|file| file.path().extension().is_some_and(|end| end == "eml"))?;
        fs::read_to_string(file.path()).ok().filter(|text| !text.is_empty())
    };
    until(|| read().is_some());
    // Quoted-printable: a soft line break ends with `=`.
    read().unwrap().replace("=\r\n", "").replace("=3D", "=")
}

#[test]
fn every_page_and_mail_has_the_links_of_the_settings() {
    let database = Database::new();
    let mails = new_folder("own_look_mails");
    let settings = [
        HTTPS,
        ("FRONTDESK_SITE_NAME", "The Lake Club"),
        ("FRONTDESK_REGISTRATION", "open"),
        ("FRONTDESK_MAIL_DIR", mails.to_str().unwrap()),
        ("FRONTDESK_MAIL_REPLY_TO", "Help <help@example.com>"),
        ("FRONTDESK_SUPPORT_URL", "mailto:help@example.com"),
        ("FRONTDESK_TERMS_URL", "/terms"),
        ("FRONTDESK_PRIVACY_URL", "https://www.example.com/privacy?a=1&b=2"),
        ("FRONTDESK_IMPRINT_URL", "https://www.example.com/imprint"),
    ];
    let server = Server::start(&database, &settings);
    let mut ada = registered(&server, "ada@example.com");
    let links = [
        "<a href=\"mailto:help@example.com\">Support</a>",
        "<a href=\"/terms\">Terms of use</a>",
        "<a href=\"https://www.example.com/privacy?a=1&amp;b=2\">Privacy policy</a>",
        "<a href=\"https://www.example.com/imprint\">Imprint</a>",
    ];
    let mut stranger = server.browser();
    for path in ["/", "/login", "/nowhere", "/account", "/account/nowhere"] {
        let browser = if path == "/login" { &mut stranger } else { &mut ada };
        let page = browser.get(path).body;
        for link in links {
            assert_eq!(page.matches(link).count(), 1, "{path}: {link} in {page}");
        }
        assert_eq!(page.matches("<footer").count(), 1, "{path}");
    }
    let error = ada.get("/nowhere").body;
    assert!(error.contains("<a href=\"mailto:help@example.com\">contact us</a>"), "{error}");
    let register = server.browser().get("/register").body;
    let sentence = "By creating an account, you agree to the <a href=\"/terms\">terms of use</a> and confirm that you have read the <a href=\"https://www.example.com/privacy?a=1&amp;b=2\">privacy policy</a>.";
    assert!(register.contains(sentence), "{register}");
    assert_eq!(
        server.browser().post("/forgot-password", &[("email", "ada@example.com")]).status,
        303
    );
    let mail = written_mail(&mails);
    assert!(mail.contains("Reply-To: Help <help@example.com>\r\n"), "{mail}");
    for line in
        ["Support: mailto:help@example.com\r\n", "Terms of use: https://desk.example.com/terms\r\n"]
    {
        assert!(mail.contains(line), "{line}: {mail}");
    }
    for link in
        ["href=\"https://desk.example.com/terms\"", "https://www.example.com/privacy?a=1&amp;b=2"]
    {
        assert!(mail.contains(link), "{link}: {mail}");
    }
    let without = Server::start(&database, &[("FRONTDESK_REGISTRATION", "open")]);
    let register = without.browser().get("/register").body;
    assert!(!register.contains("<footer") && !register.contains("terms of use"), "{register}");
}

#[test]
fn the_home_page_may_be_elsewhere() {
    let database = Database::new();
    let own = ("FRONTDESK_HOME_URL", "/start");
    let server = Server::start(&database, &[own, ("FRONTDESK_REGISTRATION", "open")]);
    let mut ada = registered(&server, "ada@example.com");
    let answer = ada.get("/");
    assert_eq!((answer.status, answer.location()), (302, "/start"));
    let page = ada.get("/account");
    assert!(page.body.contains("<a class=\"brand\" href=\"/start\">"), "{}", page.body);
    assert!(page.header("content-security-policy").unwrap().contains("form-action 'self';"));
    assert_eq!(ada.post("/logout", &[]).location(), "/start");
    assert!(ada.get("/login").body.contains("You&#39;re signed out."));

    let foreign = ("FRONTDESK_HOME_URL", "https://www.example.com/home");
    let server = Server::start(&database, &[foreign, ("FRONTDESK_REGISTRATION", "open")]);
    let is_allowed = |answer: &Response| {
        let policy = answer.header("content-security-policy").unwrap();
        policy.contains("form-action 'self' https://www.example.com;")
    };
    let mut stranger = server.browser();
    for path in ["/login", "/register", "/nowhere"] {
        assert!(!is_allowed(&stranger.get(path)), "{path}");
    }
    let answer = stranger.get("/");
    assert_eq!((answer.status, answer.location()), (302, "https://www.example.com/home"));
    let mut ada = stranger.clone();
    let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("next", "/")];
    assert_eq!(
        ada.post("/login", &fields).location(),
        "/account",
        "its policy allows no other site"
    );
    for path in ["/account", "/account/sessions", "/account/delete", "/account/nowhere", "/login"] {
        let page = ada.get(path);
        let signs_out = page.body.contains("action=\"/logout\"");
        assert_eq!(is_allowed(&page), signs_out, "{path}: {}", page.body);
        assert!(signs_out || page.status == 303, "{path}: {}", page.status);
    }
    let id = database.db_texts("SELECT id::text FROM sessions").remove(0);
    let mut second = ada.clone();
    assert_eq!(ada.post("/logout", &[]).location(), "https://www.example.com/home");
    assert!(!ada.get("/login").body.contains("signed out."), "the notice would come too late");
    assert_eq!(second.login("ada@example.com", PASSWORD).status, 303);
    let id = database.db_texts("SELECT id::text FROM sessions").into_iter().find(|one| *one != id);
    let revoke = format!("/account/sessions/{}/revoke", id.unwrap());
    assert_eq!(second.post(&revoke, &[]).location(), "https://www.example.com/home");
}

#[test]
fn a_site_has_its_own_logo_and_one_color_scheme() {
    let database = Database::new();
    let css = "@media (prefers-color-scheme: dark) { a { color: red } }";
    for (scheme, logo, condition) in [
        ("auto", "logo.svg", "(prefers-color-scheme: dark)"),
        ("light", "logo.png", "(max-width: 0)"),
        ("dark", "logo.svg", "(min-width: 0)"),
    ] {
        let folder = folder_with(scheme, &[("site.css", css), (logo, LOGO)]);
        let scheme_setting = ("FRONTDESK_COLOR_SCHEME", scheme);
        let server = Server::start(&database, &[static_dir(&folder), scheme_setting]);
        let mut browser = server.browser();
        let page = browser.get("/login").body;
        let logo = urls(&page, logo).remove(0);
        assert!(page.contains(&format!("<img class=\"logo\" src=\"{logo}\" alt=\"\">")), "{page}");
        assert_eq!(browser.get(&logo).status, 200);
        let meta = if scheme == "auto" { "light dark" } else { scheme };
        assert!(
            page.contains(&format!("<meta name=\"color-scheme\" content=\"{meta}\">")),
            "{page}"
        );
        let themes = page.matches("<meta name=\"theme-color\"").count();
        assert_eq!(themes, if scheme == "auto" { 2 } else { 1 }, "{page}");
        for name in ["site.css", "frontdesk.css"] {
            let css = browser.get(&urls(&page, name)[0]).body;
            let is_fixed = css.contains(&format!("@media {condition}"));
            assert!(is_fixed, "{scheme}: {css}");
            assert_eq!(css.contains("prefers-color-scheme"), scheme == "auto", "{scheme}: {css}");
        }
    }
}

#[test]
fn settings_that_are_wrong_are_listed_together() {
    let wrong = [
        ("FRONTDESK_HOME_URL", "http://www.example.com"),
        ("FRONTDESK_SUPPORT_URL", "tel:5550123"),
        ("FRONTDESK_TERMS_URL", "javascript:alert(1)"),
        ("FRONTDESK_PRIVACY_URL", "//evil.example"),
        ("FRONTDESK_IMPRINT_URL", "imprint"),
        ("FRONTDESK_MAIL_REPLY_TO", "nobody"),
        ("FRONTDESK_COLOR_SCHEME", "blue"),
        ("FRONTDESK_HSTS", "on"),
    ];
    let (code, text) = refused(&Database::new(), &wrong);
    assert_eq!(code, Some(2), "{text}");
    for (name, value) in wrong {
        assert!(text.contains(name), "{name}: {text}");
        assert!(
            name == "FRONTDESK_MAIL_REPLY_TO" || text.contains(&format!("is “{value}”")),
            "{text}"
        );
    }
}

fn doctor(database: &Database, settings: &[Setting<'_>]) -> (Option<i32>, serde_json::Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(["doctor", "--json"])
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .envs([("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)])
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

/// What `doctor` says about `check`: verdict and message.
fn findings(report: &serde_json::Value, check: &str) -> Vec<(String, String)> {
    let all = report["findings"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    all.filter(|one| one["what"] == check)
        .map(|one| (text(&one["verdict"]), text(&one["said"])))
        .collect()
}

#[test]
fn doctor_names_colors_with_too_little_contrast_and_those_it_cannot_read() {
    let database = Database::new();
    let (_, report) = doctor(&database, &[]);
    let ours = findings(&report, "contrast");
    assert!(ours.len() == 1 && ours[0].0 == "ok", "{ours:?}");
    let css = ":root {\n  --fd-text-muted: oklch(75% 0 0);\n  --fd-accent: color-mix(in oklch, red, blue);\n}\n\
               @media (prefers-color-scheme: dark) {\n  :root { --fd-text-muted: #ddd; --fd-control-border: rgb(40 40 40) }\n}\n";
    let folder = folder_with("contrast", &[("site.css", css)]);
    let place = |line| format!("{}:{line}: ", folder.join("site.css").display());
    let (code, report) = doctor(&database, &[static_dir(&folder)]);
    assert_eq!(code, Some(4), "{report}");
    let found = findings(&report, "contrast");
    let expected = [
        (2, "in the light scheme, --fd-text-muted (#aeaeae) on --fd-background (#fcfaf6)"),
        (2, "in the light scheme, --fd-text-muted (#aeaeae) on --fd-surface (#ffffff)"),
        (6, "in the dark scheme, --fd-control-border (#282828) on --fd-background (#111419)"),
        (6, "in the dark scheme, --fd-control-border (#282828) on --fd-surface ("),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((verdict, message), (line, text)) in found.iter().zip(expected) {
        let start = format!("{}{text}", place(line));
        assert!(verdict == "problem" && message.starts_with(&start), "{start} is not in {message}");
    }
    assert!(found[0].1.contains("2.") && found[0].1.ends_with("Text needs 4.5:1."), "{found:?}");
    assert!(found[2].1.ends_with("Controls and focus need 3:1."), "{found:?}");
    let unread = findings(&report, "colors");
    assert_eq!(unread.len(), 1, "{unread:?}");
    assert_eq!(unread[0].0, "warning");
    assert!(unread[0].1.starts_with(&place(3)) && unread[0].1.contains("mails keep"), "{unread:?}");
    // Only the scheme that the site has.
    let light = ("FRONTDESK_COLOR_SCHEME", "light");
    let (_, report) = doctor(&database, &[static_dir(&folder), light]);
    let found = findings(&report, "contrast");
    assert!(
        found.len() == 2 && found.iter().all(|(_, text)| text.contains("the light")),
        "{found:?}"
    );
}

#[test]
fn mails_and_browsers_have_the_colors_of_the_site() {
    let database = Database::new();
    let css = "@layer site { :root { --fd-accent: #7a0019; --fd-background: #fffaf0 } }\n\
               @media (prefers-color-scheme: dark) { :root { --fd-accent: #ff99aa; --brand: #100; --fd-background: var(--brand) } }";
    let folder = folder_with("colors", &[("site.css", css)]);
    for (scheme, colors, absent) in [
        ("auto", &["#7a0019", "#fffaf0", "#ff99aa", "#110000"][..], &["#005a5f", "#72d0d0"][..]),
        ("light", &["#7a0019", "#fffaf0"], &["#ff99aa", "#110000", "prefers-color-scheme"]),
        ("dark", &["#ff99aa", "#110000"], &["#7a0019", "#fffaf0", "prefers-color-scheme"]),
    ] {
        let mails = new_folder(&format!("own_look_mails_{scheme}"));
        let settings = [
            static_dir(&folder),
            ("FRONTDESK_COLOR_SCHEME", scheme),
            ("FRONTDESK_REGISTRATION", "open"),
            ("FRONTDESK_MAIL_DIR", mails.to_str().unwrap()),
        ];
        let server = Server::start(&database, &settings);
        let email = format!("{scheme}@example.com");
        registered(&server, &email);
        server.browser().post("/forgot-password", &[("email", &email)]);
        let mail = written_mail(&mails);
        let page = server.browser().get("/login").body;
        for color in colors {
            assert!(mail.contains(color), "{scheme} {color}: {mail}");
        }
        for absent in absent {
            assert!(!mail.contains(absent), "{scheme} {absent}: {mail}");
        }
        let themes: Vec<&str> = page.split("<meta name=\"theme-color\"").skip(1).collect();
        let content = |index: usize| themes[index].split("content=\"").nth(1).unwrap();
        let background = if scheme == "dark" { "#110000\"" } else { "#fffaf0\"" };
        assert!(content(0).starts_with(background), "{page}");
        assert_eq!(themes.len(), if scheme == "auto" { 2 } else { 1 });
        assert!(scheme != "auto" || content(1).starts_with("#110000\""), "{page}");
    }
}

#[test]
fn the_home_page_names_the_site_and_nothing_else() {
    let database = Database::new();
    let settings = [("FRONTDESK_SITE_NAME", "The Lake Club"), ("FRONTDESK_REGISTRATION", "open")];
    let server = Server::start(&database, &settings);
    let page = server.browser().get("/").body;
    let text = page.replace("frontdesk.css", "");
    assert!(!text.to_lowercase().contains("frontdesk"), "{page}");
    assert!(page.contains("<h1>The Lake Club</h1>"), "{page}");
    assert_eq!(page.matches("class=\"button").count(), 2, "{page}");
    for link in ["href=\"/login\"", "href=\"/register\""] {
        assert!(page.contains(link), "{page}");
    }
    let page = registered(&server, "ada@example.com").get("/").body;
    assert!(page.contains("href=\"/account\"") && !page.contains("href=\"/login\""), "{page}");
    let closed = Server::start(&database, &[settings[0], ("FRONTDESK_REGISTRATION", "closed")]);
    let page = closed.browser().get("/").body;
    assert_eq!(page.matches("class=\"button").count(), 1, "{page}");
}
