//! HMAC-SHA-256 that SQL can compute too. PostgreSQL has `sha256` but no HMAC without an extension.

use sha2::{Digest as _, Sha256};

/// The block length of SHA-256 in bytes.
const BLOCK: usize = 64;

/// A key of HMAC-SHA-256 (RFC 2104), already combined with the two pads. In SQL, the digest of `value` is
/// `sha256(outer || sha256(inner || value))`.
#[derive(Clone)]
pub struct KeyedHash {
    inner: [u8; BLOCK],
    outer: [u8; BLOCK],
}

impl KeyedHash {
    /// A hash with `key`.
    pub fn new(key: &[u8; 32]) -> Self {
        let pad = |byte: u8| {
            let mut block = [byte; BLOCK];
            block.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
            block
        };
        Self { inner: pad(0x36), outer: pad(0x5c) }
    }

    /// The digest of the concatenation of `parts`.
    pub fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(self.inner);
        parts.iter().for_each(|part| hash.update(part));
        Sha256::new_with_prefix(self.outer).chain_update(hash.finalize()).finalize().into()
    }

    /// What is hashed before the value.
    pub fn inner(&self) -> &[u8] {
        &self.inner
    }

    /// What is hashed before the digest of the value.
    pub fn outer(&self) -> &[u8] {
        &self.outer
    }
}

impl std::fmt::Debug for KeyedHash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("KeyedHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, 4.2 and 4.4, whose keys are padded with zeros to the block length.
    #[test]
    fn the_digest_is_hmac_sha_256() {
        let key = |byte: u8| {
            let mut key = [0; 32];
            key[..20].fill(byte);
            KeyedHash::new(&key)
        };
        for (hash, value, digest) in [
            (
                key(0x0b),
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                key(0xaa),
                &[0xdd; 50][..],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
        ] {
            assert_eq!(hex::encode(hash.digest(&[&value[..3], &value[3..]])), digest);
        }
    }
}
