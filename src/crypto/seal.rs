//! Sealing what has to be stored and read again, such as a link in a mail that waits to be sent: AES-256-GCM under the
//! site's keys. The first key seals, all open, so that a change of key loses nothing. What was sealed for one purpose
//! does not open for another, and nothing opens by any other road (Rack, CVE-2026-39324). Also digests what is too short
//! for a plain SHA-256.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, Key, KeyInit as _, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::secret::SecretText;

/// Bytes of the nonce, random for each sealing (NIST SP 800-38D, 8.2.2); far fewer than 2^32 of them a key.
const NONCE: usize = 12;

/// Seals and opens. Cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    ciphers: Vec<Aes256Gcm>,
    digests: Vec<Hkdf<Sha256>>,
}

impl Sealer {
    /// By the site's keys; each is stretched for this use alone (HKDF, RFC 5869).
    pub fn new(keys: &[SecretText]) -> Self {
        let cipher = |text: &str| {
            let mut key = [0; 32];
            Hkdf::<Sha256>::new(None, text.as_bytes())
                .expand(b"frontdesk seal v1", &mut key)
                .expect("32 bytes are a length that HKDF gives");
            Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(&key))
        };
        let digest =
            |text: &str| Hkdf::<Sha256>::new(Some(b"frontdesk digest v1"), text.as_bytes());
        Self {
            ciphers: keys.iter().map(|key| cipher(key.reveal())).collect(),
            digests: keys.iter().map(|key| digest(key.reveal())).collect(),
        }
    }

    /// A digest of `value` that counts for `purpose` alone and that nobody can make without the site's keys. A code of
    /// 40 bits is found from its SHA-256 in about a minute, well within its life; from this one it is not, so a copy of the
    /// database opens nothing (HKDF-Expand is HMAC-SHA-256 over purpose and value; RFC 5869, 2.3).
    pub fn digest(&self, purpose: &str, value: &[u8]) -> [u8; 32] {
        keyed(self.digests.first().expect("there is at least one key"), purpose, value)
    }

    /// Whether `digest` is that of `value` for `purpose`, by any of the keys. Takes as long for every digest.
    pub fn verify_digest(&self, digest: &[u8], purpose: &str, value: &[u8]) -> bool {
        let equal = |key| bool::from(keyed(key, purpose, value).ct_eq(digest));
        self.digests.iter().fold(false, |found, key| found | equal(key))
    }

    /// `plain`, sealed for `purpose`, which should name the place and the row that it is for.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).expect("the operating system hands out random numbers");
        let payload = Payload { msg: plain, aad: purpose.as_bytes() };
        let first = self.ciphers.first().expect("there is at least one key");
        let sealed = first
            .encrypt(Nonce::from_slice(&nonce), payload)
            .expect("a few kilobytes are not too long for AES-GCM");
        [&nonce[..], &sealed].concat()
    }

    /// What was sealed for `purpose`; `None` for anything else.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let open = |cipher: &Aes256Gcm| {
            let payload = Payload { msg: sealed, aad: purpose.as_bytes() };
            cipher.decrypt(Nonce::from_slice(nonce), payload).ok()
        };
        self.ciphers.iter().find_map(open)
    }
}

fn keyed(key: &Hkdf<Sha256>, purpose: &str, value: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    key.expand_multi_info(&[purpose.as_bytes(), &[0], value], &mut digest)
        .expect("32 bytes are a length that HKDF gives");
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
    fn what_is_sealed_opens_for_its_purpose_and_its_keys_only() {
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
    fn a_digest_counts_for_its_value_its_purpose_and_its_keys_only() {
        let digest = sealer(OLD).digest("registrations:1", b"7K3MQ2XH");
        let both = sealer(&format!("{NEW},{OLD}"));
        assert!(both.verify_digest(&digest, "registrations:1", b"7K3MQ2XH"));
        assert!(!both.verify_digest(&digest, "registrations:1", b"7K3MQ2XJ"));
        assert!(!both.verify_digest(&digest, "registrations:2", b"7K3MQ2XH"));
        assert!(!both.verify_digest(&digest[..31], "registrations:1", b"7K3MQ2XH"));
        assert!(!sealer(NEW).verify_digest(&digest, "registrations:1", b"7K3MQ2XH"));
        assert_ne!(digest, sealer(OLD).digest("registrations:17", b"K3MQ2XH"));
    }
}
