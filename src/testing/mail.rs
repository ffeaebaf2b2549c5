//! The mail of the server under test. Without a mail server, it keeps mail for its development mailbox.

use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use uuid::Uuid;

use super::browser::Browser;
use super::html;
use super::postgres::block_on;
use super::site::Site;
use crate::db;

const LIMIT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A mail as its recipient reads it.
///
/// ```no_run
/// # let server = frontdesk::testing::TestServer::start("");
/// let mail = server.mail_to("ada@example.com");
/// assert!(mail.subject.starts_with("Verify your email"), "{}", mail.text);
/// server.browser().get(&mail.links[0]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mail {
    /// The subject.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The links to the site in the text, as paths: `/verify-email/…`.
    pub links: Vec<String>,
}

/// The next mail to `email` that the test has not read. `Err`: why there is none.
pub(super) fn next(site: &Site, browser: &Browser, email: &str) -> Result<Mail, String> {
    let recipient = email.to_lowercase();
    let mut read = site.read_mails.lock().unwrap_or_else(PoisonError::into_inner);
    let of_recipient = read.entry(recipient.clone()).or_default();
    let id = wait_for(&site.database.own_pool, &recipient, of_recipient)?;
    of_recipient.push(id);
    let page = browser.get(&format!("/dev/mailbox/{id}"));
    let (subject, text, links) = html::mail(page.text())
        .ok_or_else(|| format!("the development mailbox answered {}", page.status()))?;
    let links = links.into_iter().filter_map(|link| browser.path_of(&link)).collect();
    Ok(Mail { subject, text, links })
}

fn wait_for(pool: &PgPool, recipient: &str, read: &[Uuid]) -> Result<Uuid, String> {
    let started_at = Instant::now();
    loop {
        let select = sqlx::query_scalar(
            "SELECT id FROM mail_outbox WHERE lower(recipient) = $1 AND state = 'kept' AND id <> ALL($2)
              ORDER BY created_at, id LIMIT 1",
        );
        let found = block_on(select.bind(recipient).bind(read).fetch_optional(db::on(pool)));
        match found.map_err(|error| format!("the mail to {recipient}: {error}"))? {
            Some(id) => return Ok(id),
            None if started_at.elapsed() < LIMIT => thread::sleep(POLL_INTERVAL),
            None => return Err(format!("{recipient} got {} mails, and no other one", read.len())),
        }
    }
}
