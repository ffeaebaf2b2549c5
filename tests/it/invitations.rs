//! Invitations, and what operators do about the email of an account.

use crate::command_line::run;
use crate::mail::frontdesk;
use crate::support::mail::{Mail, db_mail, db_mails};
use crate::support::{Database, PASSWORD, Server, registered, site, verified_site};

const ADA: &str = "ada@example.com";
const EVE: &str = "eve@example.com";
const NEW: &str = "countess@example.org";

/// Invites `email`, as an operator. Returns the mail with the link.
pub fn invite(database: &Database, email: &str) -> Mail {
    let invited = run(database, &["user", "invite", email], "");
    assert_eq!(invited.code, 0, "{}", invited.error);
    let mut mails = db_mails(database).into_iter().rev();
    let is_invitation = |mail: &Mail| mail.kind == "invitation" && mail.recipient == email;
    mails.find(is_invitation).expect("the invitation is in the outbox")
}

fn path(mail: &Mail) -> String {
    format!("/invitation/{}", mail.text("token"))
}

#[test]
fn an_invitation_creates_a_verified_account_where_registration_is_closed() {
    let database = Database::new();
    let server = Server::start(&database, &[("FRONTDESK_REGISTRATION", "closed")]);
    let invite = ["user", "invite", "Eve@Example.com", "--name", "Eve", "--role", "admin"];
    let invited = run(&database, &invite, "");
    assert!(
        invited.code == 0 && invited.out.contains("7 days"),
        "{}{}",
        invited.out,
        invited.error
    );
    let mail = db_mail(&database, "invitation", 1);
    assert_eq!(mail.recipient, "Eve@example.com");
    assert!(!invited.out.contains(mail.text("token")), "only the mailbox has the link");
    let link = path(&mail);
    let mut eve = server.browser();
    let form = eve.open(&link);
    assert!(form.status == 200 && form.body.contains("value=\"Eve\""), "{}", form.body);
    assert!(form.body.contains("value=\"Eve@example.com\""), "{}", form.body);
    assert_eq!(
        database.db_count("SELECT count(*) FROM users"),
        0,
        "opening the link changes nothing"
    );
    assert_eq!(eve.post(&link, &[("display_name", "Eve"), ("password", "short")]).status, 422);
    assert_eq!(eve.post(&link, &[("display_name", ""), ("password", PASSWORD)]).status, 422);
    let accepted = eve.post(&link, &[("display_name", "Evelyn"), ("password", PASSWORD)]);
    assert_eq!((accepted.status, accepted.location()), (303, "/account"));
    assert!(eve.is_signed_in());
    let account = "SELECT email || ' ' || role || ' ' || display_name FROM users WHERE email_verified_at IS NOT NULL";
    assert_eq!(database.db_texts(account), ["Eve@example.com admin Evelyn"]);
    assert_eq!(server.browser().login(EVE, PASSWORD).status, 303);
    for response in [
        server.browser().get(&link),
        server.browser().post(&link, &[("display_name", "Eve"), ("password", PASSWORD)]),
        server.browser().get(&format!("/invitation/{}", "A".repeat(43))),
        server.browser().get("/invitation/x"),
    ] {
        assert_eq!(response.status, 410);
    }
    let events = "SELECT event FROM audit_events WHERE event IN ('invited', 'registered', 'email_verified') ORDER BY id";
    assert_eq!(database.db_texts(events), ["invited", "registered", "email_verified"]);
    assert_eq!(database.db_count("SELECT count(*) FROM invitations"), 0);
    let again = run(&database, &invite, "");
    assert!(again.code == 1 && again.error.contains("already exists"), "{}", again.error);
}

#[test]
fn an_invitation_expires_is_replaced_by_another_and_dies_with_an_account_of_the_email() {
    let (server, database) = site();
    let invite = || {
        assert_eq!(run(&database, &["user", "invite", EVE], "").code, 0);
        path(db_mails(&database).last().unwrap())
    };
    let status = |link: &str| server.browser().open(link).status;
    let first = invite();
    let left =
        "SELECT round(extract(epoch FROM expires_at - now()) / 3600)::bigint FROM invitations";
    assert_eq!(database.db_count(left), 7 * 24);
    let second = invite();
    assert_eq!((status(&first), status(&second)), (410, 200));
    database.db_execute("UPDATE invitations SET expires_at = now()");
    assert_eq!(status(&second), 410);
    let fields = [("display_name", "Eve"), ("password", PASSWORD)];
    assert_eq!(server.browser().post(&second, &fields).status, 410);
    let third = invite();
    registered(&server, EVE);
    assert_eq!(status(&third), 410);
    assert_eq!(server.browser().post(&third, &fields).status, 410);
    // Nothing of the email stays when the account is deleted.
    assert_eq!(run(&database, &["user", "delete", EVE, "--yes"], "").code, 0);
    assert_eq!(database.db_count("SELECT count(*) FROM invitations"), 0);
}

#[test]
fn an_invitation_over_the_limit_is_refused_and_the_last_link_still_works() {
    let (server, database) = site();
    let mut refused = None;
    for _ in 0..30 {
        let invited = run(&database, &["user", "invite", EVE], "");
        if invited.code != 0 {
            refused = Some((invited.code, invited.error));
            break;
        }
    }
    let (code, error) = refused.expect("an email gets a limited number of invitations");
    assert!(code == 1 && error.contains("the last one stays valid"), "{error}");
    let mails = db_mails(&database);
    let link = path(mails.last().unwrap());
    let invited = "SELECT count(*) FROM audit_events WHERE event = 'invited'";
    assert_eq!(database.db_count(invited), mails.len() as i64);
    let fields = [("display_name", "Eve"), ("password", PASSWORD)];
    assert_eq!(server.browser().post(&link, &fields).status, 303);
}

/// Settings with which mail is sent. Only the outbox is looked at.
const SENDS: [(&str, &str); 2] = [
    ("FRONTDESK_SMTP_URL", "smtps://127.0.0.1:9"),
    ("FRONTDESK_MAIL_FROM", "Frontdesk <desk@example.com>"),
];
/// Settings with which no mail is sent.
const SENDS_NOTHING: [(&str, &str); 1] = [("FRONTDESK_PUBLIC_URL", "https://desk.example.com")];

/// Uses up the limits of `topic` for the recipients that got a mail of it.
fn db_use_up(database: &Database, topic: &str) {
    database.db_execute(&format!(
        "UPDATE mail_limits SET full_at = now() + interval '12 hours' WHERE topic = '{topic}'"
    ));
}

#[test]
fn a_command_promises_only_the_mail_that_is_sent() {
    let database = Database::new();
    let create = ["user", "create", ADA, "--name", "Ada"];
    let (code, out, error) = frontdesk(&database, &SENDS, &create);
    assert!(code == 0 && out.contains("gets a link to choose a password"), "{out}{error}");
    assert_eq!(run(&database, &["user", "delete", ADA, "--yes"], "").code, 0);
    db_use_up(&database, "account_created");
    let (code, out, error) = frontdesk(&database, &SENDS, &create);
    assert!(code == 0 && out.contains("No link was sent"), "{out}{error}");
    assert!(out.contains(&format!("frontdesk user reset {ADA}")), "{out}");
    assert_eq!(database.db_count("SELECT count(*) FROM email_tokens"), 0);
    let (code, out, error) = frontdesk(&database, &SENDS, &["user", "reset", ADA]);
    assert!(code == 0 && out.contains("gets a link"), "{out}{error}");

    let set = |settings: &[(&str, &str)], new: &str| {
        let account = database.db_texts("SELECT email FROM users").remove(0);
        let (code, out, error) =
            frontdesk(&database, settings, &["user", "set-email", &account, new]);
        assert!(code == 0 && out.contains("signed out everywhere"), "{out}{error}");
        out
    };
    let mails = |kind| db_mails(&database).iter().filter(|mail| mail.kind == kind).count();
    let out = set(&SENDS, NEW);
    assert!(
        out.contains(
            "former email is not notified, because it was not verified; the new one gets a link"
        ),
        "{out}"
    );
    assert_eq!((mails("email_changed"), mails("verify_email")), (0, 1));
    assert_eq!(run(&database, &["user", "verify-email", NEW], "").code, 0);
    let out = set(&SENDS, ADA);
    assert!(out.contains("former email is notified; the new one gets a link"), "{out}");
    assert_eq!((mails("email_changed"), mails("verify_email")), (1, 2));
    db_use_up(&database, "verification");
    let out = set(&SENDS, NEW);
    assert!(out.contains("gets no link to verify it"), "{out}");
    assert_eq!((mails("email_changed"), mails("verify_email")), (1, 2));
    let out = set(&SENDS_NOTHING, EVE);
    assert!(out.contains("sends no mail") && !out.contains("gets a link"), "{out}");
}

#[test]
fn two_clicks_on_an_invitation_create_one_account() {
    let (server, database) = verified_site();
    assert_eq!(run(&database, &["user", "invite", EVE], "").code, 0);
    let link = path(&db_mail(&database, "invitation", 1));
    let fields = [("display_name", "Eve"), ("password", PASSWORD)];
    let mut statuses: Vec<u16> = std::thread::scope(|threads| {
        let click = || threads.spawn(|| server.browser().post(&link, &fields).status);
        let clicks = [click(), click()];
        clicks.into_iter().map(|click| click.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 410]);
    assert_eq!(database.db_count("SELECT count(*) FROM users"), 1);
}

#[test]
fn an_operator_changes_an_email_and_both_are_notified() {
    let (server, database) = site();
    let mut ada = registered(&server, ADA);
    registered(&server, EVE);
    database.db_execute("UPDATE users SET email_verified_at = now()");
    ada.post("/account/email", &[("email", "third@example.com")]);
    let change = db_mail(&database, "change_email", 1);
    let set = run(&database, &["user", "set-email", ADA, NEW], "");
    assert!(set.code == 0 && set.out.contains("signed out everywhere"), "{}{}", set.out, set.error);
    assert!(!ada.is_signed_in());
    assert_eq!(ada.login(ADA, PASSWORD).status, 422);
    assert_eq!(ada.login(NEW, PASSWORD).status, 303);
    let pair = "SELECT email || ' ' || email_canonical FROM users WHERE email_verified_at IS NULL";
    assert_eq!(database.db_texts(pair), [format!("{NEW} {NEW}")], "an operator proves no email");
    let former = db_mail(&database, "email_changed", 1);
    assert_eq!((former.recipient.as_str(), former.text("new_email")), (ADA, NEW));
    let verify = db_mails(&database).into_iter().rfind(|mail| mail.kind == "verify_email").unwrap();
    assert_eq!(verify.recipient, NEW);
    assert_eq!(ada.get(&format!("/verify-email/{}", change.text("token"))).status, 410);
    assert_eq!(ada.open(&format!("/verify-email/{}", verify.text("token"))).status, 200);
    let events = "SELECT details->>'by' FROM audit_events WHERE event = 'email_changed' AND actor = 'operator'";
    assert_eq!(database.db_texts(events), ["operator"]);
    // The owner can undo it.
    let undo = format!("/undo-email-change/{}", former.text("undo_token"));
    assert_eq!(server.browser().post(&undo, &[]).status, 303);
    assert_eq!(database.db_count(&format!("SELECT count(*) FROM users WHERE email = '{ADA}'")), 1);
    for (arguments, code, reason) in [
        ([ADA, EVE], 1, "already exists"),
        ([ADA, ADA], 3, "already the email"),
        (["nobody@example.com", NEW], 3, "No such account"),
    ] {
        let refused = run(&database, &["user", "set-email", arguments[0], arguments[1]], "");
        let text = refused.out + &refused.error;
        assert!(refused.code == code && text.contains(reason), "{arguments:?}: {text}");
    }
}

#[test]
fn an_email_that_an_operator_replaced_is_deleted_with_the_account() {
    let (server, database) = site();
    database.db_execute(&format!(
        "INSERT INTO suppressed_recipients (email_canonical, reason, suppressed_until)
         VALUES ('{EVE}', 'operator', 'infinity')"
    ));
    let link = path(&invite(&database, EVE));
    let fields = [("display_name", "Eve"), ("password", PASSWORD)];
    assert_eq!(server.browser().post(&link, &fields).status, 303);
    for command in [&["user", "set-email", EVE, NEW][..], &["user", "delete", NEW, "--yes"]] {
        assert_eq!(run(&database, command, "").code, 0, "{command:?}");
    }
    for (table, column) in
        [("mail_outbox", "recipient"), ("suppressed_recipients", "email_canonical")]
    {
        let left = format!("SELECT count(*) FROM {table} WHERE {column} = '{EVE}'");
        assert_eq!(database.db_count(&left), 0, "{table}");
    }
}

#[test]
fn another_spelling_of_an_email_keeps_its_verification_and_the_sessions() {
    let (server, database) = site();
    let mut ada = registered(&server, ADA);
    database.db_execute("UPDATE users SET email_verified_at = now()");
    let mails = db_mails(&database).len();
    let set = run(&database, &["user", "set-email", ADA, "Ada@example.com"], "");
    assert!(
        set.code == 0 && set.out.contains("is now Ada@example.com"),
        "{}{}",
        set.out,
        set.error
    );
    assert!(ada.is_signed_in());
    let account =
        "SELECT email || ' ' || email_canonical FROM users WHERE email_verified_at IS NOT NULL";
    assert_eq!(database.db_texts(account), ["Ada@example.com ada@example.com"]);
    assert_eq!(db_mails(&database).len(), mails);
}

#[test]
fn an_operator_marks_an_email_as_verified() {
    let (server, database) = site();
    let mut ada = registered(&server, ADA);
    let link = format!("/verify-email/{}", db_mail(&database, "verify_email", 1).text("token"));
    let verify = ["user", "verify-email", ADA];
    assert_eq!(run(&database, &verify, "").code, 0);
    assert_eq!(run(&database, &verify, "").code, 3, "it was already");
    assert_eq!(
        database.db_count("SELECT count(*) FROM users WHERE email_verified_at IS NOT NULL"),
        1
    );
    assert!(ada.is_signed_in());
    assert_eq!(ada.get(&link).status, 410, "the link has nothing left to do");
    let events = "SELECT details->>'by' FROM audit_events WHERE event = 'email_verified' AND actor = 'operator'";
    assert_eq!(database.db_texts(events), ["operator"]);
    assert_eq!(run(&database, &["user", "verify-email", EVE], "").code, 3);
}
