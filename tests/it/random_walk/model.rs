//! What the documents say about accounts, sessions, links, mails and audit events, without a server.

use std::collections::BTreeSet;

/// Someone with an account, or formerly with one.
#[derive(Debug)]
pub struct Account {
    pub email: String,
    /// `None` after the undo of a change of email.
    pub password: Option<&'static str>,
    /// How often the password was set. A browser is a known device for one of them.
    password_number: u32,
    pub is_disabled: bool,
    /// The step at which the deletion was requested.
    pub deletion_since: Option<usize>,
    pub is_deleted: bool,
    has_signed_in: bool,
    /// Wrong passwords since the last sign-in.
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    Live,
    /// A timeout has passed. The row and its audit event are left to a background job.
    Expired,
    Ended,
}

#[derive(Debug)]
pub struct Session {
    pub account: usize,
    pub state: SessionState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Registration,
    Reset,
    Change,
    Undo,
}

/// A mailed link, or a registration whose owner was told that there is an account already.
#[derive(Debug)]
pub struct Link {
    pub purpose: Purpose,
    /// `None`: it creates the account.
    pub account: Option<usize>,
    /// The email it is about.
    pub email: String,
    /// The password of a registration.
    pub password: &'static str,
    /// The step at which it was created.
    pub step: usize,
    /// The kind of the mail that brings token and code.
    pub mail: &'static str,
    pub token: Option<String>,
    pub code: Option<String>,
    pub is_unused: bool,
    /// Of a used undo link: the link with which the new password is set.
    pub next: Option<usize>,
}

/// What a browser remembers.
#[derive(Clone, Debug, Default)]
pub struct BrowserState {
    pub session: Option<usize>,
    pub registration: Option<usize>,
    /// Accounts and the numbers of their passwords, latest first.
    known: Vec<(usize, u32)>,
}

/// The state of the whole site.
#[derive(Debug, Default)]
pub struct Model {
    pub step: usize,
    pub accounts: Vec<Account>,
    pub sessions: Vec<Session>,
    pub links: Vec<Link>,
    pub browsers: [BrowserState; 3],
    /// "kind recipient" of each mail of this step.
    pub mails: Vec<String>,
    /// "event account detail" of each event of this step.
    pub events: Vec<String>,
}

impl Model {
    pub fn mail(&mut self, kind: &str, recipient: &str) {
        self.mails.push(format!("{kind} {recipient}"));
    }

    fn mail_owner(&mut self, kind: &str, account: usize) {
        let email = self.accounts[account].email.clone();
        self.mail(kind, &email);
    }

    pub fn event(&mut self, kind: &str, account: Option<usize>, detail: &str) {
        let whose = account.map_or("-".to_owned(), |account| account.to_string());
        self.events.push(format!("{kind} {whose} {detail}").trim_end().to_owned());
    }

    /// The account that has the email now.
    pub fn account_of(&self, email: &str) -> Option<usize> {
        self.accounts.iter().position(|account| !account.is_deleted && account.email == email)
    }

    /// The account as which this browser is signed in.
    pub fn signed_in(&self, browser: usize) -> Option<usize> {
        let session = &self.sessions[self.browsers[browser].session?];
        (session.state == SessionState::Live).then_some(session.account)
    }

    /// The live sessions of an account.
    pub fn live(&self, account: usize) -> Vec<usize> {
        let is_live =
            |session: &Session| session.account == account && session.state == SessionState::Live;
        (0..self.sessions.len()).filter(|number| is_live(&self.sessions[*number])).collect()
    }

    /// Whether the link opens its page.
    pub fn works(&self, link: usize) -> bool {
        let link = &self.links[link];
        let Some(account) = link.account.map(|account| &self.accounts[account]) else {
            return link.is_unused;
        };
        let is_valid = match link.purpose {
            Purpose::Reset => account.email == link.email,
            _ => true,
        };
        let works = link.is_unused && is_valid && !account.is_disabled && !account.is_deleted;
        works || link.next.is_some_and(|next| self.works(next))
    }

    /// The links of a purpose whose token is known.
    pub fn links_for(&self, purpose: Purpose) -> Vec<usize> {
        let is_known = |link: &Link| link.purpose == purpose && link.token.is_some();
        (0..self.links.len()).filter(|number| is_known(&self.links[*number])).collect()
    }

    pub fn end_session(&mut self, session: usize, cause: &str) {
        if self.sessions[session].state == SessionState::Live {
            self.sessions[session].state = SessionState::Ended;
            let account = self.sessions[session].account;
            self.event("session_ended", Some(account), cause);
        }
    }

    /// Ends the sessions of an account, except `kept`.
    pub fn end_sessions(&mut self, account: usize, kept: Option<usize>, cause: &str) {
        for session in self.live(account) {
            if Some(session) != kept {
                self.end_session(session, cause);
            }
        }
    }

    /// Ends the links of an account for which `ends` holds.
    fn end_links(&mut self, account: usize, ends: impl Fn(&Link) -> bool) {
        let own = self.links.iter_mut().filter(|link| link.account == Some(account));
        own.filter(|link| ends(link)).for_each(|link| link.is_unused = false);
    }

    fn end_links_but_undo(&mut self, account: usize) {
        self.end_links(account, |link| link.purpose != Purpose::Undo);
    }

    /// Adds a link whose token arrives in a mail of kind `mail` to `email`.
    fn add_link(
        &mut self,
        purpose: Purpose,
        account: Option<usize>,
        email: &str,
        mail: &'static str,
    ) {
        self.links.push(Link {
            purpose,
            account,
            email: email.to_owned(),
            password: "",
            step: self.step,
            mail,
            token: None,
            code: None,
            is_unused: true,
            next: None,
        });
    }

    fn mark_known(&mut self, browser: usize, account: usize) {
        let number = self.accounts[account].password_number;
        let known = &mut self.browsers[browser].known;
        known.retain(|(known, _)| *known != account);
        known.insert(0, (account, number));
        known.truncate(5);
    }

    fn set_password(&mut self, account: usize, password: Option<&'static str>) {
        self.accounts[account].password = password;
        self.accounts[account].password_number += 1;
    }

    pub fn sign_in(&mut self, browser: usize, account: usize) {
        let number = self.accounts[account].password_number;
        let is_known = self.browsers[browser].known.contains(&(account, number));
        if std::mem::take(&mut self.accounts[account].failures) >= 5 {
            self.mail_owner("sign_in_after_failures", account);
        } else if self.accounts[account].has_signed_in && !is_known {
            self.mail_owner("new_device", account);
        }
        if let Some(former) = self.browsers[browser].session {
            self.end_session(former, "replaced");
        }
        self.accounts[account].has_signed_in = true;
        self.sessions.push(Session { account, state: SessionState::Live });
        self.browsers[browser].session = Some(self.sessions.len() - 1);
        self.mark_known(browser, account);
        self.event("signed_in", Some(account), "");
    }

    /// A sign-in form. Returns the status.
    pub fn try_sign_in(&mut self, browser: usize, email: &str, password: &str) -> u16 {
        let account = self.account_of(email);
        let is_right = account.is_some_and(|one| self.accounts[one].password == Some(password));
        let why = match account {
            None => "unknown_account",
            Some(account) if !is_right => {
                self.accounts[account].failures += 1;
                "wrong_password"
            }
            Some(account) if self.accounts[account].is_disabled => "disabled",
            Some(account) => {
                self.sign_in(browser, account);
                return 303;
            }
        };
        self.event("sign_in_refused", account, why);
        422
    }

    pub fn register(&mut self, browser: usize, email: &str, password: &'static str) {
        let owner = self.account_of(email);
        let mail = if owner.is_some() { "already_registered" } else { "verify_registration" };
        self.mail(mail, email);
        // The owner's mail brings no token.
        self.add_link(Purpose::Registration, None, email, "verify_registration");
        let number = self.links.len() - 1;
        self.links[number].password = password;
        self.links[number].is_unused = owner.is_none();
        self.browsers[browser].registration = Some(number);
    }

    /// Creates the account of a registration. Returns the status.
    pub fn complete(&mut self, browser: usize, link: usize) -> u16 {
        if !self.works(link) {
            return 410;
        }
        let (email, password) = (self.links[link].email.clone(), self.links[link].password);
        let same = self.links.iter_mut().filter(|one| one.account.is_none() && one.email == email);
        same.for_each(|link| link.is_unused = false);
        if self.account_of(&email).is_some() {
            return 410;
        }
        self.accounts.push(Account {
            email,
            password: Some(password),
            password_number: 0,
            is_disabled: false,
            deletion_since: None,
            is_deleted: false,
            has_signed_in: false,
            failures: 0,
        });
        let account = self.accounts.len() - 1;
        self.event("registered", Some(account), "");
        self.event("email_verified", Some(account), "");
        self.sign_in(browser, account);
        self.browsers[browser].registration = None;
        303
    }

    pub fn request_reset(&mut self, email: &str) {
        let Some(account) = self.account_of(email) else { return };
        if self.accounts[account].is_disabled {
            return;
        }
        self.end_links(account, |link| link.purpose == Purpose::Reset && link.email == email);
        self.add_link(Purpose::Reset, Some(account), email, "reset_password");
        self.mail("reset_password", email);
        self.event("password_reset_requested", Some(account), "");
    }

    /// Sets a password with a link. Returns the status.
    pub fn reset(&mut self, browser: usize, link: usize, password: &'static str) -> u16 {
        let Some(account) = self.links[link].account.filter(|_| self.works(link)) else {
            return 410;
        };
        self.set_password(account, Some(password));
        self.end_sessions(account, None, "password_reset");
        self.end_links_but_undo(account);
        self.mark_known(browser, account);
        self.mail_owner("password_changed", account);
        self.event("password_reset", Some(account), "");
        303
    }

    pub fn change_password(&mut self, browser: usize, account: usize, password: &'static str) {
        let session = self.browsers[browser].session;
        self.set_password(account, Some(password));
        self.end_sessions(account, session, "password_changed");
        self.end_links_but_undo(account);
        self.mark_known(browser, account);
        self.mail_owner("password_changed", account);
        self.event("password_changed", Some(account), "");
    }

    pub fn request_change(&mut self, account: usize, email: &str) {
        self.end_links(account, |link| link.purpose == Purpose::Change);
        self.add_link(Purpose::Change, Some(account), email, "change_email");
        let is_taken = self.account_of(email).is_some();
        self.mail(if is_taken { "already_registered" } else { "change_email" }, email);
        self.event("email_change_requested", Some(account), "");
    }

    /// Changes the email in the session of `browser`, or without a session. Returns whether it was changed.
    pub fn confirm_change(&mut self, session: Option<usize>, link: usize) -> bool {
        let Some(account) = self.links[link].account.filter(|_| self.works(link)) else {
            return false;
        };
        let (old, new) = (self.accounts[account].email.clone(), self.links[link].email.clone());
        self.links[link].is_unused = false;
        if self.account_of(&new).is_some() {
            return false;
        }
        self.accounts[account].email = new.clone();
        self.end_sessions(account, session, "email_changed");
        self.end_links(account, |link| link.purpose == Purpose::Change);
        self.add_link(Purpose::Undo, Some(account), &old, "email_changed");
        self.mail("email_changed", &old);
        self.mail("email_confirmed", &new);
        self.event("email_changed", Some(account), "");
        true
    }

    /// Undoes a change of email. Returns the status.
    pub fn undo(&mut self, link: usize) -> u16 {
        let is_repeated = !self.links[link].is_unused;
        let Some(account) = self.links[link].account.filter(|_| self.works(link)) else {
            return 410;
        };
        if is_repeated {
            return 303;
        }
        let (old, step) = (self.links[link].email.clone(), self.links[link].step);
        if self.account_of(&old).is_some_and(|owner| owner != account) {
            return 409;
        }
        let removed = std::mem::replace(&mut self.accounts[account].email, old.clone());
        self.set_password(account, None);
        self.event("password_invalidated", Some(account), "undo");
        self.end_sessions(account, None, "email_change_undone");
        self.end_links(account, |link| match link.purpose {
            Purpose::Change => true,
            Purpose::Reset => link.email != old,
            Purpose::Undo => link.step >= step,
            Purpose::Registration => false,
        });
        self.add_link(Purpose::Reset, Some(account), &old, "");
        self.links[link].next = Some(self.links.len() - 1);
        self.event("email_change_undone", Some(account), "");
        if self.accounts[account].deletion_since.is_some_and(|since| since >= step) {
            self.accounts[account].deletion_since = None;
            self.event("deletion_canceled", Some(account), "");
        }
        self.mail("email_confirmed", &old);
        if removed != old {
            self.mail("address_removed", &removed);
        }
        303
    }

    pub fn request_deletion(&mut self, account: usize) {
        self.end_sessions(account, None, "deletion_requested");
        self.end_links_but_undo(account);
        if self.accounts[account].deletion_since.is_none() {
            self.accounts[account].deletion_since = Some(self.step);
            self.mail_owner("deletion_scheduled", account);
            self.event("deletion_requested", Some(account), "");
        }
    }

    pub fn cancel_deletion(&mut self, account: usize) {
        if self.accounts[account].deletion_since.take().is_some() {
            self.mail_owner("deletion_canceled", account);
            self.event("deletion_canceled", Some(account), "");
        }
    }

    pub fn delete(&mut self, account: usize) {
        self.end_sessions(account, None, "deleted");
        self.end_links(account, |_| true);
        let email = self.accounts[account].email.clone();
        let same = self.links.iter_mut().filter(|one| one.account.is_none() && one.email == email);
        same.for_each(|link| link.is_unused = false);
        self.accounts[account].is_deleted = true;
        self.mail("account_deleted", &email);
        self.event("account_deleted", Some(account), "");
    }

    pub fn disable(&mut self, account: usize) {
        self.accounts[account].is_disabled = true;
        self.end_sessions(account, None, "disabled");
        self.end_links_but_undo(account);
        self.mail_owner("account_disabled", account);
        self.event("account_disabled", Some(account), "");
    }

    pub fn enable(&mut self, account: usize) {
        self.accounts[account].is_disabled = false;
        self.mail_owner("account_enabled", account);
        self.event("account_enabled", Some(account), "");
    }

    /// The emails of all accounts.
    pub fn emails(&self) -> BTreeSet<&str> {
        let accounts = self.accounts.iter().filter(|account| !account.is_deleted);
        accounts.map(|account| account.email.as_str()).collect()
    }
}
