//! Sealing what has to be stored and read again, such as a link in a mail that waits to be sent: AES-256-GCM under the
//! site's keys. The first key seals, all open, so that a change of key loses nothing. What was sealed for one purpose
//! does not open for another, and nothing opens by any other road (Rack, CVE-2026-39324).

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, Key, KeyInit as _, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;

use crate::config::SecretKeys;

/// Bytes of the nonce, random for each sealing (NIST SP 800-38D, 8.2.2); far fewer than 2^32 of them a key.
const NONCE: usize = 12;

/// Seals and opens. Cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    ciphers: Vec<Aes256Gcm>,
}

impl Sealer {
    /// By the site's keys; each is stretched for this use alone (HKDF, RFC 5869).
    pub fn new(keys: &SecretKeys) -> Self {
        let cipher = |text: &str| {
            let mut key = [0; 32];
            Hkdf::<Sha256>::new(None, text.as_bytes())
                .expand(b"frontdesk seal v1", &mut key)
                .expect("32 bytes are a length that HKDF gives");
            Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(&key))
        };
        Self { ciphers: keys.iter().map(|key| cipher(key.reveal())).collect() }
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
        Sealer::new(&SecretKeys::parse(keys).unwrap())
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
}
