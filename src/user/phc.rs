//! A password hash as text: `$argon2id$v=19$m=…,t=…,p=…$salt$hash` (PHC string format), what it may cost, and
//! which stored ones are believed.

use argon2::Params;
use argon2::password_hash::phc::PasswordHash as Phc;

/// What OWASP's Password Storage Cheat Sheet asks of argon2id at least, each pair as good as the others:
/// memory in KiB and iterations.
const OWASP_MINIMA: [(u32, u32); 5] =
    [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];
/// A stored row may ask for this much memory and no more: an altered row must not be a memory bomb.
const MOST_STORED_MEMORY_KIB: u32 = 65_536;
const MOST_ITERATIONS: u32 = 20;
const MOST_PARALLELISM: u32 = 8;
const MOST_MEMORY_KIB: u32 = 1_048_576;
pub(super) const OUTPUT_BYTES: usize = 32;
pub(super) const SALT_BYTES: usize = 16;

/// How expensive a hash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashParameters {
    memory_kib: u32,
    iterations: u32,
    parallelism: u32,
}

impl Default for HashParameters {
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2, parallelism: 1 }
    }
}

impl HashParameters {
    /// Refuses what is below OWASP's minimum, and what no server should spend.
    pub fn new(memory_kib: u32, iterations: u32, parallelism: u32) -> Result<Self, String> {
        let strong = OWASP_MINIMA
            .iter()
            .any(|(memory, times)| memory_kib >= *memory && iterations >= *times);
        if !strong || parallelism == 0 {
            return Err(format!(
                "argon2id with {memory_kib} KiB and {iterations} iteration(s) is weaker than OWASP's minimum; 19456 KiB and 2 iterations are a good choice"
            ));
        }
        if memory_kib > MOST_MEMORY_KIB
            || iterations > MOST_ITERATIONS
            || parallelism > MOST_PARALLELISM
        {
            return Err(format!(
                "argon2id takes at most {MOST_MEMORY_KIB} KiB, {MOST_ITERATIONS} iterations and {MOST_PARALLELISM} lanes here"
            ));
        }
        Ok(Self { memory_kib, iterations, parallelism })
    }

    pub(super) fn params(self) -> Params {
        Params::new(self.memory_kib, self.iterations, self.parallelism, Some(OUTPUT_BYTES))
            .expect("parameters above OWASP's minimum and below our caps are argon2's too")
    }
}

/// A PHC string of ours: `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
#[derive(Clone)]
pub struct PasswordHash(pub(super) String);

impl PasswordHash {
    /// For the database.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PasswordHash")
    }
}

/// A stored hash, checked before anything is spent on it.
pub(super) struct Stored {
    pub(super) params: Params,
    pub(super) salt: Vec<u8>,
    pub(super) hash: Vec<u8>,
}

impl Stored {
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.len() > 512 {
            return None;
        }
        let phc = Phc::new(text).ok()?;
        if phc.algorithm.as_str() != "argon2id" || phc.version != Some(0x13) {
            return None;
        }
        let number = |name: &str| phc.params.get(name).and_then(|value| value.decimal().ok());
        let (memory, iterations, lanes) = (number("m")?, number("t")?, number("p")?);
        if memory > MOST_STORED_MEMORY_KIB
            || iterations > MOST_ITERATIONS
            || lanes > MOST_PARALLELISM
        {
            return None;
        }
        let hash = phc.hash?.as_bytes().to_vec();
        let salt = phc.salt?.as_ref().to_vec();
        let params = Params::new(memory, iterations, lanes, Some(hash.len())).ok()?;
        (16..=64).contains(&hash.len()).then_some(Self { params, salt, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_below_owasps_minimum_is_taken() {
        assert!(HashParameters::new(19_455, 2, 1).is_err());
        assert!(HashParameters::new(19_456, 1, 1).is_err());
        assert!(HashParameters::new(19_456, 2, 0).is_err());
        assert!(HashParameters::new(2_000_000, 2, 1).is_err());
        assert!(HashParameters::new(47_104, 1, 1).is_ok());
        assert!(HashParameters::new(7_168, 5, 1).is_ok());
    }
}
