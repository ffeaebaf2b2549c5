//! A form begun before its session ended, whose body arrives after the end was answered: it is not carried out, it
//! writes nothing, and its answer shows nothing of the account.

use std::collections::BTreeMap;
use std::sync::Barrier;

use crate::command_line::run;
use crate::support::breakpoint::{Breakpoint, until};
use crate::support::browser::{PartialRequest, encode};
use crate::support::mail::{db_clear_rate_limits, db_mails};
use crate::support::{
    Browser, Database, OTHER_PASSWORD, PASSWORD, Response, Server, registered, site,
};

const FORM: &str = "application/x-www-form-urlencoded";

/// A user with two devices. `here` begins the form; its session ends.
struct Site {
    server: Server,
    database: Database,
}

struct Account {
    email: String,
    here: Browser,
    there: Browser,
    /// Sets a new password.
    reset: String,
    /// For the email of the account: link and code.
    verify: (String, String),
    /// For another email: link and code.
    change: (String, String),
    /// Public ids of the sessions.
    ids: [String; 2],
}

/// Path and fields.
type Sent = (String, Vec<(&'static str, String)>);
type Send = fn(&Account) -> Sent;

/// A form and what it answers while its session lives.
struct Form {
    /// As `src/routes.rs` spells it.
    route: &'static str,
    what: &'static str,
    send: Send,
    /// Whether the password was given in the session a moment ago.
    is_fresh: bool,
    kind: &'static str,
    /// Status and location.
    answers: (u16, &'static str),
}

impl Form {
    /// Whether the end of the account has been requested before.
    fn is_due(&self) -> bool {
        self.route != "/account/delete"
    }
}

fn form(route: &'static str, what: &'static str, answers: (u16, &'static str), send: Send) -> Form {
    Form { route, what, send, is_fresh: true, kind: FORM, answers }
}

fn stale(form: Form) -> Form {
    Form { is_fresh: false, ..form }
}

fn at(path: &str, fields: &[(&'static str, &str)]) -> Sent {
    let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    (path.to_owned(), fields)
}

/// Every form that acts for a session, with each kind of answer that it has.
fn forms() -> Vec<Form> {
    let mut forms = vec![
        form("/account/profile", "a new name", (303, "/account/profile"), |_| {
            at("/account/profile", &[("display_name", "Changed")])
        }),
        form("/account/profile", "an empty name", (422, ""), |_| {
            at("/account/profile", &[("display_name", "")])
        }),
        Form {
            kind: "text/plain",
            ..form("/account/profile", "no form at all", (415, ""), |_| {
                at("/account/profile", &[("display_name", "Changed")])
            })
        },
        form("/account/password", "a new password", (303, "/account/password"), |_| {
            let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
            at("/account/password", &fields)
        }),
        form("/account/password", "a wrong password", (422, ""), |_| {
            let fields = [("current_password", "not it"), ("new_password", OTHER_PASSWORD)];
            at("/account/password", &fields)
        }),
        form("/account/email", "another email", (303, "/account/email"), |account| {
            at("/account/email", &[("email", &format!("another.{}", account.email))])
        }),
        form("/account/email", "the same email", (422, ""), |account| {
            at("/account/email", &[("email", &account.email)])
        }),
        stale(form("/account/email", "another email, no fresh proof", (403, ""), |account| {
            at("/account/email", &[("email", &format!("another.{}", account.email))])
        })),
        form("/account/email/verify", "another mail", (303, "/account/email"), |_| {
            at("/account/email/verify", &[])
        }),
        form(
            "/account/email/code",
            "a code of the own email",
            (303, "/account/email"),
            |account| at("/account/email/code", &[("verify_code", &account.verify.1)]),
        ),
        form(
            "/account/email/code",
            "a code of another email",
            (303, "/account/email"),
            |account| at("/account/email/code", &[("change_code", &account.change.1)]),
        ),
        form("/account/email/code", "a wrong code", (422, ""), |_| {
            at("/account/email/code", &[("verify_code", "AAAA-AAAA")])
        }),
        form(
            "/account/sessions/{id}/revoke",
            "another device",
            (303, "/account/sessions"),
            |account| at(&format!("/account/sessions/{}/revoke", account.ids[1]), &[]),
        ),
        form("/account/sessions/{id}/revoke", "this device", (303, "/"), |account| {
            at(&format!("/account/sessions/{}/revoke", account.ids[0]), &[])
        }),
        form("/account/sessions/{id}/revoke", "no session", (404, ""), |_| {
            at("/account/sessions/01a20ac9-362c-7088-badc-46d695f6783a/revoke", &[])
        }),
        form("/account/sessions/revoke-others", "all others", (303, "/account/sessions"), |_| {
            at("/account/sessions/revoke-others", &[])
        }),
        stale(form("/account/confirm", "the password", (303, "/account/profile"), |_| {
            at("/account/confirm", &[("password", PASSWORD), ("next", "/account/profile")])
        })),
        stale(form("/account/confirm", "a wrong password", (422, ""), |_| {
            at("/account/confirm", &[("password", "not it"), ("next", "/account/profile")])
        })),
        stale(form("/account/confirm", "no password", (422, ""), |_| {
            at("/account/confirm", &[("password", ""), ("next", "/account/profile")])
        })),
        form("/account/export", "the data", (200, ""), |_| at("/account/export", &[])),
        stale(form("/account/export", "the data, no fresh proof", (403, ""), |_| {
            at("/account/export", &[])
        })),
        form("/account/delete", "the end of the account", (303, "/"), |_| {
            at("/account/delete", &[])
        }),
        stale(form("/account/delete", "the end of the account, no fresh proof", (403, ""), |_| {
            at("/account/delete", &[])
        })),
        form("/account/delete/cancel", "the way back", (303, "/account"), |_| {
            at("/account/delete/cancel", &[])
        }),
        form("/logout", "sign-out", (303, "/"), |_| at("/logout", &[])),
        form("/verify-email/{token}", "the own email", (303, "/account/email"), |account| {
            at(&account.verify.0, &[])
        }),
        form("/verify-email/{token}", "another email", (303, "/account/email"), |account| {
            at(&account.change.0, &[])
        }),
        form("/verify-email/{token}", "no link", (410, ""), |_| {
            at(&format!("/verify-email/{}", "A".repeat(43)), &[])
        }),
    ];
    forms.sort_by_key(|form| (form.is_fresh, form.is_due()));
    forms
}

/// Forms that one session has begun when it ends: few enough for each to be finished before the server gives it up.
const AT_ONCE: usize = 7;

/// Forms that need no session: nobody's session is asked what they may do.
const OTHERS: [&str; 6] = [
    "/register",
    "/login",
    "/verify-email",
    "/forgot-password",
    "/reset-password/{token}",
    "/undo-email-change/{token}",
];

impl Site {
    fn start() -> Self {
        let database = Database::new();
        // Without the cache each request loads its session by one statement, which can be counted.
        let settings = [("FRONTDESK_SESSION_CACHE", "off")];
        let server = Server::start(&database, &settings);
        Self { server, database }
    }

    fn account(&self, number: usize) -> Account {
        let (server, database) = (&self.server, &self.database);
        let email = format!("user{number}@example.com");
        db_clear_rate_limits(database);
        let mut here = registered(server, &email);
        let mut there = server.browser();
        assert_eq!(there.login(&email, PASSWORD).status, 303);
        let another = format!("new.{email}");
        assert_eq!(here.post("/account/email", &[("email", &another)]).status, 303);
        assert_eq!(server.browser().post("/forgot-password", &[("email", &email)]).status, 303);
        let user = format!("(SELECT id FROM users WHERE email = '{email}')");
        database.db_execute(&format!(
            "UPDATE users SET deletion_due_at = now() + interval '3 days' WHERE id = {user}"
        ));
        let ids = database.db_texts(&format!(
            "SELECT id::text FROM sessions WHERE user_id = {user} ORDER BY created_at"
        ));
        until(|| self.mail("reset_password", &email).is_some());
        let reset = self.mail("reset_password", &email).unwrap().0;
        let link = |mail: (String, String)| (format!("/verify-email/{}", mail.0), mail.1);
        Account {
            reset: format!("/reset-password/{reset}"),
            verify: link(self.mail("verify_email", &email).unwrap()),
            change: link(self.mail("change_email", &another).unwrap()),
            ids: ids.try_into().unwrap(),
            email,
            here,
            there,
        }
    }

    /// Token and code of the mail of that kind to `recipient`.
    fn mail(&self, kind: &str, recipient: &str) -> Option<(String, String)> {
        let mails = db_mails(&self.database);
        let mail = mails.iter().find(|mail| mail.kind == kind && mail.recipient == recipient)?;
        let code = mail.data["code"].as_str().unwrap_or_default();
        Some((mail.text("token").to_owned(), code.to_owned()))
    }

    /// Makes the account what `form` expects.
    fn db_prepare(&self, form: &Form, account: &Account) {
        let (database, [here, _]) = (&self.database, &account.ids);
        if !form.is_fresh {
            database.db_execute(&format!(
                "UPDATE sessions SET authenticated_at = now() - interval '1 hour' WHERE id = '{here}'"
            ));
        }
        if !form.is_due() {
            database.db_execute("UPDATE users SET deletion_due_at = NULL");
        }
        db_clear_rate_limits(database);
    }

    /// Begins `form` in `here`; returns when the server has loaded the session and waits for the rest of the body.
    fn begun(&self, form: &Form, account: &Account) -> PartialRequest {
        let (path, fields) = (form.send)(account);
        let mut fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        // What is left to send, for a button too. No form reads it.
        fields.push(("nothing", "or something that is long enough to be cut in two"));
        let before = self.db_loaded();
        let begun = account.here.send_partial(&path, form.kind, &encode(&fields));
        until(|| self.db_loaded() > before);
        begun
    }

    /// How many sessions the server has loaded.
    fn db_loaded(&self) -> i64 {
        self.database.db_count(
            "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
              WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND query LIKE '%FROM sessions s%LEFT JOIN LATERAL%token_digest%'
                AND query NOT LIKE '%pg_stat_statements%'",
        )
    }

    /// Every row of every table, without what the last-seen update may write at any time, and without the heartbeats
    /// of servers.
    fn db_rows(&self) -> BTreeMap<String, Vec<String>> {
        let tables = self.database.db_texts(
            "SELECT relname::text FROM pg_class
              WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
                AND relname NOT IN ('session_caches', '_sqlx_migrations')",
        );
        assert!(tables.len() >= 8, "{tables:?}");
        let rows = |table: &String| {
            self.database.db_texts(&format!(
                "SELECT (to_jsonb(t) - '{{last_seen_at,expires_at,purge_after}}'::text[])::text FROM {table} t ORDER BY 1"
            ))
        };
        tables.iter().map(|table| (table.clone(), rows(table))).collect()
    }

    /// Waits until no mail and no request waits for a loop of the server.
    fn db_settled(&self) {
        let waiting = "SELECT (SELECT count(*) FROM mail_outbox WHERE state = 'waiting')
                            + (SELECT count(*) FROM recovery_requests)";
        until(|| self.database.db_count(waiting) == 0);
    }
}

/// What is wrong with the answer to a form after the end of its session.
fn faults(form: &Form, account: &Account, answer: &Response) -> Vec<String> {
    let mut faults = Vec::new();
    let to = if form.route == "/logout" { "/" } else { "/login" };
    if (answer.status, answer.location()) != (303, to) {
        faults.push(format!("answered {} {}", answer.status, answer.location()));
    }
    let session = answer.cookies().into_iter().filter(|cookie| cookie.starts_with("session="));
    let session: Vec<&str> = session.collect();
    // Only a sign-out removes the cookie: meanwhile the browser may have signed in again in another tab.
    let signs_out = form.route == "/logout" || form.what == "this device";
    let is_right = match session[..] {
        [] => !signs_out,
        [removed] => signs_out && removed.contains("Max-Age=0"),
        _ => false,
    };
    if !is_right {
        faults.push(format!("the session cookie: {session:?}"));
    }
    let name = account.email.split('@').next().unwrap().to_uppercase();
    if answer.body.contains(&account.email) || answer.body.contains(&name) {
        faults.push("shows the account".to_owned());
    }
    faults
}

/// Begins every form, some at a time, lets `end` end their session, and sends the rest of each.
fn nothing_happens_after(end: impl Fn(&Site, &mut Account)) {
    let site = Site::start();
    let (forms, mut wrong) = (forms(), Vec::new());
    let alike =
        |one: &Form, other: &Form| (one.is_fresh, one.is_due()) == (other.is_fresh, other.is_due());
    let groups = forms.chunk_by(alike).flat_map(|group| group.chunks(AT_ONCE));
    for (number, group) in groups.enumerate() {
        let mut account = site.account(number);
        site.db_prepare(&group[0], &account);
        let begun: Vec<PartialRequest> =
            group.iter().map(|form| site.begun(form, &account)).collect();
        end(&site, &mut account);
        site.db_settled();
        let mut before = site.db_rows();
        for (form, begun) in group.iter().zip(begun) {
            let mut found = faults(form, &account, &begun.finish());
            let after = site.db_rows();
            let changed = before.iter().filter(|(table, rows)| after[*table] != **rows);
            found.extend(changed.map(|(table, _)| format!("wrote {table}")));
            before = after;
            if !found.is_empty() {
                wrong.push(format!("{}, {}: {}", form.route, form.what, found.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let log = site.server.log();
    assert!(!log.contains("answered 500"), "{log}");
}

#[test]
fn every_post_route_is_covered_by_these_tests() {
    let routes = std::fs::read_to_string("src/routes.rs").unwrap();
    let mut path = None;
    let mut posts = Vec::new();
    for line in routes.lines() {
        for maker in ["form(\"", "button(\"", "read_only(\""] {
            if let Some((_, rest)) = line.split_once(maker) {
                path = rest.split('"').next();
            }
        }
        if line.contains("web::post()") {
            posts.push(path.expect("a path before its routes"));
        }
    }
    let count = routes.matches("web::post()").count();
    assert_eq!(posts.len(), count, "one route a line");
    let known =
        |route: &str| OTHERS.contains(&route) || forms().iter().any(|form| form.route == route);
    let unknown: Vec<&str> = posts.iter().copied().filter(|route| !known(route)).collect();
    assert!(
        unknown.is_empty(),
        "add these to forms(), or to OTHERS if they act for no session: {unknown:?}"
    );
    for form in forms() {
        assert!(posts.contains(&form.route), "{} is no route", form.route);
    }
}

#[test]
fn a_late_form_in_a_live_session_is_processed() {
    let site = Site::start();
    for (number, form) in forms().iter().enumerate() {
        let account = site.account(number);
        site.db_prepare(form, &account);
        let answer = site.begun(form, &account).finish();
        let what = format!("{}, {}", form.route, form.what);
        assert_eq!((answer.status, answer.location()), form.answers, "{what}: {}", answer.body);
    }
}

#[test]
fn a_form_begun_before_a_sign_out_in_another_tab_changes_nothing() {
    nothing_happens_after(|_, account| {
        assert_eq!(account.here.clone().post("/logout", &[]).status, 303);
    });
}

#[test]
fn a_form_begun_before_another_device_signed_out_everywhere_else_changes_nothing() {
    nothing_happens_after(|_, account| {
        let answer = account.there.post("/account/sessions/revoke-others", &[]);
        assert_eq!((answer.status, answer.location()), (303, "/account/sessions"));
    });
}

/// The session goes on under a new secret; the form came with a copy of the former cookie.
#[test]
fn a_form_begun_with_a_cookie_that_a_new_password_replaced_changes_nothing() {
    nothing_happens_after(|_, account| {
        let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
        let answer = account.here.clone().post("/account/password", &fields);
        assert_eq!((answer.status, answer.location()), (303, "/account/password"));
    });
}

#[test]
fn a_form_begun_with_a_cookie_that_reauthentication_replaced_changes_nothing() {
    nothing_happens_after(|_, account| {
        let answer = account.here.clone().post("/account/confirm", &[("password", PASSWORD)]);
        assert_eq!((answer.status, answer.location()), (303, "/account"));
    });
}

#[test]
fn a_sign_in_with_a_replaced_cookie_does_not_end_the_session() {
    let (server, database) = site();
    let mut ada = registered(&server, "ada@example.com");
    let mut thief = ada.clone();
    registered(&server, "eve@example.com");
    assert_eq!(ada.post("/account/confirm", &[("password", PASSWORD)]).status, 303);
    assert_eq!(thief.login("eve@example.com", PASSWORD).status, 303);
    assert!(ada.is_signed_in(), "only who has the cookie of a session ends it");
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 3);
}

#[test]
fn a_form_begun_before_a_password_reset_changes_nothing() {
    nothing_happens_after(|site, account| {
        let mut owner = site.server.browser();
        let answer = owner.post(&account.reset, &[("new_password", OTHER_PASSWORD)]);
        assert_eq!((answer.status, answer.location()), (303, "/login"), "{}", answer.body);
    });
}

#[test]
fn a_form_begun_before_the_account_was_disabled_changes_nothing() {
    nothing_happens_after(|site, account| {
        let said = run(&site.database, &["user", "disable", &account.email], "");
        assert_eq!(said.code, 0, "{}", said.error);
    });
}

#[test]
fn a_form_begun_before_the_account_was_deleted_changes_nothing() {
    nothing_happens_after(|site, account| {
        let said = run(&site.database, &["user", "delete", &account.email, "--yes"], "");
        assert_eq!(said.code, 0, "{}", said.error);
    });
}

#[test]
fn a_form_begun_before_its_session_was_deleted_in_psql_changes_nothing() {
    nothing_happens_after(|site, account| {
        let id = &account.ids[0];
        site.database.db_execute(&format!("DELETE FROM sessions WHERE id = '{id}'"));
    });
}

#[test]
fn a_form_begun_before_the_account_was_disabled_in_psql_changes_nothing() {
    nothing_happens_after(|site, account| {
        let email = &account.email;
        site.database
            .db_execute(&format!("UPDATE users SET disabled_at = now() WHERE email = '{email}'"));
    });
}

#[test]
fn a_form_begun_before_its_session_expired_changes_nothing() {
    nothing_happens_after(|site, account| {
        let id = &account.ids[0];
        site.database.db_execute(&format!(
            "UPDATE sessions SET expires_at = now() - interval '1 second' WHERE id = '{id}'"
        ));
    });
}

/// Lets `act` happen in a thread of its own, and says whether it is over.
fn until_it_waits(database: &Database, is_over: impl Fn() -> bool) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'
                      AND wait_event IN ('transactionid', 'tuple')";
    until(|| {
        assert!(!is_over(), "the end was answered while the form was being carried out");
        database.db_count(waiting) > 0
    });
}

#[test]
fn a_revocation_waits_for_a_form_that_is_being_processed() {
    let site = Site::start();
    let database = &site.database;
    // Where the form is held, after its check, and what shows that it was carried out.
    let forms = [
        ("a new name", ("users", "BEFORE UPDATE"), "users WHERE display_name = 'Changed'"),
        (
            "another email",
            ("email_tokens", "BEFORE INSERT"),
            "email_tokens WHERE email LIKE 'another.%'",
        ),
        (
            "the way back",
            ("mail_outbox", "BEFORE INSERT"),
            "mail_outbox WHERE kind = 'deletion_canceled'",
        ),
        (
            "the data",
            ("audit_events", "BEFORE INSERT"),
            "audit_events WHERE event = 'data_exported'",
        ),
    ];
    type End = fn(&Database, &mut Account);
    let ends: [(&str, End); 4] = [
        ("sign-out in another tab", |_, account| {
            assert_eq!(account.here.clone().post("/logout", &[]).status, 303);
        }),
        ("everywhere else", |_, account| {
            assert_eq!(account.there.post("/account/sessions/revoke-others", &[]).status, 303);
        }),
        ("by id at the command line", |database, account| {
            assert_eq!(run(database, &["session", "revoke", &account.ids[0]], "").code, 0);
        }),
        ("in psql", |database, account| {
            let id = &account.ids[0];
            database.db_execute(&format!("DELETE FROM sessions WHERE id = '{id}'"));
        }),
    ];
    let mut number = 0;
    for (what, stop, done) in forms {
        let form = self::forms().into_iter().find(|form| form.what == what).unwrap();
        for (how, end) in ends {
            let mut account = site.account(number);
            number += 1;
            site.db_prepare(&form, &account);
            site.db_settled();
            let count = || database.db_count(&format!("SELECT count(*) FROM {done}"));
            let before = count();
            let begun = site.begun(&form, &account);
            let hold = Breakpoint::db_at(database, stop);
            std::thread::scope(|scope| {
                let sent = scope.spawn(|| begun.finish());
                hold.until_reached(1);
                let account = &mut account;
                let ended = scope.spawn(move || end(database, account));
                until_it_waits(database, || ended.is_finished());
                assert_eq!(count(), before, "{what}, {how}");
                hold.release();
                ended.join().unwrap();
                assert_eq!(count(), before + 1, "{what}, {how}: carried out before the end");
                let answer = sent.join().unwrap();
                assert!(answer.status < 400, "{what}, {how}: {answer:?}");
            });
            assert!(!account.here.is_signed_in(), "{what}, {how}");
            database.db_execute(&format!("DROP TRIGGER stop ON {}", stop.0));
        }
    }
}

/// A browser with a session of `cookie`.
fn with_cookie(server: &Server, cookie: &str) -> Browser {
    let mut browser = server.browser();
    browser.cookies.insert("session".to_owned(), cookie.to_owned());
    browser
}

/// Nothing failed, in the server or in PostgreSQL.
fn assert_nothing_failed(server: &Server) {
    let log = server.log();
    for word in ["answered 500", "deadlock", "40P01"] {
        assert!(!log.contains(word), "{word}:\n{log}");
    }
}

#[test]
fn of_two_sessions_that_revoke_each_other_one_survives() {
    const EMAIL: &str = "ada@example.com";
    let database = &Database::new();
    let server = &Server::start(database, &[]);
    registered(server, EMAIL);
    for round in 0..50 {
        database.db_execute("DELETE FROM sessions");
        let cookies = database.db_create_sessions(EMAIL, 2);
        let ids: Vec<String> = cookies
            .iter()
            .map(|cookie| {
                let page = with_cookie(server, cookie).get("/account/sessions").body;
                let other =
                    page.split("/account/sessions/").find(|part| part.contains("/revoke\""));
                other.unwrap().split('/').next().unwrap().to_owned()
            })
            .collect();
        let barrier = Barrier::new(2);
        let statuses: Vec<(u16, String)> = std::thread::scope(|scope| {
            let ends = |number: usize| {
                let (barrier, cookies, ids) = (&barrier, &cookies, &ids);
                scope.spawn(move || {
                    let mut browser = with_cookie(server, &cookies[number]);
                    // The page of each lists the other one.
                    let path = match round % 2 {
                        0 => format!("/account/sessions/{}/revoke", ids[number]),
                        _ => "/account/sessions/revoke-others".to_owned(),
                    };
                    barrier.wait();
                    let answer = browser.post(&path, &[]);
                    (answer.status, answer.location().to_owned())
                })
            };
            let both = [ends(0), ends(1)];
            both.into_iter().map(|end| end.join().unwrap()).collect()
        });
        let mut to: Vec<&str> = statuses.iter().map(|(_, location)| location.as_str()).collect();
        to.sort_unstable();
        assert_eq!(to, ["/account/sessions", "/login"], "round {round}: {statuses:?}");
        assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 1, "round {round}");
    }
    assert_nothing_failed(server);
}

#[test]
fn concurrent_forms_of_one_account_from_several_sessions_never_fail() {
    const EMAIL: &str = "ada@example.com";
    let database = &Database::new();
    let server = &Server::start(database, &[]);
    registered(server, EMAIL);
    let forms: [(&str, &[(&str, &str)]); 12] = [
        ("/account/profile", &[("display_name", "Changed")]),
        ("/account/password", &[("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)]),
        ("/account/email", &[("email", "new@example.com")]),
        ("/account/email/verify", &[]),
        ("/account/email/code", &[("verify_code", "AAAA-AAAA")]),
        ("/account/sessions/revoke-others", &[]),
        ("/account/confirm", &[("password", PASSWORD)]),
        ("/account/confirm", &[("password", "not it")]),
        ("/account/export", &[]),
        ("/account/delete", &[]),
        ("/account/delete/cancel", &[]),
        ("/logout", &[]),
    ];
    let hash = "SELECT password_hash FROM users";
    let hash = database.db_texts(hash).remove(0);
    for round in 0..10 {
        db_clear_rate_limits(database);
        database.db_execute(&format!("UPDATE users SET password_hash = '{hash}'"));
        let cookies = database.db_create_sessions(EMAIL, 4);
        std::thread::scope(|scope| {
            for (number, (path, fields)) in forms.into_iter().enumerate() {
                let mut browser = with_cookie(server, &cookies[(number + round) % cookies.len()]);
                scope.spawn(move || {
                    let answer = browser.post(path, fields);
                    assert!(answer.status < 500, "round {round}: {path}: {answer:?}");
                });
            }
        });
    }
    assert_nothing_failed(server);
}
