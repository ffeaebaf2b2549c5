//! Waits until a revocation is in effect on every server.
//!
//! ```text
//!   revoking server                PostgreSQL                  every server with a live cache
//!   ───────────────                ──────────                  ──────────────────────────────
//!                                  session_caches ◄─every 10 s trusted_until = now + 15 s
//!                                  NOTIFY beat:…  ◄─every 1 s─ heartbeat; received back: live until sent + 3 s
//!   DELETE …; COMMIT  ──────────►  NOTIFY sessions:…  ──────►  invalidates the entry
//!   invalidates its own entry
//!   joins the next round
//!   ── a round, for all callers that joined before it began ──
//!   reads the other servers ────►  rows with trusted_until > now
//!   draws n, sends ask:n  ──────►  NOTIFY ask:n       ──────►  reads the last number of the sequence,
//!                                  NOTIFY beat:…      ◄──────  and notifies itself
//!                                                     ──────►  receives that: the invalidation came before it,
//!                                  answered = n       ◄──────  because notifications arrive in commit order
//!   waits until every server has answered ≥ n or was not heard for a lease, at most one lease
//!   ── only now the responses are sent
//! ```
//!
//! A server runs one round at a time ([`Rounds`]), so its sign-outs share the answers. A command runs its own
//! round.
//!
//! # Why this is correct
//!
//! Let the revocation commit at time C, before its caller joins. Let S be a server whose lease covers some
//! time after C. S has the lease from one of its own heartbeats, B, and the lease ends at most [`LEASE`] after
//! S began to send B.
//!
//! 0. The round of the caller began after the caller joined, so it reads the rows and draws n after C. A round
//!    that had begun before does not serve the caller.
//! 1. If B committed after C, S received the notification of C before that of B, and has invalidated the
//!    entry.
//! 2. If B committed before C, the row of S was there when the round read the rows, with `trusted_until` in
//!    the future: the statement of B either found more than a lease and two seconds left in the row, or wrote
//!    15 seconds in the same transaction, and B is live for one lease from before that statement. Nothing
//!    shortens a row of less than 15 seconds: a trigger keeps it, also for servers of the previous version,
//!    which would cut it to three seconds. So the round waits for S.
//! 3. S confirms n only after it has received its own notification, which it sent after it had read from the
//!    sequence that n was drawn. The round drew n after C, so C committed before that notification, and S has
//!    processed C. A higher number was drawn later, so its confirmation implies the same. The message `ask:n`
//!    only triggers that read: any login of the database can send it, and it has no other effect. A
//!    confirmation above the last number drawn is ignored.
//! 4. Without a confirmation, a caller waits for one lease from when it joined, which was after C: by then a
//!    lease from before C has expired, and one from after C belongs to a server that has processed C. The same
//!    holds if a query fails, if the round is interrupted, and if the round before takes long. A row whose
//!    `trusted_until` comes earlier ends the wait earlier: the database computes the time that is left after
//!    C, and S measures its lease from before it sent the heartbeat. A row that is further ahead than 15
//!    seconds (the database's clock was set back, or the row was written by hand) is corrected to that.
//! 5. `trusted_until` of a server that died is up to 15 seconds ahead, and no round waits for it that long. The
//!    revoking server R receives the heartbeats of S too. Once R has processed its own notification that it
//!    sent after n was drawn, it has received every heartbeat of S from before C (`PeerHeartbeats`). If the
//!    last one arrived longer ago than a lease, S had begun to send it earlier still, so every lease of S from
//!    before C has expired. If R has never received one on its connection, it waits as in 4. A heartbeat that
//!    another login of the database sends in the name of S only makes R wait, as in 4. A command, and a server
//!    without a notification connection, wait as in 4 too.
//! 6. A change that was committed without a notification, because the notification queue was full,
//!    incremented `session_cache_resets` in its transaction. A heartbeat that started after C reads the
//!    number before it renews a lease, and S confirms only while the number is the one for which it has
//!    already invalidated its cache. So points 1 to 5 hold with "read the number" in place of "received the
//!    notification".
//!
//! Heartbeats, questions and answers use `synchronous_commit = off`; only a renewed row waits for the disk.
//! After a crash, PostgreSQL has no listeners, may have forgotten answers, and still has the rows: so callers
//! wait longer, never shorter. A number that was drawn just before the crash may be drawn again. An answer to
//! it is kept only if the draw is, because both are in the same log, in this order.
//!
//! A server of the previous version renews its row each second for three seconds ahead, and sends and answers
//! the same messages. All of the points hold for it in both roles, except that as the revoking server it waits
//! for a whole lease, as in 4, for up to 15 seconds after a server of this version died.
//!
//! # Assumptions about the connections
//!
//! The tests of these assumptions are in `tests/it/standby.rs` and `tests/it/foreign_logins.rs`.
//!
//! * The revocation is committed, and the leases are read, on the same primary that sends the servers'
//!   notifications. Connections to a standby are refused when they are opened, and the statements here fail
//!   in recovery: on a standby that lags behind, `session_caches` would list no server. A server whose
//!   notifications come from another PostgreSQL than its look-ups caches nothing (`entries.rs`). There is one
//!   primary at a time; fencing a former primary is the task of the cluster manager.
//! * Clocks: only durations are compared, each measured by one clock. If the database's clock is set forward,
//!   all rows can seem to have expired until the next heartbeats renew them, a second later. A revocation in
//!   that second is in effect when its notification arrives, and is not waited for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::sync::watch;
use uuid::Uuid;

use super::clock::MonotonicInstant;
use super::leases::{LEASE, MARGIN, ROW_LEASE};
use super::peer_heartbeats::PeerHeartbeats;
use super::rounds::Rounds;
use crate::db;

/// The initial and the maximum pause between queries for confirmations. The pause doubles each time.
const POLL_PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// The barrier of one server. Clones share the rounds.
#[derive(Clone)]
pub(in crate::session) struct Barrier {
    server: RevokingServer,
    rounds: Arc<Rounds>,
    /// The number of the last round that has ended.
    ended: Arc<watch::Sender<u64>>,
}

/// Who waits for the other servers.
#[derive(Clone)]
struct RevokingServer {
    pool: PgPool,
    /// The server that has invalidated its cache already. `None` for a command.
    id: Option<Uuid>,
    heartbeats: Arc<PeerHeartbeats>,
}

/// Lets the next caller start rounds if these were interrupted.
struct Interrupted<'r>(Option<&'r Rounds>);

impl Drop for Interrupted<'_> {
    fn drop(&mut self) {
        if let Some(rounds) = self.0 {
            rounds.interrupt();
        }
    }
}

impl Barrier {
    /// `own` is the id of this server in `session_caches`.
    pub(in crate::session) fn new(
        pool: PgPool,
        own: Uuid,
        heartbeats: Arc<PeerHeartbeats>,
    ) -> Self {
        let server = RevokingServer { pool, id: Some(own), heartbeats };
        Self { server, rounds: Arc::default(), ended: Arc::new(watch::Sender::new(0)) }
    }

    /// Waits until no server can accept a session whose revocation was committed before the call. This server
    /// has already invalidated its own cache. Takes at most one lease.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(in crate::session) async fn await_invalidation(&self) {
        let until = Instant::now() + LEASE + MARGIN;
        let joined = self.rounds.join();
        if joined.starts {
            // On a separate task: a client that disconnects must not interrupt the round of others.
            tokio::spawn(self.clone().run_rounds());
        }
        let mut ended = self.ended.subscribe();
        let served = ended.wait_for(|round| *round >= joined.round);
        tokio::time::timeout_at(until.into(), served).await.ok();
    }

    async fn run_rounds(self) {
        let mut interrupted = Interrupted(Some(&self.rounds));
        while let Some(round) = self.rounds.begin() {
            self.server.run_round().await;
            self.ended.send_replace(round);
        }
        interrupted.0 = None;
    }
}

/// Like `Barrier::await_invalidation`, for a process without a barrier, such as a command. `own` is a server
/// that is not waited for.
pub async fn await_invalidation(pool: &PgPool, own: Option<Uuid>) {
    let heartbeats = Arc::default();
    RevokingServer { pool: pool.clone(), id: own, heartbeats }.run_round().await;
}

/// A request for confirmation that was sent to the other servers.
struct Request {
    number: i64,
    /// How long the longest lease of another server lasts, at most [`LEASE`].
    longest_lease: Duration,
}

impl RevokingServer {
    /// Returns once no server can accept a session whose revocation was committed before the call.
    async fn run_round(&self) {
        let started_at = Instant::now();
        let request = tokio::time::timeout(LEASE, self.request_confirmation()).await;
        let until = match request {
            Ok(Ok(None)) => return,
            Ok(Ok(Some(Request { number, longest_lease }))) => {
                let until = (Instant::now() + longest_lease).min(started_at + LEASE) + MARGIN;
                let confirmed = self.wait_for_confirmations(number);
                if tokio::time::timeout_at(until.into(), confirmed).await == Ok(true) {
                    return;
                }
                until
            }
            // The leases are unknown. After one lease, every lease from before the call has expired.
            Ok(Err(_)) | Err(_) => started_at + LEASE + MARGIN,
        };
        tokio::time::sleep_until(until.into()).await;
        tracing::warn!(
            waited = format!("{:.1}", started_at.elapsed().as_secs_f64()),
            "a server did not confirm that it invalidated a revoked session; its lease has expired now"
        );
    }

    /// Reads the leases of the other servers and requests their confirmation. `None` if no other server has a
    /// lease. Fails on a standby: `pg_current_wal_insert_lsn()` fails in recovery, before any row is read.
    async fn request_confirmation(&self) -> sqlx::Result<Option<Request>> {
        let sent = sqlx::query!(
            r#"
            WITH corrected AS (
                 UPDATE session_caches
                    SET trusted_until = clock_timestamp() + make_interval(secs => $3)
                  WHERE id IN (
                        SELECT id
                          FROM session_caches
                         WHERE trusted_until > clock_timestamp() + make_interval(secs => $3)
                           FOR UPDATE SKIP LOCKED)),
                 others AS MATERIALIZED (
                 SELECT max(LEAST(trusted_until, clock_timestamp() + make_interval(secs => $2)) - clock_timestamp()) AS longest
                   FROM session_caches
                  WHERE (SELECT pg_current_wal_insert_lsn()) IS NOT NULL
                    AND trusted_until > clock_timestamp()
                    AND id IS DISTINCT FROM $1),
                 question AS MATERIALIZED (
                 SELECT nextval('session_asks') AS number, EXTRACT(EPOCH FROM longest)::float8 AS left_over
                   FROM others
                  WHERE longest IS NOT NULL)
            SELECT number AS "number!",
                   left_over AS "left_over!",
                   set_config('synchronous_commit', 'off', true),
                   pg_notify(notification_channel(n.nspname), 'ask:' || number)::text
              FROM question
              JOIN pg_class c ON c.oid = 'sessions'::regclass
              JOIN pg_namespace n ON n.oid = c.relnamespace
            "#,
            self.id,
            LEASE.as_secs_f64(),
            ROW_LEASE.as_secs_f64(),
        )
        .fetch_optional(db::on(&self.pool))
        .await?;
        Ok(sent.map(|row| Request {
            number: row.number,
            longest_lease: Duration::from_secs_f64(row.left_over.max(0.0)),
        }))
    }

    /// Returns `true` once every server has confirmed `number` or cannot have a lease from before it was
    /// drawn, or `false` if a query fails.
    async fn wait_for_confirmations(&self, number: i64) -> bool {
        let mut pause = POLL_PAUSES.0;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_PAUSES.1);
            let silent = sqlx::query_scalar!(
                r#"
                SELECT id
                  FROM session_caches, session_asks
                 WHERE (SELECT pg_current_wal_insert_lsn()) IS NOT NULL
                   AND trusted_until > clock_timestamp()
                   AND NOT answered BETWEEN $2 AND last_value
                   AND id IS DISTINCT FROM $1
                "#,
                self.id,
                number,
            )
            .fetch_all(db::on(&self.pool))
            .await;
            let Ok(silent) = silent else { return false };
            let now = MonotonicInstant::now();
            if silent.into_iter().all(|id| self.heartbeats.has_expired(id, number, now)) {
                return true;
            }
        }
    }
}
