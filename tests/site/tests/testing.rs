//! The module `frontdesk::testing`.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use frontdesk::sqlx;
use frontdesk::testing::{PASSWORD, TestServer};

const PROGRAM: &str = env!("CARGO_BIN_EXE_site-under-test");
const GREETING: (&str, &str) = ("SHOP_GREETING", "Hello");

fn start() -> TestServer {
    TestServer::start_with(PROGRAM, [GREETING])
}

#[test]
fn each_server_has_a_database_of_its_own_which_is_deleted_with_it() {
    let (one, two) = (start(), start());
    one.block_on(sqlx::query("INSERT INTO ticks DEFAULT VALUES").execute(one.pool())).unwrap();
    let count = |server: &TestServer, sql: &'static str| -> i64 {
        server.block_on(sqlx::query_scalar(sql).fetch_one(server.pool())).unwrap()
    };
    // The job of the site inserts a row at start.
    assert!(count(&one, "SELECT count(*) FROM ticks") > 0);
    let of_this_run = "SELECT count(*) FROM pg_database WHERE datname = current_database()";
    assert_eq!(count(&two, of_this_run), 1);
    let name: String = one
        .block_on(sqlx::query_scalar("SELECT current_database()::text").fetch_one(one.pool()))
        .unwrap();
    drop(one);
    let exists = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)");
    let exists: bool = two.block_on(exists.bind(name).fetch_one(two.pool())).unwrap();
    assert!(!exists);
}

#[test]
fn another_server_has_the_same_accounts_and_sessions() {
    let server = start();
    let other = server.another();
    let ada = server.browser().sign_in("ada@example.com");
    let there = other.browser_with_cookies_of(&ada);
    assert!(there.get("/whoami").text().contains("ada@example.com"));
    ada.get("/account");
    assert_eq!(ada.submit("/logout", []).status(), 303);
    assert_eq!(there.get("/whoami").status(), 303, "signed out at the other server too");
    assert_ne!(server.url(), other.url());
    drop(server);
    assert_eq!(there.get("/feed").status(), 200, "the database stays");
}

#[test]
fn a_browser_signs_in_without_a_password_and_keeps_its_cookies() {
    let server = start();
    let ada = server.browser().sign_in("ada@example.com");
    let text = ada.get("/whoami").text().to_owned();
    assert!(text.contains("\"display_name\":\"ada\""), "{text}");
    assert!(ada.cookie("session").is_some());
    // The same account, in another browser and by its password.
    let second = server.browser().sign_in("ada@example.com");
    let id = |text: &str| text.split("\"id\":").nth(1).unwrap()[..38].to_owned();
    assert_eq!(id(second.get("/whoami").text()), id(&text));
    let third = server.browser();
    third.get("/login");
    let answer = third.submit("/login", [("email", "ada@example.com"), ("password", PASSWORD)]);
    assert_eq!((answer.status(), answer.location()), (303, "/account"));
    assert!(third.get("/whoami").text().contains("ada@example.com"));
    assert_eq!(server.browser().get("/whoami").status(), 303);
}

#[test]
fn a_form_is_sent_with_its_hidden_fields_and_redirects_are_followed() {
    let server = start();
    let ada = server.browser().sign_in("ada@example.com");
    ada.get("/page");
    let page = ada.follow(ada.submit("/recent", [("count", "2")]));
    assert_eq!(page.status(), 200);
    assert!(page.text().contains("ada counted 2."), "{}", page.text());
    let refused = ada.submit("/recent", [("count", "0")]);
    assert_eq!(refused.status(), 422);
    assert!(refused.text().contains("Count at least one."));
    let guest = server.browser();
    let answer = guest.follow(guest.get("/whoami"));
    assert!(answer.text().contains("type=\"password\""), "the sign-in page");
}

#[test]
fn a_form_or_a_field_that_does_not_exist_fails_the_test_with_those_that_do() {
    let server = start();
    let message = |action: &'static str, field: &'static str| {
        let browser = server.browser();
        let failed = thread::spawn(move || {
            browser.get("/page");
            browser.submit(action, [(field, "1")]);
        });
        *failed.join().unwrap_err().downcast::<String>().expect("a message")
    };
    let form = message("/nothing", "count");
    assert!(
        form.contains("no form with action=\"/nothing\"") && form.contains("/recent"),
        "{form}"
    );
    let field = message("/recent", "cuont");
    assert!(field.contains("no field cuont") && field.contains("\"count\""), "{field}");
}

#[test]
fn mails_are_read_in_the_order_in_which_they_were_sent() {
    let settings = [GREETING, ("FRONTDESK_REGISTRATION", "verified")];
    let server = TestServer::start_with(PROGRAM, settings);
    let ada = server.browser();
    ada.get("/register");
    let fields = [("email", "Ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
    assert_eq!(ada.submit("/register", fields).status(), 303);
    let mail = server.mail_to("ada@example.com");
    let link = mail.links.iter().find(|link| link.starts_with("/verify-email/")).expect("a link");
    assert!(mail.subject.contains("email") && mail.text.contains(link.as_str()), "{mail:?}");
    let opened = ada.follow(ada.get(link));
    assert_eq!(opened.status(), 200, "{}", opened.text());
    assert_eq!(ada.submit("/verify-email/link", [("password", PASSWORD)]).status(), 303);
    ada.get("/forgot-password");
    ada.submit("/forgot-password", [("email", "ada@example.com")]);
    let next = server.mail_to("ada@example.com");
    assert_ne!(next.subject, mail.subject);
}

#[test]
fn a_session_that_was_aged_asks_for_the_password_again_and_then_expires() {
    let server = start();
    let ada = server.browser().sign_in("ada@example.com");
    server.db_age_session("ada@example.com", Duration::from_secs(20 * 60));
    ada.get("/page");
    assert_eq!(ada.submit("/recent", [("count", "1")]).status(), 403);
    assert_eq!(ada.get("/whoami").status(), 200);
    server.db_age_session("ada@example.com", Duration::from_secs(24 * 3600));
    assert_eq!(ada.get("/whoami").status(), 303);
}

#[test]
fn commands_run_on_the_database_of_the_test() {
    let server = start();
    let ada = server.browser().sign_in("ada@example.com");
    assert_eq!(ada.get("/statistics").status(), 404);
    let promoted = server.command(["user", "promote", "ada@example.com"]);
    assert_eq!(promoted.code, Some(0), "{}", promoted.stderr);
    // The new role has ended the session.
    let ada = server.browser().sign_in("ada@example.com");
    assert_eq!(ada.get("/statistics").text(), "ada@example.com");
    let counted = server.command(["count", "--fail"]);
    assert_eq!(counted.code, Some(1));
    assert!(counted.stdout.contains("ticks, 1 arguments") && counted.stderr.contains("fail"));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_program_that_does_not_start_fails_the_test_with_its_log() {
    let failed = thread::spawn(|| {
        TestServer::start_with(PROGRAM, [("SHOP_GREETING", "x"), ("SHOP_LIMIT", "many")])
    });
    let Err(message) = failed.join() else { panic!("it started") };
    let message = *message.downcast::<String>().expect("a message");
    assert!(message.contains("SHOP_LIMIT"), "{message}");
}

#[test]
#[ignore = "a_server_ends_with_the_process_of_the_tests_that_was_killed runs it"]
fn prints_the_address_of_a_server_and_waits() {
    let server = start();
    println!("\n{}", server.url());
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn a_server_ends_with_the_process_of_the_tests_that_was_killed() {
    let mut tests = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "prints_the_address_of_a_server_and_waits"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tests.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("http://").map(str::to_owned));
    let address = address.expect("a server");
    assert!(TcpStream::connect(&address).is_ok());
    tests.kill().unwrap();
    tests.wait().unwrap();
    let began = Instant::now();
    while TcpStream::connect(&address).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(30), "the server still listens");
        thread::sleep(Duration::from_millis(5));
    }
}
