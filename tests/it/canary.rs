//! Canary secrets are searched for everywhere that data is written: logs, metrics, audit events, tables,
//! mail, and the log of a PostgreSQL that logs every statement with its parameters.

use actix_web::cookie::{Cookie, CookieJar, Key};
use frontdesk::db::migrations;
use frontdesk::db::private_cluster::Cluster as PostgreSql;

use crate::support::folder::new_folder;
use crate::support::mail::{db_clear_rate_limits, db_mail, db_mails};
use crate::support::port::free_addr;
use crate::support::server::KEY;
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server};

const WRONG: &str = "canary that sang at dawn";
const RESET: &str = "canary that sang at dusk";

/// The secret in a session cookie, and the cookie as the browser holds it.
fn secrets_of(browser: &Browser) -> [String; 2] {
    let cookie = browser.session().expect("signed in").to_owned();
    let plain = percent_encoding::percent_decode_str(&cookie).decode_utf8().unwrap().into_owned();
    let mut jar = CookieJar::new();
    jar.add_original(Cookie::new("session", plain));
    let opened = jar
        .private(&Key::derive_from(KEY.as_bytes()))
        .get("session")
        .expect("a cookie sealed with our key");
    [cookie, opened.value().to_owned()]
}

#[test]
fn secrets_never_appear_in_logs_tables_metrics_or_other_mails() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = new_folder("canary");
    let settings = [
        ("fsync", "off"),
        ("log_statement", "all"),
        // The private PostgreSQL logs no parameters by default.
        ("log_error_verbosity", "default"),
        ("log_min_error_statement", "error"),
        ("log_parameter_max_length_on_error", "-1"),
    ];
    let postgresql = runtime.block_on(PostgreSql::start_with(&folder, &settings)).unwrap();
    let database = Database::connect(postgresql.url());
    database.runtime.block_on(migrations::run(&database.pool)).unwrap();
    let metrics = free_addr();
    let server = Server::start(
        &database,
        &[
            ("RUST_LOG", "debug,frontdesk=trace,sqlx=trace"),
            ("FRONTDESK_METRICS_BIND", metrics.as_str()),
        ],
    );

    let mut secrets: Vec<(&str, String)> = Vec::new();
    for (what, password) in [
        ("a password", PASSWORD),
        ("a wrong password", WRONG),
        ("a new password", OTHER_PASSWORD),
        ("a reset password", RESET),
    ] {
        secrets.push((what, password.to_owned()));
        secrets.push((what, password.replace(' ', "+")));
    }
    let add_session = |secrets: &mut Vec<(&str, String)>, browser: &Browser| {
        secrets.extend(secrets_of(browser).map(|secret| ("a session", secret)));
    };
    let mut ada = server.browser();
    ada.register("ada@example.com");
    add_session(&mut secrets, &ada);
    let verify = db_mail(&database, "verify_email", 1);
    assert_eq!(server.browser().login("ada@example.com", WRONG).status, 422);
    assert_eq!(server.browser().login(WRONG, PASSWORD).status, 422);
    let mut other = server.browser();
    assert_eq!(other.login("ada@example.com", PASSWORD).status, 303);
    add_session(&mut secrets, &other);
    let new = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
    assert_eq!(ada.post("/account/password", &new).status, 303);
    add_session(&mut secrets, &ada);
    assert_eq!(ada.post("/account/email/verify", &[]).status, 303);
    let again = db_mail(&database, "verify_email", 2);
    let wrong_code = ada.post("/account/email/code", &[("verify_code", verify.text("code"))]);
    assert_eq!(wrong_code.status, 422);
    let token = again.text("token");
    assert_eq!(ada.open(&format!("/verify-email/{token}")).status, 200);
    assert_eq!(ada.post(&format!("/verify-email/{token}"), &[]).status, 303);
    assert_eq!(ada.post("/account/email", &[("email", "ada@new.example.com")]).status, 303);
    let change = db_mail(&database, "change_email", 1);
    let code = [("change_code", change.text("code"))];
    assert_eq!(ada.post("/account/email/code", &code).status, 303);
    add_session(&mut secrets, &ada);
    db_clear_rate_limits(&database);
    server.browser().post("/forgot-password", &[("email", "ada@new.example.com")]);
    let reset = db_mail(&database, "reset_password", 1);
    let path = format!("/reset-password/{}", reset.text("token"));
    let response = server.browser().post(&path, &[("new_password", RESET)]);
    assert_eq!(response.status, 303, "{}", response.body);
    assert_eq!(ada.post("/logout", &[]).status, 303);
    let undo = db_mail(&database, "email_changed", 1);

    let mails = db_mails(&database);
    for (mail, name, what) in [
        (&verify, "token", "a link"),
        (&verify, "code", "a code"),
        (&again, "token", "a link"),
        (&again, "code", "a code"),
        (&change, "token", "a link"),
        (&change, "code", "a code"),
        (&reset, "token", "a reset link"),
        (&undo, "undo_token", "an undo link"),
    ] {
        let secret = mail.text(name).to_owned();
        let own = mails.iter().filter(|mail| mail.data.to_string().contains(&secret)).count();
        assert_eq!(own, 1, "{what} is in its own mail only");
        secrets.push((what, secret));
    }
    for (what, secret) in &secrets[..secrets.len() - 8] {
        let is_mailed = mails.iter().any(|mail| mail.data.to_string().contains(secret.as_str()));
        assert!(!is_mailed, "{what} is in a mail");
    }

    // A code may also be written without its dash.
    let without_dash = secrets.iter().filter(|(what, _)| *what == "a code");
    let without_dash: Vec<_> =
        without_dash.map(|(what, code)| (*what, code.replace('-', ""))).collect();
    secrets.extend(without_dash);

    // A word that each text must contain proves that the text was read.
    let tables: Vec<String> = database
        .db_texts("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        .into_iter()
        .map(|table| database.db_texts(&format!("SELECT t::text FROM {table} AS t")).join("\n"))
        .collect();
    let metrics = Browser::new(&metrics).get("/metrics").body;
    let server_log = server.stop();
    let log = postgresql.data_dir().join("postgres.log");
    runtime.block_on(postgresql.stop()).unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    for (place, text, word) in [
        ("the tables", tables.join("\n"), "$argon2id$"),
        ("the server's log", server_log, "answered"),
        // A statement parameter that is not secret.
        ("PostgreSQL's log", log, "= 'ada@example.com'"),
        ("the metrics", metrics, "frontdesk_session"),
    ] {
        assert!(text.contains(word), "{place} was not read:\n{text}");
        for (what, secret) in &secrets {
            assert!(!text.contains(secret.as_str()), "{what} is in {place}");
        }
    }
}
