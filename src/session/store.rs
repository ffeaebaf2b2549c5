//! The session store of actix-session on the table `sessions`. `update` never inserts: if a session ended
//! while a request was in flight, it is not restored, and the changes of that request are dropped.

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

use super::cache::barrier::Barrier;
use super::cache::clock::MonotonicInstant;
use super::cache::entries::{Entry, Stamp};
use super::cache::invalidation::{CacheState, InvalidationListener, ListenerStatus};
use super::cache::lookup::{Lookup, LookupRow};
use super::cache::{LoadedSession, SessionCache, session_stripe, user_stripe};
use super::create::{self, CreatedSession, InsertedSession, Policy, ReplacedSession};
use super::ended::EndedSessionCache;
use super::last_seen::{LastSeen, SessionActivity};
use super::purge::Counters;
use super::revoke;
use super::state::{self, CachedSession, FORMAT_VERSION, NewSession, SessionToInsert, StateChange};
use super::state_write::StateWrite;
use super::timeouts::Timeouts;
use crate::crypto::seal::Sealer;
use crate::crypto::secret::{Digest, Secret};
use crate::db;
use crate::events::Hooks;
use crate::id::UserId;
use crate::web::client;

/// The error of [`SessionStore::save`] for a [`NewSession`] whose account was changed after its password was
/// verified.
#[derive(Debug, thiserror::Error)]
#[error(
    "the account was disabled or deleted, or its password, email or role changed, after its password was verified"
)]
struct AccountChanged;

/// A cache entry is read again after this time, because another server may have extended the session.
const MAX_ENTRY_AGE: Duration = Duration::from_secs(60);

/// Sessions in PostgreSQL. Clones are cheap and share the pool, the cache and the pending last-seen updates.
#[derive(Clone)]
pub struct PgSessionStore {
    pool: PgPool,
    policy: Policy,
    last_seen: LastSeen,
    pub(super) cache: Arc<SessionCache>,
    pub(super) lookup: Lookup,
    barrier: Barrier,
    ended: Arc<EndedSessionCache>,
    status: Arc<ListenerStatus>,
    purge_counters: Arc<Counters>,
    /// The id of this server in `servers` and, unless the cache is turned off, in `session_caches`.
    server: Uuid,
    /// `false`: the cache is turned off.
    is_caching: bool,
}

impl PgSessionStore {
    /// A store on `pool` whose new sessions get `timeouts`. Up to `cache_size` sessions are cached in memory,
    /// about a kilobyte each, and served while the listener of [`PgSessionStore::invalidation_listener`]
    /// runs. `None`: the cache is turned off, and every request queries the database.
    pub fn new(pool: PgPool, timeouts: Timeouts, cache_size: Option<usize>) -> Self {
        let last_seen = LastSeen::new(pool.clone());
        let cache = Arc::new(SessionCache::new(cache_size));
        let lookup = Lookup::new(pool.clone(), Arc::clone(&cache));
        let (server, is_caching) = (Uuid::now_v7(), cache_size.is_some());
        let status: Arc<ListenerStatus> = Arc::default();
        let barrier = Barrier::new(pool.clone(), server, Arc::clone(&status.peer_heartbeats));
        Self {
            pool,
            policy: Policy {
                timeouts,
                sessions_per_user: 0,
                sealer: None,
                hooks: Hooks::default(),
            },
            last_seen,
            cache,
            lookup,
            barrier,
            ended: Arc::default(),
            status,
            purge_counters: Arc::default(),
            server,
            is_caching,
        }
    }

    /// The same store, but it also notifies users by mail of sign-ins on new devices.
    pub fn with_sign_in_notices(self, sealer: Sealer) -> Self {
        Self { policy: Policy { sealer: Some(sealer), ..self.policy }, ..self }
    }

    /// The same store, but a user has at most `sessions_per_user` live sessions: a sign-in beyond that ends
    /// those seen longest ago. `0`: no limit.
    pub fn with_session_limit(self, sessions_per_user: u32) -> Self {
        Self { policy: Policy { sessions_per_user, ..self.policy }, ..self }
    }

    /// The same store, but it stores each sign-in for the hooks of a site.
    #[doc(hidden)]
    pub fn with_hooks(self, hooks: Hooks) -> Self {
        Self { policy: Policy { hooks, ..self.policy }, ..self }
    }

    /// The id of this server, a new one for each store.
    pub fn server_id(&self) -> Uuid {
        self.server
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The cached session of `digest`, if it is valid at `now`.
    pub(super) fn cached(
        &self,
        digest: &Digest,
        now: MonotonicInstant,
    ) -> Option<Arc<Entry<LoadedSession>>> {
        self.cache.get(digest, session_stripe(digest), now.0)
    }

    /// The pending last-seen updates. A loop must call [`LastSeen::flush`].
    pub fn last_seen(&self) -> &LastSeen {
        &self.last_seen
    }

    /// The listener that invalidates the cache. `options` must connect to PostgreSQL directly, not through a
    /// pooler in transaction mode. `None` if the cache is turned off.
    pub fn invalidation_listener(&self, options: PgConnectOptions) -> Option<InvalidationListener> {
        self.is_caching.then(|| InvalidationListener {
            id: self.server,
            cache: Arc::clone(&self.cache),
            status: Arc::clone(&self.status),
            options,
            request_pool: self.pool.clone(),
            unfinished: Mutex::default(),
        })
    }

    /// Whether sessions are served from the cache at the moment.
    pub fn cache_state(&self) -> CacheState {
        if !self.is_caching {
            CacheState::Off
        } else if MonotonicInstant::now().0 < self.cache.live_until() {
            CacheState::Live
        } else if self.status.is_connected() {
            CacheState::Stale
        } else {
            CacheState::Disconnected
        }
    }

    /// The status of the notification connection.
    pub fn listener_status(&self) -> &ListenerStatus {
        &self.status
    }

    /// Counters of the purge runs of this process.
    pub fn purge_counters(&self) -> &Counters {
        &self.purge_counters
    }

    /// The number of sessions that were looked up in the database, and the number of statements.
    pub fn lookups(&self) -> (u64, u64) {
        self.lookup.counts()
    }

    /// How long the cache stays live without another heartbeat.
    pub fn lease_remaining(&self) -> Duration {
        let left = self.cache.live_until().saturating_sub(MonotonicInstant::now().0);
        Duration::from_millis(left)
    }

    /// The number of cached sessions, valid or not.
    pub fn cached_count(&self) -> usize {
        self.cache.count()
    }

    /// Call this after the commit of a change that revoked sessions of `user` or changed the user, and before
    /// the response is sent. When it returns, no server accepts the ended sessions or serves the former data.
    /// Takes at most one lease.
    #[tracing::instrument(level = "debug", skip_all, fields(%user))]
    pub async fn invalidate_user(&self, user: UserId) {
        self.cache.invalidate_user(user_stripe(user));
        self.await_invalidation().await;
    }

    /// Waits like [`Self::invalidate_user`], without invalidating the local cache: for a session that this
    /// server has not cached, for example because its row is already deleted. Takes at most one lease.
    pub async fn await_invalidation(&self) {
        self.barrier.await_invalidation().await;
    }

    /// Call this for a request with the cookie of a session that was not found, for example the second click
    /// on "Sign out". When it returns, no server accepts the session of `digest`. Takes at most one lease.
    pub async fn await_end(&self, digest: &Digest) {
        if !self.ended.is_final(digest, MonotonicInstant::now()) {
            self.await_invalidation().await;
        }
    }

    /// Whether the session of `digest` is live, by the database.
    pub async fn is_live(&self, digest: Digest) -> anyhow::Result<bool> {
        Ok(self.lookup.find(digest).await?.0.is_some())
    }

    /// Creates a session of `user` in the caller's transaction, and revokes the browser's former session,
    /// whose cookie has the digest `former`. Locks the account and compares it with `new_session`. `None`:
    /// the account was changed, and nothing was written. For pages that sign in within their own transaction,
    /// without the session middleware.
    #[tracing::instrument(name = "create_session", level = "debug", skip_all, fields(%user))]
    pub async fn create(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        new_session: NewSession,
        former: Option<Digest>,
    ) -> sqlx::Result<Option<CreatedSession>> {
        let state = Value::Object(Map::new());
        let session = SessionToInsert { user: Some(user), new_session, state };
        let former = former.as_ref();
        let inserted = create::insert(connection, &self.policy, session, former).await?;
        Ok(inserted.map(|inserted| {
            let InsertedSession { secret, has_replaced, ended_by_limit, is_deletion_scheduled } =
                inserted;
            let replaced = former.filter(|_| has_replaced).map(session_stripe).map(ReplacedSession);
            CreatedSession { secret, replaced, ended_by_limit, is_deletion_scheduled }
        }))
    }

    /// Call this after the commit of a sign-in that replaced a session, and before the response is sent. When
    /// it returns, no server accepts the former cookie.
    pub async fn invalidate_replaced(&self, replaced: ReplacedSession) {
        self.cache.invalidate_session(replaced.0);
        self.await_invalidation().await;
    }

    /// Caches a session that was read, and converts it for actix-session. `stamp` and `loaded_at` are from before
    /// the look-up.
    fn cache_row(
        &self,
        digest: Digest,
        row: &LookupRow,
        activity: Arc<SessionActivity>,
        stamp: Stamp,
        loaded_at: MonotonicInstant,
    ) -> Result<HashMap<String, String>, LoadError> {
        let columns = row.session_row(loaded_at);
        let user_stripe = columns.user.as_ref().map(|user| user_stripe(user.id));
        let session = CachedSession::new(columns, row.state.clone())
            .map_err(|error| LoadError::Deserialization(error.into()))?;
        let map = session.to_map();
        if self.cache.live_until() > 0 && self.status.comes_from(row.server) {
            let age = MAX_ENTRY_AGE
                .min(Duration::try_from_secs_f64(row.seconds_left).unwrap_or_default());
            let deadline = (loaded_at + age).0;
            let value = LoadedSession { session, activity, expiry: row.expiry(loaded_at) };
            let entry = Entry::new(stamp, user_stripe, deadline, value);
            let session_stripe = session_stripe(&digest);
            self.cache.put(digest, session_stripe, Arc::new(entry), loaded_at.0);
        }
        Ok(map)
    }
}

impl SessionStore for PgSessionStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<HashMap<String, String>>, LoadError> {
        let Some(secret) = Secret::parse(key.as_ref()) else {
            return Ok(None);
        };
        let (digest, ip) = (secret.digest(), client::current_ip());
        let loaded_at = MonotonicInstant::now();
        if let Some(entry) = self.cached(&digest, loaded_at) {
            self.last_seen.record_cache_hit(&digest, ip, &entry.value.activity, loaded_at);
            return Ok(Some(entry.value.session.to_map()));
        }
        let (row, stamp) = self.lookup.find(digest.clone()).await.map_err(LoadError::Other)?;
        let Some(row) = row else {
            self.ended.record(&digest, MonotonicInstant::now());
            return Ok(None);
        };
        self.ended.forget(&digest);
        if row.format_version > FORMAT_VERSION + 1 {
            tracing::warn!(session = %row.id, row.format_version, "a session is stored in a newer format");
            return Ok(None);
        }
        let (since_seen, idle, left) = (row.seconds_since_seen, row.idle_seconds, row.seconds_left);
        let activity = self.last_seen.record_load(&digest, ip, since_seen, idle, left).await;
        self.cache_row(digest, &row, activity, stamp, loaded_at).map(Some)
    }

    /// Creates a session with the timeouts of the store. actix-session's `ttl` is not used, because it is the
    /// same for all sessions. The state of a loaded session is refused: that session may have been revoked in
    /// the meantime, and the new one would get a new absolute timeout.
    async fn save(
        &self,
        state: HashMap<String, String>,
        _ttl: &Ttl,
    ) -> Result<SessionKey, SaveError> {
        if state::is_loaded(&state) {
            return Err(SaveError::Other(anyhow!(
                "a session is renewed with its former state; call clear() before renew()"
            )));
        }
        let session =
            state::split_columns(state).map_err(|error| SaveError::Serialization(error.into()))?;
        let (policy, user) = (self.policy.clone(), session.user);
        let saved = db::transaction::<_, anyhow::Error, _>(&self.pool, move |connection| {
            Box::pin(async move {
                let inserted = create::insert(connection, &policy, session, None).await?;
                let inserted = inserted.ok_or(AccountChanged)?;
                Ok((inserted.secret, inserted.ended_by_limit))
            })
        });
        let (secret, ended_by_limit) = saved
            .await
            .inspect_err(|error| db::log_failure("a session could not be created", error))
            .map_err(SaveError::Other)?;
        if let Some(user) = user.filter(|_| ended_by_limit > 0) {
            self.invalidate_user(user).await;
        }
        SessionKey::try_from(secret.reveal()).map_err(|_| {
            SaveError::Other(anyhow!("a secret of 43 characters is not a valid session key"))
        })
    }

    /// Writes the keys that the request changed. Drops the changes if the session has ended.
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
        let (set, removed, replaces_all) = match change {
            StateChange::Keys { set, removed } if set.is_empty() && removed.is_empty() => {
                return Ok(key);
            }
            StateChange::Keys { set, removed } => (set, removed, false),
            StateChange::Everything(all) => (all, Vec::new(), true),
        };
        let digest = secret.digest();
        let write =
            StateWrite { digest: digest.clone(), set: Value::Object(set), removed, replaces_all };
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

    /// Does nothing: [`LastSeen`] extends sessions, in batches.
    async fn update_ttl(&self, _key: &SessionKey, _ttl: &Ttl) -> Result<(), anyhow::Error> {
        Ok(())
    }

    /// Revokes the session. actix-session calls this when a session is purged, and when it is renewed at a
    /// sign-in.
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
