//! Authenticated encryption ("sealing") of values that are stored or sent to the client and read back, such
//! as a link in a queued mail: AES-256-GCM with keys derived from the site's keys. The first key seals and
//! all keys open, so that keys can be rotated without loss. The purpose is authenticated as associated data:
//! a value that was sealed for one purpose cannot be opened for another. There is no fallback that accepts a
//! value without authentication (Rack, CVE-2026-39324).
//!
//! Also keyed digests, for values with too little entropy for a plain SHA-256.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, Key, KeyInit as _, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::keyed_hash::KeyedHash;
use super::secret::SecretText;

/// Length of the nonce in bytes. Each is random (NIST SP 800-38D, 8.2.2), which limits a key to 2^32 sealed
/// values; the site seals far fewer.
const NONCE_LENGTH: usize = 12;

/// Seals, opens and digests values with the keys of the site. Cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    ciphers: Vec<Aes256Gcm>,
    digests: Vec<Hkdf<Sha256>>,
    key_ids: Vec<String>,
}

impl Sealer {
    /// Derives the encryption and digest keys from the site's keys (HKDF, RFC 5869). There must be at least
    /// one.
    pub fn new(keys: &[SecretText]) -> Self {
        let cipher = |text: &str| {
            let mut key = [0; 32];
            Hkdf::<Sha256>::new(None, text.as_bytes())
                .expand(b"frontdesk seal v1", &mut key)
                .expect("HKDF can output 32 bytes");
            Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(&key))
        };
        let digest =
            |text: &str| Hkdf::<Sha256>::new(Some(b"frontdesk digest v1"), text.as_bytes());
        let key_id = |text: &str| {
            let mut id = [0; 8];
            Hkdf::<Sha256>::new(None, text.as_bytes())
                .expand(b"frontdesk key name", &mut id)
                .expect("HKDF can output 8 bytes");
            hex::encode(id)
        };
        Self {
            ciphers: keys.iter().map(|key| cipher(key.reveal())).collect(),
            digests: keys.iter().map(|key| digest(key.reveal())).collect(),
            key_ids: keys.iter().map(|key| key_id(key.reveal())).collect(),
        }
    }

    /// The identifiers of the keys, 16 hexadecimal digits each, in the order of the keys. HKDF
    /// derives them, and they reveal nothing about the keys, so they may be stored and logged.
    pub fn key_ids(&self) -> &[String] {
        &self.key_ids
    }

    /// The identifier of the key with which [`Self::seal`] seals.
    pub fn sealing_key_id(&self) -> &str {
        self.key_ids.first().expect("at least one key")
    }

    /// A keyed digest of `value` for `purpose`, with the first key. HKDF-Expand is HMAC-SHA-256 over purpose
    /// and value (RFC 5869, 2.3). A plain SHA-256 of a 40-bit code can be reversed by brute force in about a
    /// minute, before the code expires. Reversing this digest requires the site's keys, so a copy of the
    /// database contains no credential.
    pub fn digest(&self, purpose: &str, value: &[u8]) -> [u8; 32] {
        keyed_digest(self.digests.first().expect("at least one key"), purpose, value)
    }

    /// Whether `digest` is the digest of `value` for `purpose` with any of the keys. Runs in constant time.
    pub fn verify_digest(&self, digest: &[u8], purpose: &str, value: &[u8]) -> bool {
        let equal = |key| bool::from(keyed_digest(key, purpose, value).ct_eq(digest));
        self.digests.iter().fold(false, |found, key| found | equal(key))
    }

    /// A keyed hash for `purpose`. Servers with the same keys compute the same digests, whichever key is the
    /// first: during a key rotation, servers whose first key differs still share what they find by such a
    /// digest. The key is that with the smallest identifier, so a rotation may change all digests.
    pub fn keyed_hash(&self, purpose: &str) -> KeyedHash {
        let by_id = self.key_ids.iter().zip(&self.digests).min_by_key(|(id, _)| *id);
        let (_, key) = by_id.expect("at least one key");
        KeyedHash::new(&keyed_digest(key, "keyed hash", purpose.as_bytes()))
    }

    /// Seals `plain` for `purpose`, which should name the table and row, or the cookie, in which it is
    /// stored.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).expect("the operating system provides random numbers");
        let payload = Payload { msg: plain, aad: purpose.as_bytes() };
        let first = self.ciphers.first().expect("at least one key");
        let sealed = first
            .encrypt(Nonce::from_slice(&nonce), payload)
            .expect("AES-GCM encrypts up to 64 GiB");
        [&nonce[..], &sealed].concat()
    }

    /// Opens a value that was sealed for `purpose`. `None` if it was sealed for another purpose or with an
    /// unknown key, or was altered.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LENGTH)?;
        let open = |cipher: &Aes256Gcm| {
            let payload = Payload { msg: sealed, aad: purpose.as_bytes() };
            cipher.decrypt(Nonce::from_slice(nonce), payload).ok()
        };
        self.ciphers.iter().find_map(open)
    }
}

fn keyed_digest(key: &Hkdf<Sha256>, purpose: &str, value: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    key.expand_multi_info(&[purpose.as_bytes(), &[0], value], &mut digest)
        .expect("HKDF can output 32 bytes");
    digest
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Sealer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "tK8vQ2mZx7Lr4Wc9Ns1Bp6Hd3Yg5Jf0aEuViOoTbXkRlPzM";
    const NEW: &str = "Zp4Jq8Wm1Xc6Vb3Nn7Kt2Lr9Hs5Gf0DyAeUiOoPlQaSwEdRf";

    fn sealer(keys: &str) -> Sealer {
        Sealer::new(&keys.split(',').map(SecretText::new).collect::<Vec<_>>())
    }

    #[test]
    fn a_sealed_value_opens_for_its_purpose_and_keys_only() {
        let sealed = sealer(OLD).seal("mail_outbox:1", b"a link");
        assert_eq!(sealer(OLD).open("mail_outbox:1", &sealed).unwrap(), b"a link");
        let both = format!("{NEW},{OLD}");
        assert_eq!(sealer(&both).open("mail_outbox:1", &sealed).unwrap(), b"a link");
        assert!(sealer(OLD).open("mail_outbox:2", &sealed).is_none());
        assert!(sealer(NEW).open("mail_outbox:1", &sealed).is_none());
        let mut altered = sealed.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert!(sealer(OLD).open("mail_outbox:1", &altered).is_none());
        assert!(sealer(OLD).open("mail_outbox:1", &sealed[..8]).is_none());
        assert_ne!(sealed, sealer(OLD).seal("mail_outbox:1", b"a link"));
    }

    #[test]
    fn a_digest_is_valid_for_its_value_purpose_and_keys_only() {
        let digest = sealer(OLD).digest("registrations:1", b"7K3MQ2XH");
        let both = sealer(&format!("{NEW},{OLD}"));
        assert!(both.verify_digest(&digest, "registrations:1", b"7K3MQ2XH"));
        assert!(!both.verify_digest(&digest, "registrations:1", b"7K3MQ2XJ"));
        assert!(!both.verify_digest(&digest, "registrations:2", b"7K3MQ2XH"));
        assert!(!both.verify_digest(&digest[..31], "registrations:1", b"7K3MQ2XH"));
        assert!(!sealer(NEW).verify_digest(&digest, "registrations:1", b"7K3MQ2XH"));
        assert_ne!(digest, sealer(OLD).digest("registrations:17", b"K3MQ2XH"));
    }

    #[test]
    fn a_keyed_hash_depends_on_keys_and_purpose_and_not_on_the_order_of_the_keys() {
        let hash = |keys: &str, purpose| sealer(keys).keyed_hash(purpose).digest(&[b"ada"]);
        let both = hash(&format!("{OLD},{NEW}"), "throttles");
        assert_eq!(both, hash(&format!("{NEW},{OLD}"), "throttles"));
        assert_ne!(hash(OLD, "throttles"), hash(NEW, "throttles"));
        assert_ne!(both, hash(&format!("{OLD},{NEW}"), "other"));
    }
}
