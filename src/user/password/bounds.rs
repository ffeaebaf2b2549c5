//! What a stored password hash may cost to read and to verify: an altered row must not use up the server's memory.

/// Bytes of the longest text that is parsed as a hash.
pub(super) const LONGEST_TEXT: usize = 512;
/// KiB of memory of the most expensive hash. Django's argon2 takes 100 MiB, OWASP's scrypt 128.
pub(super) const MOST_STORED_MEMORY_KIB: u32 = 131_072;
