//! The journeys of an intruder and of the owner, as the table in `docs/SECURITY.md` shows them: each row is
//! walked.

use crate::email_undo::form_after;
use crate::support::mail::{db_clear_rate_limits, db_mail, db_mails};
use crate::support::{Browser, Database, OTHER_PASSWORD, PASSWORD, Server, registered, site};

const OWNER: &str = "ada@example.com";
const INTRUDERS: &str = "eve@example.com";
/// The password that the intruder sets.
const STOLEN: &str = "copper kettle on a stove";

/// A row of the table.
#[derive(Debug)]
struct Row {
    has: String,
    tries: String,
    works: bool,
    /// The kinds of the mails that the owner gets.
    mails: Vec<String>,
    ends: Vec<String>,
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string("docs/SECURITY.md").unwrap();
    let table = text.split("| the intruder has |").nth(1).expect("the table of intruders");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with("| "));
    let list = |cell: &str| -> Vec<String> {
        let parts = cell.split("; ").map(|part| part.trim_matches('`').to_owned());
        parts.filter(|part| part != "—").collect()
    };
    let rows: Vec<Row> = lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [has, tries, works, mails, ends] = cells[..] else { panic!("{line}") };
            assert!(["yes", "no"].contains(&works), "{line}");
            let (has, tries) = (has.to_owned(), tries.to_owned());
            Row { has, tries, works: works == "yes", mails: list(mails), ends: list(ends) }
        })
        .collect();
    assert!(rows.len() > 12, "{rows:?}");
    rows
}

/// An account and its two users.
struct Journey<'s> {
    server: &'s Server,
    database: &'s Database,
    /// The browser whose session may be stolen.
    owner: Browser,
    /// Another browser of the owner.
    phone: Browser,
    intruder: Browser,
    /// A reset link that the intruder read in the mailbox.
    link: Option<String>,
}

impl<'s> Journey<'s> {
    /// The owner's account, an hour after the owner signed in, with an intruder who `has` something of it.
    fn begin(server: &'s Server, database: &'s Database, has: &str) -> Self {
        for table in ["users", "mail_outbox", "throttles", "mail_limits", "audit_events"] {
            database.db_execute(&format!("DELETE FROM {table}"));
        }
        let owner = registered(server, OWNER);
        database.db_execute("UPDATE users SET email_verified_at = now()");
        database.db_execute("UPDATE sessions SET authenticated_at = now() - interval '1 hour'");
        let (mut phone, intruder) = (server.browser(), server.browser());
        assert_eq!(phone.login(OWNER, PASSWORD).status, 303);
        let mut journey = Self { server, database, owner, phone, intruder, link: None };
        match has {
            "the password" => {}
            "a session" => journey.intruder = journey.owner.clone(),
            "a session, within 15 minutes of its sign-in" => {
                assert_eq!(journey.owner.login(OWNER, PASSWORD).status, 303);
                journey.intruder = journey.owner.clone();
            }
            "the mailbox for ten minutes" => {
                journey.link = Some(journey.reset_link());
            }
            other => panic!("add how an intruder gets {other}"),
        }
        database.db_execute("DELETE FROM mail_outbox");
        journey
    }

    /// Requests a link and reads it in the owner's mailbox.
    fn reset_link(&self) -> String {
        db_clear_rate_limits(self.database);
        let known = |mail: &crate::support::mail::Mail| mail.kind == "reset_password";
        let before = db_mails(self.database).iter().filter(|mail| known(mail)).count();
        let mut browser = self.server.browser();
        assert_eq!(browser.post("/forgot-password", &[("email", OWNER)]).status, 303);
        let mail = db_mail(self.database, "reset_password", before + 1);
        assert_eq!(mail.recipient, OWNER);
        format!("/reset-password/{}", mail.text("token"))
    }

    fn set_password_by_link(browser: &mut Browser, link: &str, password: &str) -> bool {
        browser.post(link, &[("new_password", password)]).status == 303
    }

    /// Signs in with what the intruder has, if that is a password.
    fn sign_in(&mut self) -> bool {
        db_clear_rate_limits(self.database);
        self.intruder.session().is_some() || self.intruder.login(OWNER, PASSWORD).status == 303
    }

    /// Does what a row says. Returns whether it worked.
    fn try_to(&mut self, what: &str) -> bool {
        if self.link.is_none() {
            assert!(self.sign_in(), "the password is right");
        }
        let database = self.database;
        match what {
            "sign in" | "open the account pages" => self.intruder.is_signed_in(),
            "sign out the owner's other devices" => {
                self.intruder.post("/account/sessions/revoke-others", &[]);
                !self.phone.is_signed_in()
            }
            "set another password" => match self.link.take() {
                Some(link) => {
                    Self::set_password_by_link(&mut self.intruder, &link, STOLEN)
                        && self.intruder.login(OWNER, STOLEN).status == 303
                }
                None => {
                    let guessed = if self.knows_password() { PASSWORD } else { OTHER_PASSWORD };
                    let fields = [("current_password", guessed), ("new_password", STOLEN)];
                    self.intruder.post("/account/password", &fields).status == 303
                }
            },
            "set another password 31 minutes later" => {
                let sql = "UPDATE email_tokens SET created_at = created_at - interval '31 min', expires_at = expires_at - interval '31 min' WHERE purpose = 'reset_password'";
                assert_eq!(database.db_execute(sql), 1);
                let link = self.link.take().expect("a link");
                Self::set_password_by_link(&mut self.intruder, &link, STOLEN)
            }
            "set another password after the owner requested a link" => {
                self.reset_link();
                let link = self.link.take().expect("a link");
                Self::set_password_by_link(&mut self.intruder, &link, STOLEN)
            }
            "change the email" => {
                self.intruder.post("/account/email", &[("email", INTRUDERS)]);
                let mails = db_mails(database);
                let Some(mail) = mails.iter().find(|mail| mail.kind == "change_email") else {
                    return false;
                };
                let fields = [("change_code", mail.text("code"))];
                self.intruder.post("/account/email/code", &fields).status == 303
            }
            "export the data" => {
                let response = self.intruder.post("/account/export", &[]);
                response.status == 200 && response.body.contains(OWNER)
            }
            "have the account deleted" => {
                self.intruder.post("/account/delete", &[]);
                database.db_count("SELECT count(*) FROM users WHERE deletion_due_at IS NOT NULL")
                    == 1
            }
            other => panic!("add how an intruder tries to {other}"),
        }
    }

    /// Whether the intruder, who has no link, knew the password before.
    fn knows_password(&self) -> bool {
        self.intruder.session() != self.owner.session()
    }

    /// The owner, or time, ends what the intruder reached. Returns whether nothing is left of it.
    fn end_by(&mut self, what: &str) -> bool {
        let database = self.database;
        db_clear_rate_limits(database);
        match what {
            "a new password by link" => {
                let link = self.reset_link();
                let is_set =
                    Self::set_password_by_link(&mut self.server.browser(), &link, OTHER_PASSWORD);
                is_set && self.is_out()
            }
            "signing out everywhere else" => {
                assert_eq!(self.phone.login(OWNER, PASSWORD).status, 303);
                self.phone.post("/account/sessions/revoke-others", &[]);
                !self.intruder.is_signed_in()
            }
            "2 hours without use" => {
                database.db_execute("UPDATE sessions SET last_seen_at = now() - interval '2 h', expires_at = now() - interval '1 s'");
                !self.intruder.is_signed_in()
            }
            "undoing the change, for 7 days" => {
                let sql = "UPDATE email_tokens SET created_at = created_at - interval '167 h', expires_at = expires_at - interval '167 h'";
                database.db_execute(sql);
                let undo = db_mail(database, "email_changed", 1).text("undo_token").to_owned();
                let mut owner = self.server.browser();
                assert_eq!(owner.post(&format!("/undo-email-change/{undo}"), &[]).status, 303);
                let form = form_after(&format!("/undo-email-change/{undo}"));
                Self::set_password_by_link(&mut owner, &form, OTHER_PASSWORD)
                    && self.is_out()
                    && owner.login(OWNER, OTHER_PASSWORD).status == 303
            }
            "keeping the account, for 7 days" => {
                database.db_execute(
                    "UPDATE users SET deletion_due_at = deletion_due_at - interval '167 h'",
                );
                assert_eq!(self.owner.login(OWNER, PASSWORD).location(), "/account/delete");
                assert_eq!(self.owner.post("/account/delete/cancel", &[]).status, 303);
                database.db_count("SELECT count(*) FROM users WHERE deletion_due_at IS NULL") == 1
            }
            other => panic!("add how it ends by {other}"),
        }
    }

    /// Whether neither the intruder's session nor any password that the intruder knows is accepted.
    fn is_out(&mut self) -> bool {
        let is_signed_in = self.intruder.is_signed_in();
        let is_accepted = [PASSWORD, STOLEN].into_iter().any(|password| {
            [OWNER, INTRUDERS].into_iter().any(|email| {
                db_clear_rate_limits(self.database);
                self.server.browser().login(email, password).status == 303
            })
        });
        !is_signed_in && !is_accepted
    }
}

#[test]
fn an_intruder_can_do_what_the_table_says_and_no_longer_than_it_says() {
    let (server, database) = site();
    for row in rows() {
        let mut journey = Journey::begin(&server, &database, &row.has);
        assert_eq!(journey.try_to(&row.tries), row.works, "{row:?}");
        let mails = db_mails(&database);
        let to_owner = mails.iter().filter(|mail| mail.recipient == OWNER);
        let mut kinds: Vec<&str> = to_owner.map(|mail| mail.kind.as_str()).collect();
        kinds.retain(|kind| *kind != "reset_password");
        assert_eq!(kinds, row.mails, "{row:?}");
        for (number, end) in row.ends.iter().enumerate() {
            if number > 0 {
                journey = Journey::begin(&server, &database, &row.has);
                journey.try_to(&row.tries);
            }
            match end.strip_prefix("not by ") {
                Some(end) => {
                    assert!(journey.end_by(end), "{row:?}: {end} ends the session");
                    assert!(!journey.is_out(), "{row:?}: {end} is enough");
                }
                None => assert!(journey.end_by(end), "{row:?}: {end}"),
            }
        }
    }
}

#[test]
fn every_way_in_of_the_table_is_walked_for_intruder_and_owner() {
    let rows = rows();
    for has in ["the password", "a session", "the mailbox for ten minutes"] {
        let own: Vec<&Row> = rows.iter().filter(|row| row.has.starts_with(has)).collect();
        assert!(own.len() >= 3, "{has}");
        // Whatever works and leaves something behind can be ended by the owner.
        for row in own {
            assert_eq!(row.works, !row.ends.is_empty(), "{row:?}");
        }
    }
}
