//! Templates from the folder of an operator (`FRONTDESK_TEMPLATES_DIR`).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::own_look::refused;
use crate::support::breakpoint::until;
use crate::support::routes::routes;
use crate::support::server::Setting;
use crate::support::website::{run, try_start};
use crate::support::{Database, PASSWORD, Server, registered};

/// A new folder with these files.
pub fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("templates-{name}"));
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

pub fn templates_dir(folder: &Path) -> Setting<'_> {
    ("FRONTDESK_TEMPLATES_DIR", folder.to_str().unwrap())
}

const BASE: &str = "{% extends \"frontdesk/layouts/base.html\" %}
{% block header %}<p>Look header</p>{{ super() }}{% endblock %}
{% block footer %}<footer>Look footer</footer>{% endblock %}";

#[test]
fn the_templates_of_an_operator_change_every_page_and_mail() {
    let folder = folder(
        "all",
        &[
            ("layouts/base.html", BASE),
            (
                "components/submit.html",
                "{% component form.submit(label: string, kind: string = \"primary\", wide: bool = false) %}<button type=\"submit\" class=\"look\">{{ label }}</button>{% endcomponent form.submit %}",
            ),
            (
                "sign_in/register.html",
                "{% extends \"frontdesk/sign_in/register.html\" %}\n{% block title %}Join{% endblock %}",
            ),
            ("mail/layout.txt", "Look mail\n{% block content %}{% endblock %}"),
            ("mail/reset_password/subject.txt", "Look: a new password"),
            (".originals/layouts/base.html", "{% broken"),
            (".editor.swp", "x"),
        ],
    );
    let database = Database::new();
    let server = Server::start(&database, &[templates_dir(&folder)]);
    let mut ada = registered(&server, "ada@example.com");
    let mut stranger = server.browser();
    stranger.post("/forgot-password", &[("email", "ada@example.com")]);
    let paths = routes().into_iter().filter(|route| route.supports("GET"));
    let paths = paths.map(|route| route.path).filter(|path| !path.contains('{'));
    let mut count = 0;
    for path in paths.chain(["/nowhere", "/account/nowhere", "/logout"].map(str::to_owned)) {
        for browser in [&mut ada, &mut stranger] {
            let response = browser.get(&path);
            if response.header("content-type") != Some("text/html; charset=utf-8") {
                continue;
            }
            count += 1;
            for part in ["<p>Look header</p>", "<footer>Look footer</footer>"] {
                assert_eq!(response.body.matches(part).count(), 1, "{path}: {}", response.body);
            }
        }
    }
    assert!(count > 30, "{count}");
    let page = stranger.get("/register").body;
    assert!(page.contains("<title>Join · Frontdesk</title>"), "{page}");
    assert!(page.contains("<button type=\"submit\" class=\"look\">Create account</button>"));
    // The mail is rendered by a background job.
    until(|| stranger.get("/dev/mailbox").body.contains("Look: a new password"));
    let list = stranger.get("/dev/mailbox").body;
    let id = list.split("/dev/mailbox/").nth(1).unwrap().split('"').next().unwrap();
    let mail = stranger.get(&format!("/dev/mailbox/{id}")).body;
    assert!(mail.contains("Look mail") && mail.contains("/reset-password/"), "{mail}");
    let signed_in =
        stranger.post("/login", &[("email", "ada@example.com"), ("password", PASSWORD)]);
    assert_eq!(signed_in.status, 303);
}

#[test]
fn a_broken_folder_of_templates_stops_the_start_with_the_file_and_the_line() {
    let database = Database::new();
    let cases: &[(&str, &str, &str)] = &[
        ("sign_in/login.html", "<p>\n{% if x %}", "/sign_in/login.html:2: "),
        (
            "home.html",
            "{% extends \"layouts/base.html\" %}\n\n{% block contnt %}{% endblock %}",
            "/home.html:3: Block `contnt` is not defined in any parent template. Its parents have the blocks aside, content,",
        ),
        (
            "home.html",
            "{{ <ui.tme time={x} /> }}",
            "/home.html:1: Unknown component `ui.tme`. Did you mean ui.time?",
        ),
        (
            "home.html",
            "{% extends \"layouts/none.html\" %}",
            "/home.html:1: extends layouts/none.html, which does not exist",
        ),
        (
            "c.html",
            "\n{% component ui.time(when) %}x{% endcomponent ui.time %}",
            "/c.html:2: The component ui.time lacks the parameter time. It replaces Frontdesk's, which is ui.time(time).",
        ),
        ("README.md", "x", "/README.md: must end in .html (or in .txt below mail/)."),
        ("page.txt", "x", "/page.txt: must end in .html (or in .txt below mail/)."),
    ];
    for (index, (path, text, expected)) in cases.iter().enumerate() {
        let folder = folder(&format!("broken-{index}"), &[(path, text)]);
        let (code, printed) = refused(&database, &[templates_dir(&folder)]);
        assert_eq!(code, Some(2), "{path}: {printed}");
        let expected = format!("FRONTDESK_TEMPLATES_DIR: {}{expected}", folder.display());
        assert!(printed.contains(&expected), "{printed}\n{expected}");
    }
    let large = folder("large", &[("home.html", &"x".repeat(1024 * 1024 + 1))]);
    let outside = folder("outside", &[]);
    symlink(large.join("home.html"), outside.join("home.html")).unwrap();
    let missing = Path::new(env!("CARGO_TARGET_TMPDIR")).join("templates-missing");
    for (folder, file, text) in [
        (&large, "/home.html", "more than 1 MiB"),
        (&outside, "/home.html", "outside of the folder"),
        (&missing, "", "cannot be read"),
    ] {
        let (code, printed) = refused(&database, &[templates_dir(folder)]);
        assert_eq!(code, Some(2), "{printed}");
        let path = format!("FRONTDESK_TEMPLATES_DIR: {}{file} ", folder.display());
        assert!(printed.contains(&path) && printed.contains(text), "{printed}");
    }
}

#[test]
fn a_template_without_a_field_fails_on_its_page_alone() {
    let folder = folder(
        "field",
        &[(
            "sign_in/register.html",
            "{% extends \"frontdesk/sign_in/register.html\" %}\n{% block title %}{{ no_such_field }}{% endblock %}",
        )],
    );
    let database = Database::new();
    let server = Server::start(&database, &[templates_dir(&folder)]);
    let mut browser = server.browser();
    assert_eq!(browser.get("/register").status, 500);
    assert_eq!(browser.get("/login").status, 200);
    until(|| server.log().contains("no_such_field"));
}

#[test]
fn an_operator_also_replaces_the_templates_of_a_site() {
    let folder = folder(
        "site",
        &[
            (
                "start.html",
                "{% extends \"site/start.html\" %}\n{% block title %}Replaced{% endblock %}",
            ),
            ("layouts/base.html", BASE),
        ],
    );
    let database = Database::empty();
    let server = try_start("notes", &database, &[templates_dir(&folder)]).unwrap();
    let page = server.browser().get("/").body;
    assert!(page.contains("<title>Replaced · Notes</title>"), "{page}");
    assert!(page.contains("Keep your notes in one place.") && page.contains("Look footer"));
    fs::write(folder.join("start.html"), "{% block x %}").unwrap();
    let (code, text) = run("notes", &database, &["doctor"], &[templates_dir(&folder)]);
    assert!(code == Some(2) && text.contains("/start.html:1: "), "{text}");
}
