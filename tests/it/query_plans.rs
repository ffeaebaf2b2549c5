//! No statement of the program reads a whole table that grows, on tables with many rows and with statistics.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::Database;

/// Rows that make an index scan cheaper than a sequential scan wherever an index can be used.
const FILL: [&str; 16] = [
    "INSERT INTO users (id, email, email_canonical, display_name, password_hash, created_at, deletion_due_at)
     SELECT gen_random_uuid(), 'user' || n || '@example.com', 'user' || n || '@example.com', 'User', repeat('x', 100), now(),
            CASE WHEN n % 1000 = 0 THEN now() + interval '1 day' END
       FROM generate_series(1, 20000) AS n",
    "INSERT INTO sessions (token_digest, id, user_id, state, last_seen_at, idle_timeout, expires_at, absolute_expires_at, user_agent)
     SELECT sha256(n::text::bytea), gen_random_uuid(), u.id, '{}', now() - make_interval(secs => n), '1 day',
            now() + make_interval(secs => n), now() + interval '90 days', 'Mozilla/5.0'
       FROM (SELECT id, row_number() OVER () AS n FROM users) AS u",
    "INSERT INTO audit_events (occurred_at, event, user_id, session_id, ip_address, user_agent)
     SELECT now() - make_interval(secs => n), 'signed_in', u.id, gen_random_uuid(), '10.0.0.0'::inet + n, 'Mozilla/5.0'
       FROM (SELECT id, row_number() OVER () AS n FROM users) AS u, generate_series(1, 2)",
    "INSERT INTO email_tokens (token_digest, purpose, user_id, email, email_canonical, expires_at)
     SELECT sha256(n::text::bytea), CASE n % 2 WHEN 0 THEN 'undo_email_change' ELSE 'reset_password' END, u.id, u.email,
            u.email_canonical, now() + make_interval(secs => n)
       FROM (SELECT id, email, email_canonical, row_number() OVER () AS n FROM users) AS u",
    "INSERT INTO mail_outbox (id, kind, user_id, recipient, recipient_canonical, sealed, state, finished_at)
     SELECT gen_random_uuid(), 'new_device', u.id, u.email, CASE WHEN n % 2 = 0 THEN u.email_canonical END, repeat('x', 200)::bytea,
            CASE WHEN n % 100 = 0 THEN 'waiting' ELSE 'sent' END, CASE WHEN n % 100 > 0 THEN now() - make_interval(secs => n) END
       FROM (SELECT id, email, email_canonical, row_number() OVER () AS n FROM users) AS u",
    "INSERT INTO registrations (id, ticket_digest, token_digest, email, email_canonical, display_name, password_hash, mailed_at, expires_at)
     SELECT gen_random_uuid(), sha256(('t' || n)::bytea), sha256(n::text::bytea), n || '@example.com', n || '@example.com', 'User',
            repeat('x', 100), CASE WHEN n % 1000 > 0 THEN now() END, now() + make_interval(secs => n)
       FROM generate_series(1, 20000) AS n",
    "INSERT INTO invitations (id, token_digest, email, email_canonical, expires_at)
     SELECT gen_random_uuid(), sha256(n::text::bytea), n || '@example.org', n || '@example.org', now() + make_interval(secs => n)
       FROM generate_series(1, 20000) AS n",
    "INSERT INTO recovery_requests (id, email_canonical, user_agent, created_at)
     SELECT gen_random_uuid(), n || '@example.com', 'Mozilla/5.0', now() - make_interval(secs => n)
       FROM generate_series(1, 20000) AS n",
    "INSERT INTO suppressed_recipients (email_canonical, user_id, reason, suppressed_until)
     SELECT email_canonical, id, 'bounced', now() + make_interval(secs => n)
       FROM (SELECT id, email_canonical, row_number() OVER () AS n FROM users) AS u",
    "INSERT INTO throttles (action, subject, tries, free_at, tried_at, forget_at)
     SELECT 'action_' || chr(97 + n % 12), sha256(n::text::bytea), 1, now(), now(), now() + make_interval(secs => n)
       FROM generate_series(1, 150000) AS n",
    "INSERT INTO mail_limits (recipient_digest, topic, full_at)
     SELECT sha256(n::text::bytea), 'topic_' || chr(97 + n % 12), now() + make_interval(secs => n)
       FROM generate_series(1, 20000) AS n",
    "INSERT INTO form_answers (form_digest, sealed_answer, expires_at)
     SELECT sha256(n::text::bytea), repeat('x', 500)::bytea, now() + make_interval(secs => n)
       FROM generate_series(1, 20000) AS n",
    "INSERT INTO ended_sessions (token_digest, cause, ended_at)
     SELECT sha256(n::text::bytea), 'revoked', now() - make_interval(secs => n)
       FROM generate_series(1, 20000) AS n",
    "INSERT INTO event_deliveries (id, event, hook, user_id, sealed, sealed_with, state, retry_until, finished_at)
     SELECT gen_random_uuid(), 'after_sign_in', 'greet', gen_random_uuid(), CASE WHEN n % 100 = 0 THEN 'x'::bytea END,
            repeat('a', 16), CASE WHEN n % 100 = 0 THEN 'waiting' ELSE 'delivered' END, now() + make_interval(secs => n),
            CASE WHEN n % 100 > 0 THEN now() - make_interval(secs => n) END
       FROM generate_series(1, 20000) AS n",
    "INSERT INTO groups (id, name) SELECT gen_random_uuid(), 'group-' || n FROM generate_series(0, 199) AS n",
    "INSERT INTO group_members (group_id, user_id)
     SELECT g.id, u.id
       FROM (SELECT id, row_number() OVER () AS n FROM users) AS u, groups g
      WHERE g.name IN ('group-' || n % 200, 'group-' || (n + 7) % 200)",
];

/// The tables that grow with users, sessions and time.
const GROWING: [&str; 15] = [
    "users",
    "sessions",
    "audit_events",
    "email_tokens",
    "mail_outbox",
    "registrations",
    "invitations",
    "recovery_requests",
    "suppressed_recipients",
    "throttles",
    "mail_limits",
    "form_answers",
    "ended_sessions",
    "event_deliveries",
    "group_members",
];

/// Statements that may read a whole table: a part of the text, and why.
const ALLOWED: [(&str, &str); 18] = [
    (
        "RETURNING expires_at > now() AS is_live",
        "session revoke --all deletes all of them, or those created before a time",
    ),
    (
        "AND u.disabled_at IS NULL\n             AND ($2::timestamptz IS NULL OR",
        "session list: no index on last_seen_at, so that updates of it are HOT",
    ),
    ("FILTER (WHERE expires_at > now() AND remembered)", "session stats counts all of them"),
    ("GROUP BY user_agent", "session stats"),
    ("now() - created_at)::float8, $1::float8[])", "session stats"),
    ("now() - last_seen_at)::float8, $1::float8[])", "session stats"),
    (
        "SELECT id, kind, recipient, state",
        "mail list: an operator waits, and mail is deleted after 30 days",
    ),
    ("SET state = 'waiting', attempts = 0", "mail retry --failed: an operator waits"),
    ("WHERE state IN ('kept', 'waiting')", "/dev/mailbox, only where no mail server is configured"),
    (
        "request for a new password",
        "recovery_requests is a queue that a job empties within seconds",
    ),
    (
        "SELECT id FROM recovery_requests WHERE email_canonical",
        "the same queue, at the deletion of an account",
    ),
    (
        "DELETE FROM recovery_requests WHERE (id) IN",
        "the same queue, what is left in it after a day",
    ),
    (
        "AND (password_changed_at IS NULL OR password_changed_at < $1)",
        "require-new-password --all counts all",
    ),
    (
        "DELETE FROM email_tokens WHERE created_at",
        "session revoke --all --created-before, after a restore",
    ),
    ("DELETE FROM registrations WHERE created_at", "the same"),
    ("DELETE FROM invitations WHERE created_at", "the same"),
    ("DELETE FROM recovery_requests WHERE created_at", "the same"),
    ("ip_address <<= CAST", "session revoke --network: an operator waits"),
];

/// The checked statements of the program, with the number of their parameters.
fn statements() -> Vec<(String, usize)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let files = fs::read_dir(folder).expect("the records of the checked statements");
    let mut all: Vec<(String, usize)> = files
        .map(|file| fs::read_to_string(file.expect("a file").path()).expect("a readable file"))
        .map(|text| serde_json::from_str::<Value>(&text).expect("JSON"))
        .map(|record| {
            let parameters = record["describe"]["parameters"]["Left"].as_array();
            let text = record["query"].as_str().expect("a statement").to_owned();
            (text, parameters.expect("parameters").len())
        })
        .filter(|(text, _)| {
            let word = text.split_whitespace().next().unwrap_or_default();
            ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&word)
        })
        .collect();
    all.sort();
    all
}

/// The lines of the generic plan of `statement`, which is the one of a connection that runs it often.
async fn plan(connection: &mut PgConnection, statement: &str, parameters: usize) -> Vec<String> {
    let prepare = format!("PREPARE one AS {statement}");
    sqlx::raw_sql(AssertSqlSafe(prepare))
        .execute(&mut *connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
    let arguments = vec!["NULL"; parameters].join(", ");
    let arguments = if parameters > 0 { format!("({arguments})") } else { arguments };
    let explain = format!("EXPLAIN (COSTS OFF) EXECUTE one{arguments}");
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
        .persistent(false)
        .fetch_all(&mut *connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
    sqlx::raw_sql("DEALLOCATE one").execute(connection).await.expect("it was prepared");
    rows
}

/// The growing tables of which the plan reads all rows: by a sequential scan, or by an index without a
/// condition, unless a limit ends it or the index is a partial one.
fn scanned_tables<'p>(lines: &'p [String], partial_indexes: &[String]) -> Vec<&'p str> {
    let has_limit = lines.iter().any(|line| line.trim_start().ends_with("Limit"));
    let mut tables = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let next = lines.get(at + 1).map_or("", String::as_str);
        let is_partial = partial_indexes.iter().any(|index| line.contains(index.as_str()));
        let whole_index = !is_partial && !has_limit && !next.trim_start().starts_with("Index Cond");
        if let Some((scan, table)) = line.split_once(" on ")
            && (scan.ends_with("Seq Scan")
                || (whole_index && scan.contains("Index") && scan.contains("Scan using")))
        {
            tables.extend(table.split_whitespace().next());
        }
    }
    tables.retain(|table| GROWING.contains(table));
    tables
}

#[test]
fn no_statement_scans_a_table_that_grows() {
    let database = Database::new();
    let statements = statements();
    assert!(statements.len() > 80, "only {} statements were found", statements.len());
    let partial = database
        .db_texts("SELECT indexrelid::regclass::text FROM pg_index WHERE indpred IS NOT NULL");
    let (mut wrong, mut used) = (Vec::new(), Vec::new());
    database.runtime.block_on(async {
        let mut connection = PgConnection::connect(&database.url).await.expect("a connection");
        let set = ["SET plan_cache_mode = force_generic_plan", "SET jit = off"];
        for statement in FILL.into_iter().chain(["VACUUM ANALYZE"]).chain(set) {
            let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await;
            done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        for (text, parameters) in &statements {
            let lines = plan(&mut connection, text, *parameters).await;
            let tables = scanned_tables(&lines, &partial);
            let allowed = ALLOWED.iter().position(|(part, _)| text.contains(part));
            match (tables.is_empty(), allowed) {
                (true, _) => {}
                (false, Some(at)) => used.push(at),
                (false, None) => {
                    wrong.push(format!("{text}\n{}\n\n{}\n", tables.join(", "), lines.join("\n")))
                }
            }
        }
    });
    assert!(wrong.is_empty(), "statements that scan a table that grows:\n\n{}", wrong.join("\n"));
    for (at, (part, reason)) in ALLOWED.iter().enumerate() {
        assert!(used.contains(&at), "no longer needed: {part} ({reason})");
    }
}
