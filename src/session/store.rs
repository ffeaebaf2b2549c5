//! The store: rows of `sessions` as actix-session asks for them. `update` never inserts: a session that
//! ended while a request was in flight stays ended, and what that request wanted to keep is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time::Duration as Ttl;
use anyhow::anyhow;
use serde_json::{Map, Value};
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::cache::barrier;
use super::cache::clock::MonotonicInstant;
use super::cache::entries::{Cache, Entry, Stamp, Stripe};
use super::cache::invalidation::{CacheState, InvalidationListener, Status};
use super::cache::lookup::{Lookup, Row};
use super::cache::{Loaded, SHARDS, STRIPES, SessionCache, session_stripe, user_stripe};
use super::create::{self, Inserted};
use super::last_seen::{Activity, LastSeen};
use super::purge::Counters;
use super::revoke;
use super::state::{
    self, Account, Ages, CachedSession, Change, FORMAT_VERSION, Incoming, NewSession, SessionRow,
};
use super::state_write::StateWrite;
use super::timeouts::Timeouts;
use crate::crypto::seal::Sealer;
use crate::crypto::secret::{Digest, Secret};
use crate::db;
use crate::id::UserId;

/// Why the session of a sign-in that a host application announced with [`NewSession`] was not saved.
#[derive(Debug, thiserror::Error)]
#[error(
    "the account was disabled, deleted or got another password, email or role since its password was verified"
)]
struct Overtaken;

/// An entry is asked for again after this long, for another server may have lengthened the life.
const LONGEST_ENTRY: Duration = Duration::from_secs(60);

/// A session that [`PgSessionStore::create`] inserted.
#[derive(Debug)]
pub struct Created {
    /// For its cookie, once the transaction is committed.
    pub secret: Secret,
    /// The session that it replaced: for [`PgSessionStore::invalidate_replaced`], once the transaction is committed.
    pub replaced: Option<Replaced>,
}

/// A session that a sign-in in the same browser ended.
#[derive(Debug)]
pub struct Replaced(Stripe);

/// Sessions in PostgreSQL. Cheap to clone; every clone shares the pool, the cache and the pending touches.
#[derive(Clone)]
pub struct PgSessionStore {
    pool: PgPool,
    timeouts: Timeouts,
    touch: LastSeen,
    cache: Arc<SessionCache>,
    lookup: Lookup,
    status: Arc<Status>,
    purged: Arc<Counters>,
    /// This server among those that serve from memory; `None`: the cache is off.
    server: Option<Uuid>,
    /// Seals mail; `None`: nobody is told of sign-ins.
    sealer: Option<Sealer>,
}

impl PgSessionStore {
    /// A store on `pool` whose new sessions get `timeouts`. With `cached`, up to so many sessions are kept in
    /// memory, about a kilobyte each, and believed while [`PgSessionStore::feed`] runs; without, every
    /// page asks the database.
    pub fn new(pool: PgPool, timeouts: Timeouts, cached: Option<usize>) -> Self {
        let touch = LastSeen::new(pool.clone());
        let (stripes, shards) = if cached.is_some() { (STRIPES, SHARDS) } else { (1, 1) };
        let cache = Arc::new(Cache::new(cached.unwrap_or(0), stripes, shards));
        let lookup = Lookup::new(pool.clone(), Arc::clone(&cache));
        let server = cached.map(|_| Uuid::now_v7());
        let (status, purged, sealer) = (Arc::default(), Arc::default(), None);
        Self { pool, timeouts, touch, cache, lookup, status, purged, server, sealer }
    }

    /// The same, which tells people by mail of sign-ins with a new device.
    pub fn with_sign_in_notices(self, sealer: Sealer) -> Self {
        Self { sealer: Some(sealer), ..self }
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// What is still to be written about activity; a loop must call [`LastSeen::flush`].
    pub fn last_seen(&self) -> &LastSeen {
        &self.touch
    }

    /// The connection that keeps the cache honest, made with `options`: not through a pooler in
    /// transaction mode. `None` when the cache is off.
    pub fn feed(&self, options: PgConnectOptions) -> Option<InvalidationListener> {
        self.server.map(|id| InvalidationListener {
            id,
            cache: Arc::clone(&self.cache),
            status: Arc::clone(&self.status),
            options,
            pages: self.pool.clone(),
            unfinished: Mutex::default(),
        })
    }

    /// Whether sessions are served from memory just now.
    pub fn cache_state(&self) -> CacheState {
        if self.server.is_none() {
            CacheState::Off
        } else if MonotonicInstant::now().0 < self.cache.live_until() {
            CacheState::Live
        } else if self.status.is_connected() {
            CacheState::Stale
        } else {
            CacheState::Disconnected
        }
    }

    /// What the feed has heard.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// What the purge did so far in this process.
    pub fn purge_counters(&self) -> &Counters {
        &self.purged
    }

    /// Sessions asked of the database so far, and the statements that it took.
    pub fn lookups(&self) -> (u64, u64) {
        self.lookup.counts()
    }

    /// How long memory may still be believed without a word from the database.
    pub fn lease_remaining(&self) -> Duration {
        let left = self.cache.live_until().saturating_sub(MonotonicInstant::now().0);
        Duration::from_millis(left)
    }

    /// Sessions in memory, readable or not.
    pub fn cached_count(&self) -> usize {
        self.cache.count()
    }

    /// To be called after the commit that ended sessions of `user` or changed who they are, before the
    /// answer goes out: when it returns, no server accepts what ended, and none shows what changed. Takes a
    /// lease at most.
    pub async fn invalidate_user(&self, user: UserId) {
        self.cache.invalidate_user(user_stripe(user));
        self.await_invalidation().await;
    }

    /// The same for a session that this server no longer finds, whoever ended it.
    pub async fn await_invalidation(&self) {
        barrier::await_invalidation(&self.pool, self.server).await;
    }

    /// Creates a session of `user` in the caller's transaction and ends `former`, the session of the cookie that the browser had. Locks
    /// the account and compares it with `new_session`. `None`: it has changed, and nothing was written. For pages that sign in in a transaction of their own, where the session middleware has nothing to save.
    pub async fn create(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        new_session: NewSession,
        former: Option<Digest>,
    ) -> sqlx::Result<Option<Created>> {
        let incoming = Incoming { user: Some(user), new_session, rest: Value::Object(Map::new()) };
        let sealer = self.sealer.as_ref();
        let former = former.as_ref();
        let inserted = create::insert(connection, &self.timeouts, sealer, incoming, former).await?;
        Ok(inserted.map(|Inserted { secret, has_replaced }| Created {
            secret,
            replaced: former
                .filter(|_| has_replaced)
                .map(|former| Replaced(session_stripe(former))),
        }))
    }

    /// To be called after the commit of a sign-in that replaced a session, before the answer goes out: when it returns, no
    /// server accepts the former cookie.
    pub async fn invalidate_replaced(&self, replaced: Replaced) {
        self.cache.invalidate_session(replaced.0);
        self.await_invalidation().await;
    }

    /// Keeps what was read, and gives it to actix-session.
    fn keep(
        &self,
        digest: Digest,
        row: &Row,
        activity: Arc<Activity>,
        stamp: Stamp,
        asked: MonotonicInstant,
    ) -> Result<HashMap<String, String>, LoadError> {
        let user = match (row.user_id, &row.email, &row.display_name, &row.role) {
            (Some(id), Some(email), Some(display_name), Some(role)) => Some(Arc::new(Account {
                id,
                email: email.clone(),
                display_name: display_name.clone(),
                role: *role,
            })),
            _ => None,
        };
        let stripe = user.as_ref().map(|user| user_stripe(user.id));
        let facts = SessionRow {
            id: row.id,
            remembered: row.remembered,
            created_at: row.created_at,
            authenticated_at: row.authenticated_at,
            absolute_seconds: row.absolute_seconds as i64,
            ages: Ages { session: row.age_seconds, proof: row.proof_seconds, loaded: asked.0 },
            user,
        };
        let known = CachedSession::new(facts, row.state.clone())
            .map_err(|error| LoadError::Deserialization(error.into()))?;
        let map = known.to_map();
        if self.cache.live_until() > 0 && self.status.comes_from(row.server) {
            let life = LONGEST_ENTRY
                .min(Duration::try_from_secs_f64(row.seconds_left).unwrap_or_default());
            let entry = Entry::new(stamp, stripe, (asked + life).0, Loaded { known, activity });
            let session = session_stripe(&digest);
            self.cache.put(digest, session, Arc::new(entry), asked.0);
        }
        Ok(map)
    }
}

impl SessionStore for PgSessionStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<HashMap<String, String>>, LoadError> {
        let Some(secret) = Secret::parse(key.as_ref()) else {
            return Ok(None);
        };
        let digest = secret.digest();
        let asked = MonotonicInstant::now();
        if let Some(entry) = self.cache.get(&digest, session_stripe(&digest), asked.0) {
            self.touch.seen_again(&digest, &entry.value.activity, asked);
            return Ok(Some(entry.value.known.to_map()));
        }
        let (row, stamp) = self
            .lookup
            .find(digest.clone())
            .await
            .inspect_err(|error| {
                tracing::warn!(error = format!("{error:#}"), "no session could be loaded")
            })
            .map_err(LoadError::Other)?;
        let Some(row) = row else {
            return Ok(None);
        };
        if row.format_version > FORMAT_VERSION + 1 {
            tracing::warn!(session = %row.id, row.format_version, "a session is written in a newer format");
            return Ok(None);
        }
        let (since_seen, idle, left) = (row.seconds_since_seen, row.idle_seconds, row.seconds_left);
        let activity = self.touch.seen(&digest, since_seen, idle, left).await;
        self.keep(digest, &row, activity, stamp, asked).map(Some)
    }

    /// Begins a session. The timeouts are the store's own; actix-session's `ttl` is one for all and not
    /// used. What was loaded begins no other: it may have ended meanwhile, and its absolute timeout would begin anew.
    async fn save(
        &self,
        state: HashMap<String, String>,
        _ttl: &Ttl,
    ) -> Result<SessionKey, SaveError> {
        if state::is_loaded(&state) {
            return Err(SaveError::Other(anyhow!(
                "a session is renewed with what was in it; call clear() before renew()"
            )));
        }
        let incoming =
            state::split_columns(state).map_err(|error| SaveError::Serialization(error.into()))?;
        let (timeouts, sealer) = (self.timeouts, self.sealer.clone());
        let saved = db::transaction::<_, anyhow::Error, _>(&self.pool, move |connection| {
            Box::pin(async move {
                let sealer = sealer.as_ref();
                let inserted =
                    create::insert(connection, &timeouts, sealer, incoming, None).await?;
                Ok(inserted.ok_or(Overtaken)?.secret)
            })
        });
        let secret = saved
            .await
            .inspect_err(|error| {
                tracing::warn!(error = format!("{error:#}"), "no session could begin")
            })
            .map_err(SaveError::Other)?;
        SessionKey::try_from(secret.reveal())
            .map_err(|_| SaveError::Other(anyhow!("a secret of 43 characters is a session key")))
    }

    /// Writes the keys that changed, and only those, on a session that still exists; otherwise drops it.
    async fn update(
        &self,
        key: SessionKey,
        state: HashMap<String, String>,
        _ttl: &Ttl,
    ) -> Result<SessionKey, UpdateError> {
        let Some(secret) = Secret::parse(key.as_ref()) else {
            return Ok(key);
        };
        let change =
            state::difference(state).map_err(|error| UpdateError::Serialization(error.into()))?;
        let (set, removed, everything) = match change {
            Change::Keys { set, removed } if set.is_empty() && removed.is_empty() => {
                return Ok(key);
            }
            Change::Keys { set, removed } => (set, removed, false),
            Change::Everything(all) => (all, Vec::new(), true),
        };
        let digest = secret.digest();
        let write =
            StateWrite { digest: digest.clone(), set: Value::Object(set), removed, everything };
        let updated = write.run(&self.pool).await;
        let updated = updated.map_err(|error| UpdateError::Other(error.into()))?;
        self.cache.invalidate_session(session_stripe(&digest));
        if updated == 0 {
            tracing::info!(
                "a session ended while a request was in flight; its changes are dropped"
            );
        }
        Ok(key)
    }

    /// Nothing: sessions slide by [`LastSeen`], in batches.
    async fn update_ttl(&self, _key: &SessionKey, _ttl: &Ttl) -> Result<(), anyhow::Error> {
        Ok(())
    }

    /// Ends the session, for good. actix-session asks for it when a session is purged, and when it is
    /// replaced at a new sign-in.
    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        let Some(secret) = Secret::parse(key.as_ref()) else {
            return Ok(());
        };
        let digest = secret.digest();
        let stripe = session_stripe(&digest);
        revoke::deleted_by_middleware(&self.pool, digest).await?;
        self.cache.invalidate_session(stripe);
        self.await_invalidation().await;
        Ok(())
    }
}
