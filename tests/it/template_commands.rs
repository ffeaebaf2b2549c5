//! `frontdesk template`, `/dev/templates`, and templates that change while the server runs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::server::{KEY, Setting};
use crate::support::{Database, Server};
use crate::template_folder::{folder, templates_dir};

const LOGIN: &str = "sign_in/login.html";

/// Runs a command: its exit code, and what it printed.
pub fn run(
    database: &Database,
    arguments: &[&str],
    settings: &[Setting<'_>],
) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(arguments)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .envs([("DATABASE_URL", database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)])
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn template_check_and_doctor_name_the_file_and_the_line_of_a_mistake() {
    let database = Database::new();
    let title = "{% extends \"frontdesk/sign_in/login.html\" %}\n{% block title %}{{ no_such_field }}{% endblock %}";
    let folder = folder("check", &[(LOGIN, title)]);
    let (code, text) = run(&database, &["template", "check"], &[templates_dir(&folder)]);
    let expected = format!("{}/{LOGIN}:2: ", folder.display());
    assert!(code == Some(4) && text.contains(&expected), "{text}");
    assert!(text.contains("no_such_field"), "{text}");
    let (code, text) = run(&database, &["doctor"], &[templates_dir(&folder)]);
    assert!(code == Some(4) && text.contains(&expected), "{text}");
    fs::write(folder.join(LOGIN), "{% if %}").unwrap();
    let (code, text) = run(&database, &["template", "check"], &[templates_dir(&folder)]);
    assert!(
        code == Some(2) && text.contains(&format!("{}/{LOGIN}:1: ", folder.display())),
        "{text}"
    );
    let (code, text) = run(&database, &["template", "check"], &[]);
    assert!(code == Some(0) && text.starts_with("OK: "), "{text}");
}

/// The heading in [`LOGIN`].
const TITLE: &str = "<h1>{{ t(key=\"login-title\") }}</h1>";

#[test]
fn a_template_is_copied_and_compared_with_its_original() {
    let database = Database::new();
    let folder = folder("copy", &[]);
    let setting = [templates_dir(&folder)];
    let template =
        |arguments: &[&str]| run(&database, &[&["template"], arguments].concat(), &setting);
    let (code, text) = template(&["copy", LOGIN]);
    assert_eq!(code, Some(0), "{text}");
    let original = fs::read_to_string(Path::new("templates").join(LOGIN)).unwrap();
    assert_eq!(fs::read_to_string(folder.join(LOGIN)).unwrap(), original);
    let kept = folder.join(".originals").join(LOGIN);
    assert_eq!(fs::read_to_string(&kept).unwrap(), original);
    fs::write(folder.join(LOGIN), original.replace(TITLE, "<h1>Enter</h1>")).unwrap();
    let (code, text) = template(&["copy", LOGIN]);
    assert!(code == Some(2) && text.contains("exists already"), "{text}");
    assert!(fs::read_to_string(folder.join(LOGIN)).unwrap().contains("<h1>Enter</h1>"));
    let (code, text) = template(&["copy", "sign_in/none.html"]);
    assert!(code == Some(3) && text.contains("no template sign_in/none.html"), "{text}");
    assert_eq!(template(&["diff"]), (Some(0), String::new()));
    // As if an older version had been copied.
    fs::write(&kept, original.replace(TITLE, "<h1>Log in</h1>")).unwrap();
    let (code, text) = template(&["diff", LOGIN]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("-<h1>Log in</h1>\n+{TITLE}")), "{text}");
    assert_eq!(template(&["diff"]).1, text);
    assert_eq!(template(&["diff", "home.html"]).0, Some(3));
    let (_, text) = run(&database, &["doctor"], &setting);
    assert!(text.contains("sign_in/login.html has changed since it was copied"), "{text}");
    assert!(!text.contains("is writable"), "in development, it has to be: {text}");
    let public = [setting[0], ("FRONTDESK_PUBLIC_URL", "https://desk.example.com")];
    let (_, text) = run(&database, &["doctor"], &public);
    assert!(text.contains(&format!("{} is writable", folder.display())), "{text}");
    let look = self::folder("look", &[("logo.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>")]);
    // The program may run as another user than the tests.
    fs::set_permissions(look.join("logo.svg"), Permissions::from_mode(0o666)).unwrap();
    let look = ("FRONTDESK_STATIC_DIR", look.to_str().unwrap());
    let (_, text) = run(&database, &["doctor"], &[look, public[1]]);
    let is_named = |line: &str| line.contains(look.1) && line.contains(" is writable");
    assert!(text.lines().any(is_named), "{text}");
    let (_, text) = template(&["list"]);
    let row = text.lines().find(|line| line.starts_with(LOGIN)).expect("its row");
    assert!(row.contains("operator") && row.contains("yes"), "{row}");
    let row = text.lines().find(|line| line.starts_with("account/sessions.html")).expect("its row");
    assert!(row.contains("frontdesk") && row.contains("no"), "{row}");
    let (code, text) = run(&database, &["template", "copy", LOGIN], &[]);
    assert!(code == Some(2) && text.contains("FRONTDESK_TEMPLATES_DIR"), "{text}");
}

#[test]
fn a_changed_template_is_used_at_the_next_request_in_development_only() {
    let database = Database::new();
    let text = |title: &str| {
        format!(
            "{{% extends \"frontdesk/sign_in/login.html\" %}}\n{{% block title %}}{title}{{% endblock %}}"
        )
    };
    let folder = folder("reload", &[(LOGIN, &text("One"))]);
    let server = Server::start(&database, &[templates_dir(&folder)]);
    let mut browser = server.browser();
    assert!(browser.get("/login").body.contains("<title>One · "));
    fs::write(folder.join(LOGIN), text("Two")).unwrap();
    assert!(browser.get("/login").body.contains("<title>Two · "));
    fs::write(folder.join(LOGIN), text("{{ no_such_field }}")).unwrap();
    let broken = browser.get("/login");
    assert!(
        broken.status == 500 && broken.body.contains("/sign_in/login.html:2: "),
        "{}",
        broken.body
    );
    assert_eq!(browser.get("/register").status, 200);
    fs::write(folder.join(LOGIN), "{% if %}").unwrap();
    for path in ["/login", "/register"] {
        let broken = browser.get(path);
        assert!(
            broken.status == 500 && broken.body.contains("/sign_in/login.html:1: "),
            "{}",
            broken.body
        );
    }
    fs::write(folder.join(LOGIN), text("Three")).unwrap();
    assert!(browser.get("/login").body.contains("<title>Three · "));
    let public = [templates_dir(&folder), ("FRONTDESK_PUBLIC_URL", "https://desk.example.com")];
    let server = Server::start(&database, &public);
    let mut browser = server.browser();
    assert!(browser.get("/login").body.contains("<title>Three · "));
    fs::write(folder.join(LOGIN), text("{{ no_such_field }}")).unwrap();
    assert!(browser.get("/login").body.contains("<title>Three · "));
    assert_eq!(browser.get("/dev/templates").status, 404);
}

#[test]
fn every_page_and_mail_is_shown_in_every_state_in_development() {
    let database = Database::new();
    let server = Server::start(&database, &[]);
    let mut browser = server.browser();
    let list = browser.get("/dev/templates").body;
    let samples: Vec<&str> =
        list.split("?sample=").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(samples.len() > 70, "{}", samples.len());
    for sample in &samples {
        let frame = browser.get(&format!("/dev/templates/frame?sample={sample}"));
        assert!(frame.status == 200 && frame.body.contains("</html>"), "{sample}: {}", frame.body);
        assert_eq!(frame.header("x-frame-options"), Some("SAMEORIGIN"));
    }
    let shown = browser.get(&format!("/dev/templates/sample?sample={}", samples[0]));
    assert_eq!(shown.status, 200);
    assert_eq!(shown.body.matches("<iframe ").count(), 2, "light and dark");
    assert!(
        shown.header("content-security-policy").is_some_and(|it| it.contains("frame-src 'self'"))
    );
    for path in ["/dev/templates/sample", "/dev/templates/frame", "/dev/templates/frame?sample=x"] {
        assert_eq!(browser.get(path).status, 404, "{path}");
    }
}
