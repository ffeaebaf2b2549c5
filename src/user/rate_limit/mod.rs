//! How often something may be tried: by account, by address, and by the pair of them. Owns the table `throttles`.
//!
//! A try is counted before the work, in one statement that takes its rows in order: two hundred at once over any number
//! of servers are no more than the limit. A try that is refused writes nothing and makes nobody wait longer. Must never
//! store what somebody typed, and must say the same of accounts that exist and of those that do not.

mod action;
mod counters;
mod limits;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::email::address::EmailAddress;
use super::users::{self, User};
use crate::audit::{self, Event, EventKind, Origin, RefusalReason};
use crate::db;
use crate::id::UserId;
use crate::session::{Lock, Requester, SessionEnded};
pub use action::Action;
use counters::{By, Counted, Key, Outcome, Undone};
pub use limits::{Limit, Limits};

/// Who tries it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who<'a> {
    /// Canonical address of the account, whether there is one or not, or the name of a registration that waits; `None`
    /// where it is about neither.
    pub account: Option<&'a str>,
    /// Where the request comes from.
    pub ip_address: Option<IpAddr>,
    /// This browser, when it has signed in before to the account that this is about.
    pub known_device: Option<KnownDevice>,
}

/// A browser that has signed in to an account before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// Whose.
    pub user: UserId,
    /// Which of theirs: each is counted by itself, so that a copy of one keeps no other out.
    pub id: Uuid,
}

/// Whether it may be done now. Counted before the work, so that many at once are not more than allowed.
#[derive(Debug)]
pub enum Admission {
    /// Go ahead.
    Granted(Granted),
    /// Not yet.
    Refused {
        /// When to come back.
        retry_after: Duration,
    },
}

/// A try that was counted; give it back by [`refund`] when it was a success, by [`withdraw`] when nothing was tried.
#[derive(Debug)]
pub struct Granted {
    counted: Vec<Counted>,
    /// The session for which the attempt was counted, if any. Nothing is refunded after that session has ended.
    requester: Option<Requester>,
}

/// Tries that were refused since the start, by [`Action::ALL`].
static REFUSED: [AtomicU64; Action::ALL.len()] = [const { AtomicU64::new(0) }; Action::ALL.len()];

/// How often a try may be overtaken by others that count at the same moment.
const ATTEMPTS: usize = 3;
/// The outcome of an attempt that was overtaken [`ATTEMPTS`] times.
const OVERTAKEN: Outcome = Outcome::Waiting { seconds: 1.0 };

/// Counts a try, if it may be done: by the known device alone, else like anybody's. What a copy of the device used up
/// leaves its owner no worse off than without one.
pub async fn admit(pool: &PgPool, action: Action, who: Who<'_>) -> sqlx::Result<Admission> {
    let mut wait = f64::INFINITY;
    let device = device_key(action, who).map(|key| vec![key]);
    for keys in device.into_iter().chain([keys(action, who)]) {
        let counted = not_overtaken(async || counters::count(pool, keys.clone()).await).await?;
        match counted.unwrap_or(OVERTAKEN) {
            Outcome::Counted(counted) => {
                return Ok(Admission::Granted(Granted { counted, requester: None }));
            }
            Outcome::Waiting { seconds } => wait = wait.min(seconds),
        }
    }
    Ok(refuse(action, wait))
}

/// As [`admit`], on behalf of a session. An attempt of a session that has ended is not counted.
pub async fn admit_for(
    pool: &PgPool,
    requester: &Requester,
    action: Action,
    who: Who<'_>,
) -> sqlx::Result<Result<Admission, SessionEnded>> {
    let keys = keys(action, who);
    let count = async || counters::count_for(pool, requester, keys.clone()).await;
    let counted = not_overtaken(count).await?.unwrap_or(Ok(OVERTAKEN));
    Ok(counted.map(|outcome| match outcome {
        Outcome::Counted(counted) => {
            // A success may give the session a new secret before the attempt is refunded.
            let requester = Requester { token_digest: None, ..requester.clone() };
            Admission::Granted(Granted { counted, requester: Some(requester) })
        }
        Outcome::Waiting { seconds } => refuse(action, seconds),
    }))
}

/// What came of `count`, which is repeated while other attempts overtake it; `None` if they did each time.
async fn not_overtaken<T>(count: impl AsyncFn() -> Result<T, Undone>) -> sqlx::Result<Option<T>> {
    for _ in 0..ATTEMPTS {
        match count().await {
            Ok(outcome) => return Ok(Some(outcome)),
            Err(Undone::Overtaken) => {}
            Err(Undone::Database(error)) => return Err(error),
        }
    }
    Ok(None)
}

fn refuse(action: Action, seconds: f64) -> Admission {
    REFUSED[action as usize].fetch_add(1, Ordering::Relaxed);
    let retry_after = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    Admission::Refused { retry_after: retry_after.max(Duration::from_secs(1)) }
}

/// It was a success: it does not count against anybody. The account (from anywhere, and from this address) or the known
/// device begins anew; the address gets back this one try, for others may have failed there.
pub async fn refund(pool: &PgPool, granted: Granted) -> sqlx::Result<()> {
    give_back(pool, granted, |by| by != By::Address).await
}

/// Nothing was tried after all (too busy, away): every counter gets back this one try, and no more.
pub async fn withdraw(pool: &PgPool, granted: Granted) -> sqlx::Result<()> {
    give_back(pool, granted, |_| false).await
}

async fn give_back(
    pool: &PgPool,
    granted: Granted,
    begins_anew: fn(By) -> bool,
) -> sqlx::Result<()> {
    let Granted { counted, requester } = granted;
    match requester {
        None => counters::give_back(pool, &counted, begins_anew).await,
        Some(requester) => {
            let give_back = requester.transaction(pool, Lock::Session, move |connection| {
                Box::pin(
                    async move { counters::give_back(connection, &counted, begins_anew).await },
                )
            });
            give_back.await.map(|_| ())
        }
    }
}

/// Whether the mail that answers `action` may go to `account` now, counted in the caller's transaction. Strangers cause
/// such mail, so no page is refused by it: a mail that may not go now goes later, or is not needed, as the one before it
/// still serves.
pub(super) async fn admit_mail(
    connection: &mut PgConnection,
    action: Action,
    account: &str,
) -> sqlx::Result<bool> {
    let subject = Some(digest(By::Account, account));
    let keys = key(action, By::Mail, subject, Limits::of(action).mail).into_iter().collect();
    match counters::count_in(connection, keys).await {
        Ok(Outcome::Counted(_)) => Ok(true),
        Ok(Outcome::Waiting { .. }) | Err(Undone::Overtaken) => Ok(false),
        Err(Undone::Database(error)) => Err(error),
    }
}

/// How many tries were refused since the start.
pub fn refused(action: Action) -> u64 {
    REFUSED[action as usize].load(Ordering::Relaxed)
}

/// A sign-in failed: when it began a wait, the trail says so. Once a wait, never once a try, so that nobody can fill
/// the trail.
pub async fn record_wait(
    pool: &PgPool,
    granted: &Granted,
    email: Option<&EmailAddress>,
    origin: &Origin,
) -> sqlx::Result<()> {
    let longest = granted.counted.iter().max_by(|one, other| one.wait.total_cmp(&other.wait));
    let Some(longest) = longest.filter(|longest| longest.wait > 0.0) else { return Ok(()) };
    let details = json!({
        "why": RefusalReason::RateLimited.as_str(),
        "by": longest.key.by.as_str(),
        "seconds": longest.wait.round() as i64,
    });
    let user = match email {
        Some(email) => users::find_by_email(pool, email).await?.map(|user| user.id),
        None => None,
    };
    let event = Event { kind: EventKind::SignInRefused, user, session: None, origin, details };
    audit::record(pool, event).await
}

/// Forgets every counter of an account, whatever was tried; answers how many there were. Counters of addresses stay.
pub(super) async fn forget(
    connection: &mut PgConnection,
    user: UserId,
    account: &str,
) -> sqlx::Result<u64> {
    let names = Action::ALL.iter().flat_map(|action| By::ALL.map(|by| name(*action, by)));
    let subjects = [digest(By::Device, &user.to_string()), digest(By::Account, account)];
    counters::forget(connection, &names.collect::<Vec<_>>(), &subjects).await
}

/// Lets an account be tried again: for operators. Answers how many counters were forgotten.
pub async fn unlock(pool: &PgPool, user: &User, origin: Origin) -> sqlx::Result<u64> {
    let id = user.id;
    let account = EmailAddress::parse(&user.email).ok();
    db::transaction(pool, move |connection| {
        Box::pin(async move {
            let account = account.as_ref().map_or("", EmailAddress::canonical);
            let forgotten = forget(connection, id, account).await?;
            if forgotten > 0 {
                let event = Event {
                    kind: EventKind::AccountUnlocked,
                    user: Some(id),
                    session: None,
                    origin: &origin,
                    details: json!({}),
                };
                audit::record(connection, event).await?;
            }
            Ok(forgotten)
        })
    })
    .await
}

fn keys(action: Action, who: Who<'_>) -> Vec<Key> {
    let limits = Limits::of(action);
    let account = who.account.map(|account| digest(By::Account, account));
    let address = who.ip_address.map(|address| digest(By::Address, &network(address)));
    let pair = account.clone().zip(address.clone()).map(|(one, other)| [one, other].concat());
    [
        key(action, By::Account, account, limits.account),
        key(action, By::Address, address, limits.address),
        key(action, By::Pair, pair, limits.pair),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What stands for a device begins with what stands for its user, so that [`forget`] finds all of them.
fn device_key(action: Action, who: Who<'_>) -> Option<Key> {
    let subject = who.known_device.map(|KnownDevice { user, id }| {
        [digest(By::Device, &user.to_string()), digest(By::Device, &id.to_string())].concat()
    });
    key(action, By::Device, subject, Limits::of(action).device)
}

fn key(action: Action, by: By, subject: Option<Vec<u8>>, limit: Option<Limit>) -> Option<Key> {
    let action = name(action, by);
    subject.zip(limit).map(|(subject, limit)| Key { by, action, subject, limit })
}

/// As `throttles.action` spells it.
fn name(action: Action, by: By) -> String {
    format!("{}_{}", action.as_str(), by.as_str())
}

/// An IPv4 address whole; of IPv6 the /64, which is what one customer has at the very least.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        address => IpNet::new(address, 64).map(|net| net.trunc().to_string()).unwrap_or_default(),
    }
}

fn digest(by: By, subject: &str) -> Vec<u8> {
    Sha256::digest([prefix(by).as_bytes(), subject.as_bytes()].concat()).to_vec()
}

/// What is digested in front of a subject.
fn prefix(by: By) -> String {
    format!("frontdesk throttle {}\0", by.as_str())
}

/// What is digested in front of an account, for statements that look for the counters of many.
pub(super) fn account_prefix() -> Vec<u8> {
    prefix(By::Account).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_counted_by_64_and_ipv4_whole() {
        for (address, counted) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ] {
            assert_eq!(network(address.parse().unwrap()), counted);
        }
    }

    #[test]
    fn a_known_device_has_a_counter_of_its_own() {
        let who = Who {
            account: Some("ada@example.com"),
            ip_address: "203.0.113.7".parse().ok(),
            known_device: None,
        };
        let names = |who| {
            let keys = keys(Action::SignIn, who);
            keys.into_iter().map(|key| key.action).collect::<Vec<_>>()
        };
        assert_eq!(names(who), ["sign_in_account", "sign_in_address", "sign_in_pair"]);
        assert_eq!(names(Who { account: None, ..who }), ["sign_in_address"]);
        assert!(device_key(Action::SignIn, who).is_none());
        let (user, other) = (UserId::generate(), UserId::generate());
        let of = |user, id| {
            let known = Who { known_device: Some(KnownDevice { user, id }), ..who };
            assert_eq!(names(known), names(who));
            let key = device_key(Action::SignIn, known).unwrap();
            assert_eq!(key.action, "sign_in_device");
            key.subject
        };
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        assert_ne!(of(user, one), of(user, two));
        assert_ne!(of(user, one), of(other, one));
        assert_eq!(of(user, one)[..32], of(user, two)[..32]);
        assert!(keys(Action::SignIn, Who::default()).is_empty());
    }
}
