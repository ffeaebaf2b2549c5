//! The steps of a walk. Each acts on the site and on the model. `None`: not possible in this state.

use std::process::Command;

use frontdesk::crypto::secret::Secret;
use frontdesk::user::email::undo_change;

use super::model::{Purpose, SessionState};
use super::{SETTINGS, Walk};
use crate::support::Server;
use crate::support::breakpoint::until;
use crate::support::server::KEY;

const EMAILS: [&str; 5] = [
    "adalbert@walk.test",
    "bonifaz@walk.test",
    "cyprian@walk.test",
    "dietrich@walk.test",
    "edeltraud@walk.test",
];
const PASSWORDS: [&str; 3] =
    ["quiet corner with a lamp", "seven umbrellas in the hall", "copper kettle on a stove"];

/// What the site answered, and what it should have: status and, if it matters, the location.
type Outcome = Option<Vec<(String, String)>>;
type Step = fn(&mut Walk<'_>) -> Outcome;

/// Every step, with how often it is taken compared to the others.
const STEPS: [(u32, Step); 21] = [
    (6, register),
    (8, complete_by_link),
    (4, complete_by_code),
    (10, sign_in),
    (3, sign_in_with_any_password),
    (3, sign_out),
    (3, revoke_one),
    (2, revoke_others),
    (5, request_reset),
    (6, reset),
    (7, request_change),
    (7, confirm_by_link),
    (3, confirm_by_code),
    (5, undo),
    (4, change_password),
    (2, request_deletion),
    (3, cancel_deletion),
    (1, delete),
    (3, disable_or_enable),
    (3, expire),
    (1, restart),
];

/// Takes a random step. `false` if it is not possible.
pub(super) fn take_any(walk: &mut Walk<'_>, differences: &mut Vec<String>) -> bool {
    let total: u32 = STEPS.iter().map(|(weight, _)| weight).sum();
    let mut chosen = walk.random.below(total as usize) as u32;
    for (weight, step) in STEPS {
        if chosen >= weight {
            chosen -= weight;
            continue;
        }
        let Some(answers) = step(walk) else { return false };
        let different = answers.into_iter().filter(|(answer, expected)| answer != expected);
        differences.extend(
            different.map(|(answer, expected)| format!("answered {answer}, expected {expected}")),
        );
        return true;
    }
    false
}

fn statuses(answer: u16, expected: u16) -> Outcome {
    Some(vec![(answer.to_string(), expected.to_string())])
}

/// A step without an answer.
const DONE: Outcome = Some(Vec::new());

fn any_browser(walk: &mut Walk<'_>) -> usize {
    walk.random.below(3)
}

/// A browser that is signed in, and its account.
fn signed_in_browser(walk: &mut Walk<'_>) -> Option<(usize, usize)> {
    let all: Vec<(usize, usize)> =
        (0..3).filter_map(|browser| Some((browser, walk.model.signed_in(browser)?))).collect();
    walk.random.pick(&all)
}

fn any_email(walk: &mut Walk<'_>) -> &'static str {
    EMAILS[walk.random.below(EMAILS.len())]
}

fn any_password(walk: &mut Walk<'_>) -> &'static str {
    PASSWORDS[walk.random.below(PASSWORDS.len())]
}

/// A link of a purpose. Most often one that works.
fn any_link(walk: &mut Walk<'_>, purpose: Purpose) -> Option<(usize, String)> {
    let mut links = walk.model.links_for(purpose);
    if walk.random.below(4) > 0 {
        links.retain(|link| walk.model.works(*link));
    }
    let link = walk.random.pick(&links)?;
    Some((link, walk.model.links[link].token.clone()?))
}

fn register(walk: &mut Walk<'_>) -> Outcome {
    let (browser, email, password) = (any_browser(walk), any_email(walk), any_password(walk));
    let fields = [("email", email), ("display_name", "Walker"), ("password", password)];
    let response = walk.post(browser, "/register", &fields);
    walk.model.register(browser, email, password);
    statuses(response.status, 303)
}

fn complete_by_link(walk: &mut Walk<'_>) -> Outcome {
    let browser = any_browser(walk);
    let (link, token) = any_link(walk, Purpose::Registration)?;
    let path = format!("/verify-email/{token}");
    let response = walk.post(browser, &path, &[("password", walk.model.links[link].password)]);
    statuses(response.status, walk.model.complete(browser, link))
}

fn complete_by_code(walk: &mut Walk<'_>) -> Outcome {
    let browsers: Vec<(usize, usize)> = (0..3)
        .filter_map(|browser| Some((browser, walk.model.browsers[browser].registration?)))
        .collect();
    let (browser, link) = walk.random.pick(&browsers)?;
    let code = walk.model.links[link].code.clone()?;
    let response = walk.post(browser, "/verify-email", &[("code", &code)]);
    statuses(response.status, walk.model.complete(browser, link))
}

fn sign_in(walk: &mut Walk<'_>) -> Outcome {
    let emails: Vec<String> = walk.model.emails().iter().map(|email| (*email).to_owned()).collect();
    let number = walk.random.below(emails.len().max(1));
    let email = emails.get(number)?.clone();
    let account = walk.model.account_of(&email)?;
    let password = walk.model.accounts[account].password.unwrap_or(PASSWORDS[0]);
    sign_in_with(walk, &email, password)
}

fn sign_in_with_any_password(walk: &mut Walk<'_>) -> Outcome {
    let (email, password) = (any_email(walk), any_password(walk));
    sign_in_with(walk, email, password)
}

fn sign_in_with(walk: &mut Walk<'_>, email: &str, password: &str) -> Outcome {
    let browser = any_browser(walk);
    let response = walk.post(browser, "/login", &[("email", email), ("password", password)]);
    let expected = walk.model.try_sign_in(browser, email, password);
    let account = walk.model.account_of(email).map(|account| &walk.model.accounts[account]);
    let is_to_be_deleted = account.is_some_and(|account| account.deletion_since.is_some());
    let location = match (expected, is_to_be_deleted) {
        (303, true) => "303 /account/delete",
        (303, false) => "303 /account",
        _ => "422 ",
    };
    Some(vec![(format!("{} {}", response.status, response.location()), location.to_owned())])
}

fn sign_out(walk: &mut Walk<'_>) -> Outcome {
    let (browser, _) = signed_in_browser(walk)?;
    let response = walk.post(browser, "/logout", &[]);
    let session = walk.model.browsers[browser].session.take()?;
    walk.model.end_session(session, "signed_out");
    statuses(response.status, 303)
}

fn revoke_one(walk: &mut Walk<'_>) -> Outcome {
    let (browser, account) = signed_in_browser(walk)?;
    let mut others = walk.model.live(account);
    others.retain(|session| Some(*session) != walk.model.browsers[browser].session);
    let session = walk.random.pick(&others)?;
    let path = format!("/account/sessions/{}/revoke", walk.sessions[session]);
    let response = walk.post(browser, &path, &[]);
    walk.model.end_session(session, "revoked");
    statuses(response.status, 303)
}

fn revoke_others(walk: &mut Walk<'_>) -> Outcome {
    let (browser, account) = signed_in_browser(walk)?;
    let response = walk.post(browser, "/account/sessions/revoke-others", &[]);
    let current = walk.model.browsers[browser].session;
    walk.model.end_sessions(account, current, "revoked");
    statuses(response.status, 303)
}

fn request_reset(walk: &mut Walk<'_>) -> Outcome {
    let (browser, email) = (any_browser(walk), any_email(walk));
    let response = walk.post(browser, "/forgot-password", &[("email", email)]);
    walk.model.request_reset(email);
    statuses(response.status, 303)
}

fn reset(walk: &mut Walk<'_>) -> Outcome {
    let (browser, password) = (any_browser(walk), any_password(walk));
    let (link, token) = any_link(walk, Purpose::Reset)?;
    let path = format!("/reset-password/{token}");
    let response = walk.post(browser, &path, &[("new_password", password)]);
    statuses(response.status, walk.model.reset(browser, link, password))
}

fn request_change(walk: &mut Walk<'_>) -> Outcome {
    let (browser, account) = signed_in_browser(walk)?;
    let email = any_email(walk);
    if walk.model.accounts[account].email == email {
        return None;
    }
    let response = walk.post(browser, "/account/email", &[("email", email)]);
    walk.model.request_change(account, email);
    statuses(response.status, 303)
}

fn confirm_by_link(walk: &mut Walk<'_>) -> Outcome {
    let browser = any_browser(walk);
    let (link, token) = any_link(walk, Purpose::Change)?;
    let account = walk.model.links[link].account?;
    let path = format!("/verify-email/{token}");
    if walk.model.signed_in(browser) == Some(account) {
        let session = walk.model.browsers[browser].session;
        let response = walk.post(browser, &path, &[]);
        let is_changed = walk.model.confirm_change(session, link);
        return statuses(response.status, if is_changed { 303 } else { 410 });
    }
    let password = walk.model.accounts[account].password?;
    let response = walk.post(browser, &path, &[("password", password)]);
    let is_changed = walk.model.confirm_change(None, link);
    if is_changed {
        walk.model.sign_in(browser, account);
    }
    statuses(response.status, if is_changed { 303 } else { 410 })
}

fn confirm_by_code(walk: &mut Walk<'_>) -> Outcome {
    let (browser, account) = signed_in_browser(walk)?;
    let mut links = walk.model.links_for(Purpose::Change);
    links
        .retain(|link| walk.model.links[*link].account == Some(account) && walk.model.works(*link));
    let link = walk.random.pick(&links)?;
    let code = walk.model.links[link].code.clone()?;
    let session = walk.model.browsers[browser].session;
    let response = walk.post(browser, "/account/email/code", &[("change_code", &code)]);
    let is_changed = walk.model.confirm_change(session, link);
    statuses(response.status, if is_changed { 303 } else { 422 })
}

fn undo(walk: &mut Walk<'_>) -> Outcome {
    let browser = any_browser(walk);
    let (link, token) = any_link(walk, Purpose::Undo)?;
    let response = walk.post(browser, &format!("/undo-email-change/{token}"), &[]);
    let expected = walk.model.undo(link);
    if let Some(next) = walk.model.links[link].next {
        let undo = Secret::parse(&token).expect("a token");
        walk.model.links[next].token = Some(undo_change::reset_secret(&undo).reveal());
    }
    statuses(response.status, expected)
}

fn change_password(walk: &mut Walk<'_>) -> Outcome {
    let (browser, account) = signed_in_browser(walk)?;
    let current = walk.model.accounts[account].password?;
    let new = PASSWORDS[(PASSWORDS.iter().position(|one| *one == current)? + 1) % PASSWORDS.len()];
    let fields = [("current_password", current), ("new_password", new)];
    let response = walk.post(browser, "/account/password", &fields);
    walk.model.change_password(browser, account, new);
    statuses(response.status, 303)
}

fn request_deletion(walk: &mut Walk<'_>) -> Outcome {
    let (browser, account) = signed_in_browser(walk)?;
    let response = walk.post(browser, "/account/delete", &[]);
    walk.model.request_deletion(account);
    statuses(response.status, 303)
}

fn cancel_deletion(walk: &mut Walk<'_>) -> Outcome {
    let (browser, account) = signed_in_browser(walk)?;
    let response = walk.post(browser, "/account/delete/cancel", &[]);
    walk.model.cancel_deletion(account);
    statuses(response.status, 303)
}

/// The deletion of an account is due.
fn delete(walk: &mut Walk<'_>) -> Outcome {
    let accounts = &walk.model.accounts;
    let due: Vec<usize> = (0..accounts.len())
        .filter(|one| accounts[*one].deletion_since.is_some() && !accounts[*one].is_deleted)
        .collect();
    let account = walk.random.pick(&due)?;
    let email = walk.model.accounts[account].email.clone();
    walk.note(format!("{email} is deleted"));
    let database = &walk.site.database;
    let sql = format!("UPDATE users SET deletion_due_at = now() WHERE email = '{email}'");
    database.db_execute(&sql);
    let left = format!("SELECT count(*) FROM users WHERE email = '{email}'");
    until(|| database.db_count(&left) == 0);
    // Waits until the servers have noticed.
    database.db_execute("DELETE FROM users WHERE false");
    walk.model.delete(account);
    DONE
}

fn disable_or_enable(walk: &mut Walk<'_>) -> Outcome {
    let accounts = &walk.model.accounts;
    let all: Vec<usize> = (0..accounts.len()).filter(|one| !accounts[*one].is_deleted).collect();
    let account = walk.random.pick(&all)?;
    let is_disabled = walk.model.accounts[account].is_disabled;
    let command = if is_disabled { "enable" } else { "disable" };
    let email = walk.model.accounts[account].email.clone();
    walk.note(format!("frontdesk user {command} {email}"));
    let status = Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(["user", command, &email])
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env_clear()
        .envs([("DATABASE_URL", walk.site.database.url.as_str()), ("FRONTDESK_SECRET_KEYS", KEY)])
        .output();
    assert!(status.expect("the program starts").status.success(), "{command} {email}");
    if is_disabled {
        walk.model.enable(account);
    } else {
        walk.model.disable(account);
    }
    DONE
}

/// A session or a link expires.
fn expire(walk: &mut Walk<'_>) -> Outcome {
    if walk.random.below(2) == 0 {
        let sessions = &walk.model.sessions;
        let live: Vec<usize> =
            (0..sessions.len()).filter(|one| sessions[*one].state == SessionState::Live).collect();
        let session = walk.random.pick(&live)?;
        let id = walk.sessions[session].clone();
        walk.note(format!("session {id} expires"));
        walk.site.database.db_execute(&format!(
            "UPDATE sessions SET expires_at = now() - interval '1 second' WHERE id = '{id}'"
        ));
        walk.model.sessions[session].state = SessionState::Expired;
        return DONE;
    }
    let purposes = [Purpose::Registration, Purpose::Reset, Purpose::Change, Purpose::Undo];
    let purpose = walk.random.pick(&purposes)?;
    let (link, token) = any_link(walk, purpose)?;
    if !walk.model.links[link].is_unused {
        return None;
    }
    walk.note(format!("link {token} expires"));
    let digest: String = Secret::parse(&token)
        .expect("a token")
        .digest()
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for table in ["email_tokens", "registrations"] {
        walk.site.database.db_execute(&format!(
            "UPDATE {table} SET expires_at = now() WHERE token_digest = '\\x{digest}'"
        ));
    }
    walk.model.links[link].is_unused = false;
    DONE
}

fn restart(walk: &mut Walk<'_>) -> Outcome {
    let server = walk.random.below(2);
    walk.note(format!("server {server} restarts"));
    let new = Server::start(&walk.site.database, &SETTINGS).until_live();
    let log = std::mem::replace(&mut walk.site.servers[server], new).stop();
    assert!(!log.contains("answered 50") && !log.contains("panicked"), "{log}");
    DONE
}
