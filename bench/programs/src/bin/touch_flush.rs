//! How fast last-seen times are written: inserts the given number of sessions, last seen 62 seconds ago, into
//! DATABASE_URL, looks each up once through the store, as a page does, and measures the flush that writes
//! them all. Prints one line of JSON; PostgreSQL's own counters say how many updates were HOT. The expiry
//! times are spread over an hour. As in production, some updates therefore move a session to the next hour of
//! the purge index and cannot be HOT: "crossed".

use std::io::Write as _;
use std::time::Instant;

use actix_session::storage::{SessionKey, SessionStore as _};
use anyhow::Context as _;
use frontdesk::crypto::secret::Secret;
use frontdesk::db;
use frontdesk::session::{PgSessionStore, Timeouts};

frontdesk::use_mimalloc!();

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let count: usize = std::env::args().nth(1).context("how many sessions?")?.parse()?;
    let pool = db::pool(std::env::var("DATABASE_URL")?.parse()?, 10);
    // Sessions of an earlier run.
    sqlx::query("DELETE FROM sessions WHERE ip_address = '203.0.113.8'").execute(&pool).await?;
    let secrets: Vec<Secret> = (0..count).map(|_| Secret::generate()).collect();
    for chunk in secrets.chunks(10_000) {
        let digests: Vec<Vec<u8>> =
            chunk.iter().map(|secret| secret.digest().as_bytes().to_vec()).collect();
        sqlx::query(
            "INSERT INTO sessions (token_digest, id, user_id, created_at, last_seen_at, authenticated_at, auth_methods,
                                   ip_address, user_agent, idle_timeout, expires_at, absolute_expires_at)
             SELECT digest, gen_random_uuid(), (SELECT id FROM users LIMIT 1), now(), now() - interval '62 seconds',
                    now() - interval '1 hour', '{pwd}', '203.0.113.8',
                    'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0',
                    idle, now() - interval '62 seconds' + idle, now() + interval '1 day'
               FROM unnest($1::bytea[]) AS digest,
                    make_interval(secs => 7200 + get_byte(digest, 0) * 14 + get_byte(digest, 1) / 256.0 * 14) AS idle",
        )
        .bind(digests)
        .execute(&pool)
        .await?;
    }
    sqlx::query("VACUUM ANALYZE sessions").execute(&pool).await?;
    let store = PgSessionStore::new(pool.clone(), Timeouts::default(), None);
    let mut tasks = Vec::new();
    for chunk in secrets.chunks(count.div_ceil(64)) {
        let keys: Vec<String> = chunk.iter().map(Secret::reveal).collect();
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            for key in keys {
                let found = store.load(&SessionKey::try_from(key)?).await?;
                anyhow::ensure!(found.is_some(), "a session that was just inserted is not found");
            }
            Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let waiting = store.last_seen().pending_count();
    anyhow::ensure!(waiting == count, "{waiting} of {count} updates are pending");
    let began = Instant::now();
    store.last_seen().flush().await?;
    let seconds = began.elapsed().as_secs_f64();
    let left = store.last_seen().pending_count();
    let crossed: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sessions WHERE ip_address = '203.0.113.8' AND purge_after <>
                date_bin('1 hour', created_at - interval '62 seconds' + idle_timeout, '2000-01-01 00:00:00+00')",
    )
    .fetch_one(&pool)
    .await?;
    let written = count - left;
    let line = serde_json::json!({ "activities": written, "seconds": seconds, "crossed": crossed });
    writeln!(std::io::stdout(), "{line}")?;
    pool.close().await;
    Ok(())
}
