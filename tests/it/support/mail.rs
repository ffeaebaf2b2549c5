//! Mail as it stands in the outbox, opened with the key of the tests.

use std::time::{Duration, Instant};

use frontdesk::config::SecretKeys;
use frontdesk::seal::Sealer;
use serde_json::Value;
use uuid::Uuid;

use super::Database;
use super::server::KEY;

/// A mail: to whom, and what it says.
#[derive(Debug, Clone)]
pub struct Mail {
    pub recipient: String,
    pub kind: String,
    pub data: Value,
}

impl Mail {
    /// A text of it: `token`, `code`, `undo_token`.
    pub fn text(&self, name: &str) -> &str {
        self.data[name].as_str().unwrap_or_else(|| panic!("{} has no {name}", self.kind))
    }
}

/// Every mail so far, oldest first.
pub fn db_mails(database: &Database) -> Vec<Mail> {
    let sealer = Sealer::new(&SecretKeys::parse(KEY).unwrap());
    let rows: Vec<(Uuid, String, String, Vec<u8>)> = database
        .runtime
        .block_on(
            sqlx::query_as(
                "SELECT id, kind, recipient, sealed FROM mail_outbox WHERE sealed IS NOT NULL ORDER BY id",
            )
            .fetch_all(&database.pool),
        )
        .unwrap();
    rows.into_iter()
        .map(|(id, kind, recipient, sealed)| {
            let plain = sealer.open(&format!("mail_outbox:{id}"), &sealed).expect("our key");
            Mail { recipient, kind, data: serde_json::from_slice(&plain).unwrap() }
        })
        .collect()
}

/// Waits until there are `count` mails of that kind; answers the newest.
pub fn db_mail(database: &Database, kind: &str, count: usize) -> Mail {
    let began = Instant::now();
    loop {
        let mut mails = db_mails(database);
        mails.retain(|mail| mail.kind == kind);
        if mails.len() >= count {
            assert_eq!(mails.len(), count, "{kind}");
            return mails.remove(count - 1);
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "no {kind} came: {:?}",
            db_mails(database)
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Forgets every try, so that a test of many is not one of throttling.
pub fn db_clear_rate_limits(database: &Database) {
    database.db_execute("DELETE FROM throttles");
}
