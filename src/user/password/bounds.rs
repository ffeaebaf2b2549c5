//! Limits for stored password hashes, so that an altered row cannot exhaust the server's memory (denial of
//! service).

/// The maximum length of a text that is parsed as a hash, in bytes.
pub(super) const MAX_HASH_BYTES: usize = 512;
/// The maximum memory of a stored hash, in KiB. Django's argon2 needs 100 MiB, OWASP's scrypt 128 MiB.
pub(super) const MAX_STORED_MEMORY_KIB: u32 = 131_072;
