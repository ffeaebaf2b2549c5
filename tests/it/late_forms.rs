//! A form whose request starts before its session is revoked and whose body arrives after the revocation was
//! answered: it is not processed, writes nothing, and its response shows nothing of the account.

pub mod forms;
mod races;

use forms::{FORMS_WITHOUT_SESSION, Form, forms};

use crate::command_line::run;
use crate::support::breakpoint::until;
use crate::support::browser::{PartialRequest, encode};
use crate::support::mail::{db_clear_rate_limits, db_mails};
use crate::support::routes::routes;
use crate::support::{
    Browser, Database, OTHER_PASSWORD, PASSWORD, Response, Server, registered, site,
};

/// A server and its database.
pub struct Site {
    pub server: Server,
    pub database: Database,
}

/// A user with two devices. `here` starts the form; its session is revoked.
pub struct Account {
    pub email: String,
    pub here: Browser,
    pub there: Browser,
    /// Path of a password reset link.
    pub reset: String,
    /// Path and code for verifying the email of the account.
    pub verify: (String, String),
    /// Path and code for changing to another email.
    pub change: (String, String),
    /// Public IDs of the sessions.
    pub ids: [String; 2],
}

/// Forms that one session starts before it is revoked: few enough for each to be finished before the server's
/// timeout for request bodies.
const GROUP_SIZE: usize = 7;

impl Site {
    pub fn start() -> Self {
        let database = Database::new();
        // Without the cache each request loads its session with one statement, which can be counted.
        let settings = [("FRONTDESK_SESSION_CACHE", "off")];
        let server = Server::start(&database, &settings);
        Self { server, database }
    }

    /// A new account with a link of each kind, scheduled for deletion.
    pub fn account(&self, number: usize) -> Account {
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
    pub fn mail(&self, kind: &str, recipient: &str) -> Option<(String, String)> {
        let mails = db_mails(&self.database);
        let mail = mails.iter().find(|mail| mail.kind == kind && mail.recipient == recipient)?;
        let code = mail.data["code"].as_str().unwrap_or_default();
        Some((mail.text("token").to_owned(), code.to_owned()))
    }

    /// Brings the account into the state that `form` expects.
    pub fn db_prepare(&self, form: &Form, account: &Account) {
        let (database, [here, _]) = (&self.database, &account.ids);
        if !form.is_recently_authenticated {
            database.db_execute(&format!(
                "UPDATE sessions SET authenticated_at = now() - interval '1 hour' WHERE id = '{here}'"
            ));
        }
        if !form.is_deletion_due() {
            database.db_execute("UPDATE users SET deletion_due_at = NULL");
        }
        db_clear_rate_limits(database);
    }

    /// Sends the head and half of the body of `form` from `here`. Returns once the server has loaded the
    /// session.
    fn start_form(&self, form: &Form, account: &Account) -> PartialRequest {
        let (path, fields) = (form.send)(account);
        let mut fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        // Ensures that half of the body remains, also for a form without fields. No form reads this field.
        fields.push(("nothing", "or something that is long enough to be cut in two"));
        let before = db_session_lookups(&self.database);
        let pending = account.here.send_partial(&path, form.content_type, &encode(&fields));
        until(|| db_session_lookups(&self.database) > before);
        pending
    }

    /// Waits until the background jobs of the server have no mail and no request left to process.
    pub fn db_until_idle(&self) {
        let waiting = "SELECT (SELECT count(*) FROM mail_outbox WHERE state = 'waiting')
                            + (SELECT count(*) FROM recovery_requests)";
        until(|| self.database.db_count(waiting) == 0);
    }
}

/// How many sessions the servers of `database` have loaded, without the cache.
pub fn db_session_lookups(database: &Database) -> i64 {
    database.db_count(
        "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
          WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND query LIKE '%FROM sessions s%LEFT JOIN LATERAL%token_digest%'
            AND query NOT LIKE '%pg_stat_statements%'",
    )
}

/// The errors in the response to a form after its session was revoked.
fn errors(form: &Form, account: &Account, response: &Response) -> Vec<String> {
    let mut errors = Vec::new();
    let to = if form.route == "/logout" { "/" } else { "/login" };
    if (response.status, response.location()) != (303, to) {
        errors.push(format!("response {} {}", response.status, response.location()));
    }
    let session = response.cookies().into_iter().filter(|cookie| cookie.starts_with("session="));
    let session: Vec<&str> = session.collect();
    // Only a sign-out removes the cookie: the browser may have signed in again in another tab in the
    // meantime.
    let signs_out = form.route == "/logout" || form.what == "this device";
    let is_right = match session[..] {
        [] => !signs_out,
        [removed] => signs_out && removed.contains("Max-Age=0"),
        _ => false,
    };
    if !is_right {
        errors.push(format!("session cookie: {session:?}"));
    }
    let name = account.email.split('@').next().unwrap().to_uppercase();
    if response.body.contains(&account.email) || response.body.contains(&name) {
        errors.push("shows the account".to_owned());
    }
    errors
}

/// Starts every form in groups, lets `revoke` end their session, sends the rest of each form, and asserts
/// that nothing changed.
fn assert_late_forms_change_nothing(revoke: impl Fn(&Site, &mut Account)) {
    let site = Site::start();
    let (forms, mut failures) = (forms(), Vec::new());
    let alike = |one: &Form, other: &Form| {
        (one.is_recently_authenticated, one.is_deletion_due())
            == (other.is_recently_authenticated, other.is_deletion_due())
    };
    let groups = forms.chunk_by(alike).flat_map(|group| group.chunks(GROUP_SIZE));
    for (number, group) in groups.enumerate() {
        let mut account = site.account(number);
        site.db_prepare(&group[0], &account);
        let pending: Vec<PartialRequest> =
            group.iter().map(|form| site.start_form(form, &account)).collect();
        revoke(&site, &mut account);
        site.db_until_idle();
        let mut before = site.database.db_rows();
        for (form, pending) in group.iter().zip(pending) {
            let mut found = errors(form, &account, &pending.finish());
            let after = site.database.db_rows();
            let changed = before.iter().filter(|(table, rows)| after[*table] != **rows);
            found.extend(changed.map(|(table, _)| format!("wrote {table}")));
            before = after;
            if !found.is_empty() {
                failures.push(format!("{}, {}: {}", form.route, form.what, found.join(", ")));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let log = site.server.log();
    assert!(!log.contains("answered 500"), "{log}");
}

#[test]
fn every_post_route_is_covered_by_these_tests() {
    let posts: Vec<String> = routes()
        .into_iter()
        .filter(|route| route.supports("POST"))
        .map(|route| route.path)
        .collect();
    let known = |route: &str| {
        FORMS_WITHOUT_SESSION.contains(&route) || forms().iter().any(|form| form.route == route)
    };
    let unknown: Vec<&String> = posts.iter().filter(|route| !known(route)).collect();
    assert!(
        unknown.is_empty(),
        "add these to forms(), or to FORMS_WITHOUT_SESSION if they act for no session: {unknown:?}"
    );
    for form in forms() {
        assert!(posts.iter().any(|post| post == form.route), "{} is no route", form.route);
    }
}

#[test]
fn a_late_form_in_a_live_session_is_processed() {
    let site = Site::start();
    for (number, form) in forms().iter().enumerate() {
        let account = site.account(number);
        site.db_prepare(form, &account);
        let response = site.start_form(form, &account).finish();
        let what = format!("{}, {}", form.route, form.what);
        assert_eq!(
            (response.status, response.location()),
            form.expected,
            "{what}: {}",
            response.body
        );
    }
}

#[test]
fn a_form_begun_before_a_sign_out_in_another_tab_changes_nothing() {
    assert_late_forms_change_nothing(|_, account| {
        assert_eq!(account.here.clone().post("/logout", &[]).status, 303);
    });
}

#[test]
fn a_form_begun_before_another_device_signed_out_everywhere_else_changes_nothing() {
    assert_late_forms_change_nothing(|_, account| {
        let response = account.there.post("/account/sessions/revoke-others", &[]);
        assert_eq!((response.status, response.location()), (303, "/account/sessions"));
    });
}

/// The session continues with a new secret; the form was sent with the replaced cookie.
#[test]
fn a_form_begun_with_a_cookie_that_a_new_password_replaced_changes_nothing() {
    assert_late_forms_change_nothing(|_, account| {
        let fields = [("current_password", PASSWORD), ("new_password", OTHER_PASSWORD)];
        let response = account.here.clone().post("/account/password", &fields);
        assert_eq!((response.status, response.location()), (303, "/account/password"));
    });
}

#[test]
fn a_form_begun_with_a_cookie_that_reauthentication_replaced_changes_nothing() {
    assert_late_forms_change_nothing(|_, account| {
        let response = account.here.clone().post("/account/confirm", &[("password", PASSWORD)]);
        assert_eq!((response.status, response.location()), (303, "/account"));
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
    assert!(ada.is_signed_in(), "only the current cookie ends the session");
    assert_eq!(database.db_count("SELECT count(*) FROM sessions"), 3);
}

#[test]
fn a_form_begun_before_a_password_reset_changes_nothing() {
    assert_late_forms_change_nothing(|site, account| {
        let mut owner = site.server.browser();
        let response = owner.post(&account.reset, &[("new_password", OTHER_PASSWORD)]);
        assert_eq!((response.status, response.location()), (303, "/login"), "{}", response.body);
    });
}

#[test]
fn a_form_begun_before_the_account_was_disabled_changes_nothing() {
    assert_late_forms_change_nothing(|site, account| {
        let output = run(&site.database, &["user", "disable", &account.email], "");
        assert_eq!(output.code, 0, "{}", output.error);
    });
}

#[test]
fn a_form_begun_before_the_account_was_deleted_changes_nothing() {
    assert_late_forms_change_nothing(|site, account| {
        let output = run(&site.database, &["user", "delete", &account.email, "--yes"], "");
        assert_eq!(output.code, 0, "{}", output.error);
    });
}

#[test]
fn a_form_begun_before_its_session_was_deleted_in_psql_changes_nothing() {
    assert_late_forms_change_nothing(|site, account| {
        let id = &account.ids[0];
        site.database.db_execute(&format!("DELETE FROM sessions WHERE id = '{id}'"));
    });
}

#[test]
fn a_form_begun_before_the_account_was_disabled_in_psql_changes_nothing() {
    assert_late_forms_change_nothing(|site, account| {
        let email = &account.email;
        site.database
            .db_execute(&format!("UPDATE users SET disabled_at = now() WHERE email = '{email}'"));
    });
}

#[test]
fn a_form_begun_before_its_session_expired_changes_nothing() {
    assert_late_forms_change_nothing(|site, account| {
        let id = &account.ids[0];
        site.database.db_execute(&format!(
            "UPDATE sessions SET expires_at = now() - interval '1 second' WHERE id = '{id}'"
        ));
    });
}
