//! The keys of an attempt's counters. They follow from the action and the subjects alone.

use std::net::IpAddr;

use ipnet::IpNet;
use uuid::Uuid;

use super::action::Action;
use super::counters::{By, Key};
use super::limits::{Limit, Limits};
use crate::crypto::keyed_hash::KeyedHash;
use crate::crypto::seal::Sealer;
use crate::id::UserId;

/// A browser that has signed in to an account before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// The account.
    pub user: UserId,
    /// Identifies the device among those of the account. Each has its own counter, so that a copy of one
    /// device's cookie does not block the others.
    pub id: Uuid,
}

/// Computes the keys. Subjects are digests with a key of the site: a plain SHA-256 of an email or of an IP
/// address can be reversed by trying all of them.
#[derive(Clone, Debug)]
pub(super) struct Keys(KeyedHash);

impl Keys {
    pub(super) fn new(sealer: &Sealer) -> Self {
        Self(sealer.keyed_hash("throttles"))
    }

    /// The keys by account, by IP address, and by the pair of both, where the subject is given and the action
    /// has such a limit.
    pub(super) fn of(&self, action: Action, account: Option<&str>, ip: Option<IpAddr>) -> Vec<Key> {
        let limits = Limits::of(action);
        let account = account.map(|account| self.account_subject(account));
        let ip = ip.map(|ip| self.digest(By::Ip, &network(ip)));
        let pair = account.clone().zip(ip.clone()).map(|(account, ip)| [account, ip].concat());
        [
            key(action, By::Account, account, limits.account),
            key(action, By::Ip, ip, limits.ip),
            key(action, By::Pair, pair, limits.pair),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The key of a known device. Its subject starts with that of the user, for [`super::delete_counters`].
    pub(super) fn of_device(&self, action: Action, device: Option<KnownDevice>) -> Option<Key> {
        let subject = device.map(|KnownDevice { user, id }| {
            [self.device_owner_subject(user), self.digest(By::Device, &id.to_string())].concat()
        });
        key(action, By::Device, subject, Limits::of(action).device)
    }

    /// The key of the counter for mails to `account` that `action` causes.
    pub(super) fn of_mail(&self, action: Action, account: &str) -> Option<Key> {
        let subject = self.account_subject(account);
        key(action, By::Mail, Some(subject), Limits::of(action).mail)
    }

    /// The subject of an account. The subjects of its pairs start with it.
    pub(super) fn account_subject(&self, account: &str) -> Vec<u8> {
        self.digest(By::Account, account)
    }

    /// The prefix of the subjects of a user's devices.
    pub(super) fn device_owner_subject(&self, user: UserId) -> Vec<u8> {
        self.digest(By::Device, &user.to_string())
    }

    fn digest(&self, by: By, subject: &str) -> Vec<u8> {
        self.0.digest(&[prefix(by).as_bytes(), subject.as_bytes()]).to_vec()
    }
}

/// What SQL hashes to compute the subjects of many accounts:
/// `sha256(outer || sha256(inner || convert_to(email_canonical, 'UTF8')))`.
pub(in crate::user) struct AccountSubject {
    pub(in crate::user) inner: Vec<u8>,
    pub(in crate::user) outer: Vec<u8>,
}

impl AccountSubject {
    pub(in crate::user) fn new(sealer: &Sealer) -> Self {
        let Keys(hash) = Keys::new(sealer);
        let inner = [hash.inner(), prefix(By::Account).as_bytes()].concat();
        Self { inner, outer: hash.outer().to_vec() }
    }
}

/// The name of a counter in `throttles.action`.
pub(super) fn name(action: Action, by: By) -> String {
    format!("{}_{}", action.as_str(), by.as_str())
}

fn key(action: Action, by: By, subject: Option<Vec<u8>>, limit: Option<Limit>) -> Option<Key> {
    let action = name(action, by);
    subject.zip(limit).map(|(subject, limit)| Key { by, action, subject, limit })
}

/// IPv4: the whole IP address. IPv6: the /64, the smallest network that a provider assigns to a customer.
fn network(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        ip => IpNet::new(ip, 64).map(|net| net.trunc().to_string()).unwrap_or_default(),
    }
}

/// The domain separation prefix that is hashed before a subject.
fn prefix(by: By) -> String {
    format!("frontdesk throttle {}\0", by.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::secret::SecretText;

    fn keys() -> Keys {
        Keys::new(&Sealer::new(&[SecretText::new("a key of the site, 32 characters.")]))
    }

    #[test]
    fn ipv6_is_counted_by_64_and_ipv4_whole() {
        for (ip, counted) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ] {
            assert_eq!(network(ip.parse().unwrap()), counted);
        }
    }

    #[test]
    fn a_known_device_has_a_counter_of_its_own() {
        let names = |account| {
            let keys = keys().of(Action::SignIn, account, "203.0.113.7".parse().ok());
            keys.into_iter().map(|key| key.action).collect::<Vec<_>>()
        };
        assert_eq!(
            names(Some("ada@example.com")),
            ["sign_in_account", "sign_in_address", "sign_in_pair"]
        );
        assert_eq!(names(None), ["sign_in_address"]);
        assert!(keys().of_device(Action::SignIn, None).is_none());
        let (user, other) = (UserId::generate(), UserId::generate());
        let of = |user, id| {
            let device = Some(KnownDevice { user, id });
            let key = keys().of_device(Action::SignIn, device).unwrap();
            assert_eq!(key.action, "sign_in_device");
            key.subject
        };
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        assert_ne!(of(user, one), of(user, two));
        assert_ne!(of(user, one), of(other, one));
        assert_eq!(of(user, one)[..32], of(user, two)[..32]);
        assert!(keys().of(Action::SignIn, None, None).is_empty());
    }
}
