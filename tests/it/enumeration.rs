//! Whether an address has an account: sign-in, registration and recovery say the same of every class of account, and take
//! the same time.

use crate::support::mail::db_forget_tries;
use crate::support::median::take_the_same_time;
use crate::support::{Answer, Browser, Database, OTHER_PASSWORD, PASSWORD, Server};

const CLASSES: [&str; 6] =
    ["unknown", "wrong", "disabled", "unverified", "no-password", "disabled-unverified"];

/// A server with one account of each class, `<class>@example.com`.
fn classes() -> (Server, Database) {
    let database = Database::new();
    let open = Server::start(&database, &[]);
    for class in &CLASSES[1..] {
        open.browser().register(&format!("{class}@example.com"));
    }
    drop(open);
    for sql in [
        "UPDATE users SET email_verified_at = now() WHERE email NOT LIKE '%unverified%'",
        "UPDATE users SET disabled_at = now() WHERE email LIKE 'disabled%'",
        "UPDATE users SET password_hash = NULL WHERE email LIKE 'no-password%'",
        "DELETE FROM mail_outbox",
    ] {
        database.db_execute(sql);
    }
    let server = Server::start(&database, &[("FRONTDESK_REGISTRATION", "verified")]);
    (server, database)
}

/// Everything of an answer but what differs between any two.
fn bare(answer: &Answer, email: &str) -> String {
    let id = answer.header("x-request-id").unwrap();
    let mut head: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("date"))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    head.sort();
    let mut all = format!("{}\n{}\n\n{}", answer.status, head.join("\n"), answer.body);
    all = all.replace(id, "ID").replace(email, "EMAIL");
    if let Some((_, ticket)) = answer.location().split_once("?ticket=") {
        all = all.replace(ticket, "TICKET");
    }
    // The length of a page that repeats an address is that of the page and the address.
    let length = answer.body.len().to_string();
    let without =
        (answer.body.len() - email.len() * answer.body.matches(email).count()).to_string();
    all.replace(&format!("content-length: {length}"), &format!("content-length: {without}"))
}

fn register(browser: &mut Browser, email: &str) -> Answer {
    let fields = [("email", email), ("display_name", "Somebody"), ("password", PASSWORD)];
    browser.post("/register", &fields)
}

fn recover(browser: &mut Browser, email: &str) -> Answer {
    browser.post("/forgot-password", &[("email", email)])
}

#[test]
fn registration_and_recovery_answer_every_class_of_account_byte_for_byte_the_same() {
    let (server, database) = classes();
    for what in [register, recover] {
        let answers: Vec<String> = CLASSES
            .iter()
            .map(|class| {
                db_forget_tries(&database);
                let email = format!("{class}@example.com");
                let mut browser = server.browser();
                let answer = what(&mut browser, &email);
                assert_eq!(answer.status, 303, "{}", answer.body);
                assert!(browser.session().is_none());
                let next = browser.get(answer.location());
                bare(&answer, &email)
                    + &bare(&next, &email).replace(
                        answer.location().split_once("?ticket=").map_or("-", |(_, ticket)| ticket),
                        "TICKET",
                    )
            })
            .collect();
        for (class, answer) in CLASSES.iter().zip(&answers) {
            assert_eq!(answer, &answers[0], "{class}");
        }
    }
    // And what a code says there.
    let said: Vec<String> = CLASSES
        .iter()
        .map(|class| {
            db_forget_tries(&database);
            let email = format!("{class}@example.com");
            let mut browser = server.browser();
            let waits = register(&mut browser, &email).location().to_owned();
            let until = "SELECT count(*) FROM registrations WHERE mailed_at IS NULL";
            crate::support::kill::until(|| database.db_count(until) == 0);
            let ticket = waits.split_once('=').unwrap().1.to_owned();
            let mut said = String::new();
            for _ in 0..7 {
                db_forget_tries(&database);
                let answer = browser.post(&waits, &[("code", "0000-0000")]);
                said += &bare(&answer, &email).replace(&ticket, "TICKET");
            }
            let answer = browser.post(&waits, &[("again", "on")]);
            assert_eq!(answer.status, 303);
            said
        })
        .collect();
    for (class, one) in CLASSES.iter().zip(&said) {
        assert_eq!(one, &said[0], "{class}");
    }
}

#[test]
fn sign_in_takes_the_same_time_for_every_class_of_account() {
    let (server, database) = classes();
    let mut acts = CLASSES.map(|class| {
        let (server, database, email) = (&server, &database, format!("{class}@example.com"));
        let act: Box<dyn FnMut(usize) + '_> = Box::new(move |_| {
            db_forget_tries(database);
            let answer = server.browser().login(&email, OTHER_PASSWORD);
            assert_eq!(answer.status, 422);
        });
        (class, act)
    });
    take_the_same_time("sign-in", 400, &mut acts);
}

#[test]
fn registration_takes_the_same_time_for_every_class_of_account() {
    let (server, database) = classes();
    let mut acts = CLASSES.map(|class| {
        let (server, database) = (&server, &database);
        let act: Box<dyn FnMut(usize) + '_> = Box::new(move |number| {
            db_forget_tries(database);
            let email = match class {
                "unknown" => format!("unknown{number}@example.com"),
                class => format!("{class}@example.com"),
            };
            assert_eq!(register(&mut server.browser(), &email).status, 303);
        });
        (class, act)
    });
    take_the_same_time("registration", 400, &mut acts);
}

#[test]
fn recovery_takes_the_same_time_for_every_class_of_account() {
    let (server, database) = classes();
    let mut acts = CLASSES.map(|class| {
        let (server, database, email) = (&server, &database, format!("{class}@example.com"));
        let act: Box<dyn FnMut(usize) + '_> = Box::new(move |_| {
            db_forget_tries(database);
            assert_eq!(recover(&mut server.browser(), &email).status, 303);
        });
        (class, act)
    });
    take_the_same_time("recovery", 400, &mut acts);
}
