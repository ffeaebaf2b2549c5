//! Every row of the database, to show that a request changed nothing.

use std::collections::BTreeMap;

use super::Database;
use super::breakpoint::until;

/// Columns that background jobs may write at any time: last-seen updates of sessions, and what became of a
/// mail.
const BACKGROUND_COLUMNS: [(&str, &str); 2] = [
    ("sessions", "{last_seen_at,last_seen_ip_address,expires_at,purge_after}"),
    ("mail_outbox", "{state,attempts,next_attempt_at,finished_at,last_error,sealed}"),
];

/// Each table, and its rows as JSON.
pub type Rows = BTreeMap<String, Vec<String>>;

impl Database {
    /// Every row of every table, without [`BACKGROUND_COLUMNS`] and without the heartbeats of servers.
    pub fn db_rows(&self) -> Rows {
        let tables = self.db_texts(
            "SELECT relname::text FROM pg_class
              WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
                AND relname NOT IN ('session_caches', 'servers', '_sqlx_migrations')",
        );
        assert!(tables.len() >= 8, "{tables:?}");
        let rows = |table: &String| {
            let known = BACKGROUND_COLUMNS.iter().find(|(name, _)| name == table);
            let columns = known.map_or("{}", |(_, columns)| columns);
            self.db_texts(&format!(
                "SELECT (to_jsonb(t) - '{columns}'::text[])::text FROM {table} t ORDER BY 1"
            ))
        };
        tables.iter().map(|table| (table.clone(), rows(table))).collect()
    }

    /// Waits until the background jobs have no registration and no password reset left that they can process.
    pub fn db_until_idle(&self) {
        let waiting = "SELECT (SELECT count(*) FROM registrations WHERE mailed_at IS NULL)
                            + (SELECT count(*) FROM recovery_requests)";
        until(|| self.db_count(waiting) == 0);
    }
}

/// The tables whose rows differ, with the rows that were added or removed.
pub fn changes(before: &Rows, after: &Rows) -> Vec<String> {
    let mut changes = Vec::new();
    for (table, rows) in before {
        let now = &after[table];
        let gone =
            rows.iter().filter(|row| !now.contains(row)).map(|row| format!("{table} - {row}"));
        let new =
            now.iter().filter(|row| !rows.contains(row)).map(|row| format!("{table} + {row}"));
        changes.extend(gone.chain(new));
    }
    changes
}
