//! Compares the site with the model.

use super::Walk;
use super::model::{Link, Purpose, SessionState};
use crate::support::Browser;
use crate::support::mail::db_mails;

/// Expired sessions are purged, with an event, at any time.
const NEW_EVENTS: &str = "
    SELECT json_build_array(id, event, user_id, session_id,
                            coalesce(details->>'cause', details->>'why', ''))::text
      FROM audit_events
     WHERE id > $ AND details->>'cause' IS DISTINCT FROM 'expired'
     ORDER BY id";

fn sorted(mut values: Vec<String>) -> Vec<String> {
    values.sort();
    values
}

impl Walk<'_> {
    /// Adds what differs between the site and the model.
    pub(super) fn compare(&mut self, differences: &mut Vec<String>) {
        self.site.database.db_until_idle();
        self.find_new_accounts_and_sessions();
        self.compare_mails(differences);
        self.compare_events(differences);
        self.compare_browsers(differences);
        self.compare_links(differences);
    }

    /// Learns the ids of what this step created.
    fn find_new_accounts_and_sessions(&mut self) {
        let database = &self.site.database;
        for (number, account) in self.model.accounts.iter().enumerate().skip(self.accounts.len()) {
            let sql = format!("SELECT id::text FROM users WHERE email = '{}'", account.email);
            // If there is none, the comparison of the browsers says so.
            let id = database.db_texts(&sql).pop().unwrap_or_default();
            self.accounts.insert(id, number);
        }
        if self.sessions.len() < self.model.sessions.len() {
            let newest = "SELECT id::text FROM sessions ORDER BY created_at DESC LIMIT 1";
            self.sessions.push(database.db_texts(newest).pop().unwrap_or_default());
        }
    }

    fn compare_mails(&mut self, differences: &mut Vec<String>) {
        let mut found = Vec::new();
        for mail in db_mails(&self.site.database) {
            found.push(format!("{} {}", mail.kind, mail.recipient));
            let awaits = |link: &&mut Link| {
                link.token.is_none() && link.mail == mail.kind && link.step == self.model.step
            };
            if let Some(link) = self.model.links.iter_mut().find(awaits) {
                let name = if link.purpose == Purpose::Undo { "undo_token" } else { "token" };
                link.token = mail.data[name].as_str().map(str::to_owned);
                link.code = mail.data["code"].as_str().map(str::to_owned);
            }
        }
        self.site.database.db_execute("DELETE FROM mail_outbox");
        let (found, expected) = (sorted(found), sorted(self.model.mails.clone()));
        if found != expected {
            differences.push(format!("mails {found:?}, expected {expected:?}"));
        }
    }

    fn compare_events(&mut self, differences: &mut Vec<String>) {
        let sql = NEW_EVENTS.replace('$', &self.last_event.to_string());
        let mut found = Vec::new();
        for row in self.site.database.db_texts(&sql) {
            let row: serde_json::Value = serde_json::from_str(&row).expect("an array");
            self.last_event = row[0].as_i64().expect("a number");
            let text = |at: usize| row[at].as_str().unwrap_or_default();
            let (event, user, session, detail) = (text(1), text(2), text(3), text(4));
            let of_session = self.sessions.iter().position(|id| id == session);
            let is_expired = of_session
                .is_some_and(|number| self.model.sessions[number].state == SessionState::Expired);
            if event == "session_ended" && is_expired {
                continue;
            }
            let whose = match user {
                "" => "-".to_owned(),
                id => self.accounts.get(id).map_or(id.to_owned(), |number| number.to_string()),
            };
            found.push(format!("{event} {whose} {detail}").trim_end().to_owned());
        }
        // A refused link or code is recorded, but not each time: at most once, and never if the step succeeded.
        let all = found.len();
        found.retain(|event| {
            !event.starts_with("link_refused") && !event.starts_with("code_refused")
        });
        if all - found.len() > usize::from(self.is_refused) {
            differences.push("a refused link or code is recorded".to_owned());
        }
        let (found, expected) = (sorted(found), sorted(self.model.events.clone()));
        if found != expected {
            differences.push(format!("events {found:?}, expected {expected:?}"));
        }
    }

    fn compare_browsers(&mut self, differences: &mut Vec<String>) {
        for server in &self.site.servers {
            for (number, browser) in self.browsers.iter().enumerate() {
                let found = owner(browser, &server.addr);
                let account = self.model.signed_in(number);
                let expected = account.map(|account| self.model.accounts[account].email.clone());
                if found != expected {
                    differences
                        .push(format!("browser {number} is {found:?}, expected {expected:?}"));
                }
            }
            for old in self.old_cookies.iter().rev().take(2) {
                let found = owner(old, &server.addr);
                if found.is_some() {
                    differences.push(format!("a former cookie is accepted as {found:?}"));
                }
            }
        }
    }

    /// Every link that works, every link that stopped working, and one other.
    fn compare_links(&mut self, differences: &mut Vec<String>) {
        let other = self.random.below(self.model.links.len().max(1));
        for number in 0..self.model.links.len() {
            let works = self.model.works(number);
            let was_working = self.working_links.contains(&number);
            if works {
                self.working_links.insert(number);
            } else {
                self.working_links.remove(&number);
            }
            let link = &self.model.links[number];
            let Some(token) = &link.token else { continue };
            if !works && !was_working && number != other {
                continue;
            }
            let path = match link.purpose {
                Purpose::Registration | Purpose::Change => format!("/verify-email/{token}"),
                Purpose::Reset => format!("/reset-password/{token}"),
                Purpose::Undo => format!("/undo-email-change/{token}"),
            };
            let server = &self.site.servers[number % 2];
            let status = status_of_link(&mut server.browser(), &path);
            let expected = if works { 200 } else { 410 };
            if status != expected {
                differences.push(format!("{path} is answered with {status}, expected {expected}"));
            }
        }
    }
}

/// The email of the account as which a server accepts the session of `browser`, by its profile page.
fn owner(browser: &Browser, addr: &str) -> Option<String> {
    let mut copy = browser.on_server(addr);
    // A notice may name another email.
    copy.cookies.remove("notice");
    let response = copy.get("/account/profile");
    if response.status == 303 && response.location().starts_with("/login") {
        return None;
    }
    let (_, end) = response.body.split_once("@walk.test").unwrap_or_default();
    let start = &response.body[..response.body.len() - end.len()];
    let is_end = |letter: char| !letter.is_alphanumeric() && !"@.".contains(letter);
    Some(start.rsplit(is_end).next().map_or_else(|| response.status.to_string(), str::to_owned))
}

/// Opens a link and follows redirects, of which a used link has two. The status of the page.
fn status_of_link(browser: &mut Browser, path: &str) -> u16 {
    let mut response = browser.get(path);
    for _ in 0..3 {
        if response.status != 303 {
            break;
        }
        let to = response.location().to_owned();
        response = browser.get(&to);
    }
    response.status
}
