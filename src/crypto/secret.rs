//! Secrets: made by the operating system's random numbers, shown once, stored as digests. Nothing here
//! prints itself.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize;

/// A text that must not be seen: a key, a database address.
#[derive(Clone)]
pub struct SecretText(SecretString);

impl SecretText {
    /// Takes it in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// Lets it out, where it is used.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SecretText")
    }
}

/// 32 random bytes that open something: whoever has them is in (256 bits; ASVS 5.0 V7.2.3 asks for
/// 128).
pub struct Secret([u8; 32]);

/// The SHA-256 of a [`Secret`]: what the database keeps. Finding a row by it leaks nothing by timing
/// (Rack, CVE-2019-16782), and a copy of the database opens nothing. A fast hash is enough for 256 random
/// bits (ASVS 5.0 V6.5.2).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Secret {
    /// A new one.
    pub fn generate() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system hands out random numbers");
        Self(bytes)
    }

    /// Reads the text form: exactly 43 characters of unpadded base64url, in the one way
    /// [`Secret::reveal`] writes them.
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

    /// The secret that follows from this one for `purpose`. Anyone who has this one can compute it; this one cannot be
    /// computed from it, nor from the digest of either (HKDF, RFC 5869).
    pub fn derive(&self, purpose: &str) -> Self {
        let mut bytes = [0; 32];
        Hkdf::<Sha256>::new(None, &self.0)
            .expand(purpose.as_bytes(), &mut bytes)
            .expect("32 bytes are a length that HKDF gives");
        Self(bytes)
    }

    /// What the database keeps of it.
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
    /// For comparing and storing; never what the cookie holds.
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
    fn a_secret_is_read_back_in_one_way_only() {
        let secret = Secret::generate();
        let text = secret.reveal();
        assert_eq!(Secret::parse(&text).unwrap().digest(), secret.digest());
        for odd in [
            String::new(),
            format!("{text}="),
            format!(" {text}"),
            text[..42].to_owned(),
            format!("{}+", &text[..42]),
            // The last character carries two unused bits: only zeros are canonical.
            format!("{}{}", &"A".repeat(42), "B"),
            "é".repeat(21) + "a",
        ] {
            assert!(Secret::parse(&odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn a_derived_secret_is_the_same_each_time_and_another_one_for_each_purpose() {
        let (secret, other) = (Secret::generate(), Secret::generate());
        assert_eq!(secret.derive("a").digest(), secret.derive("a").digest());
        assert_ne!(secret.derive("a").digest(), secret.derive("b").digest());
        assert_ne!(secret.derive("a").digest(), other.derive("a").digest());
        assert_ne!(secret.derive("a").digest(), secret.digest());
    }

    #[test]
    fn no_secret_comes_twice_or_prints_itself() {
        let all: HashSet<String> = (0..10_000).map(|_| Secret::generate().reveal()).collect();
        assert_eq!(all.len(), 10_000);
        let secret = Secret::generate();
        assert!(!format!("{secret:?}{:?}", secret.digest()).contains(&secret.reveal()[..8]));
        assert_eq!(format!("{:?}", SecretText::new("hunter2")), "SecretText");
    }
}
