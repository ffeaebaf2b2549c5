//! Random secrets and their digests, and text that must not be logged. `Debug` of these types prints no
//! secret.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize;

/// Text that must not be logged: a key, a URL with a password.
#[derive(Clone)]
pub struct SecretText(SecretString);

impl SecretText {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SecretText")
    }
}

/// A bearer credential of 256 random bits (ASVS 5.0 V7.2.3 requires 128), such as a session token. Zeroed
/// when dropped.
pub struct Secret([u8; 32]);

/// The SHA-256 of a [`Secret`], as the database stores it. A lookup by digest does not leak the secret
/// through timing (Rack, CVE-2019-16782), and a copy of the database contains no credential. A fast hash is
/// sufficient for 256 random bits (ASVS 5.0 V6.5.2).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Secret {
    /// Generates a secret from the random numbers of the operating system.
    pub fn generate() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system provides random numbers");
        Self(bytes)
    }

    /// Parses the text form: exactly 43 characters of unpadded base64url. Only the encoding of
    /// [`Secret::reveal`] is accepted.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 43 {
            return None;
        }
        let mut bytes = [0; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == bytes.len()).then_some(Self(bytes))
    }

    /// The text form, for a cookie or a link.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Derives another secret for `purpose` (HKDF, RFC 5869). This secret cannot be computed from the derived
    /// one, nor from the digest of either.
    pub fn derive(&self, purpose: &str) -> Self {
        let mut bytes = [0; 32];
        Hkdf::<Sha256>::new(None, &self.0)
            .expand(purpose.as_bytes(), &mut bytes)
            .expect("HKDF can output 32 bytes");
        Self(bytes)
    }

    /// The digest, which the database stores.
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.0).into())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

impl Digest {
    /// The 32 bytes of the digest.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Digest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_secret_has_exactly_one_text_form() {
        let secret = Secret::generate();
        let text = secret.reveal();
        assert_eq!(Secret::parse(&text).unwrap().digest(), secret.digest());
        for invalid in [
            String::new(),
            format!("{text}="),
            format!(" {text}"),
            text[..42].to_owned(),
            format!("{}+", &text[..42]),
            // The last character carries two unused bits: only zeros are canonical.
            format!("{}{}", &"A".repeat(42), "B"),
            "é".repeat(21) + "a",
        ] {
            assert!(Secret::parse(&invalid).is_none(), "{invalid}");
        }
    }

    #[test]
    fn a_derived_secret_is_deterministic_and_differs_for_each_purpose() {
        let (secret, other) = (Secret::generate(), Secret::generate());
        assert_eq!(secret.derive("a").digest(), secret.derive("a").digest());
        assert_ne!(secret.derive("a").digest(), secret.derive("b").digest());
        assert_ne!(secret.derive("a").digest(), other.derive("a").digest());
        assert_ne!(secret.derive("a").digest(), secret.digest());
    }

    #[test]
    fn secrets_are_unique_and_never_printed() {
        let all: HashSet<String> = (0..10_000).map(|_| Secret::generate().reveal()).collect();
        assert_eq!(all.len(), 10_000);
        let secret = Secret::generate();
        assert!(!format!("{secret:?}{:?}", secret.digest()).contains(&secret.reveal()[..8]));
        assert_eq!(format!("{:?}", SecretText::new("hunter2")), "SecretText");
    }
}
