//! Sessions in memory: signed-in pages are served without a query as long as PostgreSQL's notifications
//! arrive. [`entries`] holds the argument why this is correct.

pub(super) mod barrier;
pub mod clock;
pub(super) mod entries;
pub mod invalidation;
pub(super) mod lookup;
mod notification_loop;
mod sync;

use std::sync::Arc;

use super::last_seen::Activity;
use super::state::CachedSession;
use crate::crypto::secret::Digest;
use crate::id::UserId;
use entries::{Cache, Stripe};

/// Every value of two bytes, as the triggers name the stripes.
pub(super) const STRIPES: usize = 1 << 16;
pub(super) const SHARDS: usize = 64;

/// The sessions that this server holds in memory.
pub(super) type SessionCache = Cache<Digest, Loaded>;

/// A session as it was loaded.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) known: Arc<CachedSession>,
    pub(super) activity: Arc<Activity>,
}

/// The first two bytes of the digest, as the trigger on `sessions` names them.
pub(super) fn session_stripe(digest: &Digest) -> Stripe {
    let bytes = digest.as_bytes();
    Stripe::from_be_bytes([bytes[0], bytes[1]])
}

/// The last two bytes of the id, which are random in a UUID of version 7, as the trigger on `users` names them.
pub(super) fn user_stripe(user: UserId) -> Stripe {
    let bytes = user.uuid().into_bytes();
    Stripe::from_be_bytes([bytes[14], bytes[15]])
}
