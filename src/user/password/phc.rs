//! Password hashes as text: `$argon2id$v=19$m=…,t=…,p=…$salt$hash` (PHC string format), or a hash of another
//! system until the user's next sign-in replaces it. Limits the cost of verifying a stored hash.

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Params, Version};

use super::bounds::{MAX_HASH_BYTES, MAX_STORED_MEMORY_KIB};
use super::foreign_hash::ForeignHash;
use super::hash_format::{HashFormat, HashProblem};

/// The minimum parameters of argon2id in OWASP's Password Storage Cheat Sheet: equivalent pairs of memory in
/// KiB and iterations.
const OWASP_MINIMA: [(u32, u32); 5] =
    [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];
/// The maximum of memory in KiB × iterations, about a second.
const MAX_STORED_WORK: u64 = 1_048_576;
const MAX_ITERATIONS: u32 = 20;
const MAX_PARALLELISM: u32 = 8;
const MAX_MEMORY_KIB: u32 = 1_048_576;
pub(in crate::user) const OUTPUT_BYTES: usize = 32;
pub(in crate::user) const SALT_BYTES: usize = 16;

/// The parameters of argon2id.
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
    /// Checks the parameters. Returns a message for the operator if they are below OWASP's minimum or above
    /// the limits.
    pub fn new(memory_kib: u32, iterations: u32, parallelism: u32) -> Result<Self, String> {
        let strong = OWASP_MINIMA
            .iter()
            .any(|(memory, times)| memory_kib >= *memory && iterations >= *times);
        if !strong || parallelism == 0 {
            return Err(format!(
                "argon2id with {memory_kib} KiB and {iterations} iteration(s) is weaker than OWASP's minimum; use 19456 KiB and 2 iterations"
            ));
        }
        if memory_kib > MAX_MEMORY_KIB
            || iterations > MAX_ITERATIONS
            || parallelism > MAX_PARALLELISM
        {
            return Err(format!(
                "argon2id is limited to {MAX_MEMORY_KIB} KiB, {MAX_ITERATIONS} iterations and {MAX_PARALLELISM} lanes"
            ));
        }
        Ok(Self { memory_kib, iterations, parallelism })
    }

    pub(in crate::user) fn params(self) -> Params {
        Params::new(self.memory_kib, self.iterations, self.parallelism, Some(OUTPUT_BYTES))
            .expect("checked parameters are valid for argon2")
    }
}

/// A PHC string that [`super::hasher::Hasher`] created, `$argon2id$v=19$m=…,t=…,p=…$salt$hash`, or an adopted
/// hash.
#[derive(Clone)]
pub struct PasswordHash(pub(in crate::user) String);

impl PasswordHash {
    /// The text for the database.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PasswordHash")
    }
}

impl PasswordHash {
    /// Adopts a hash of another system, if its format is supported and its cost is within the limits.
    pub fn adopt(text: &str, format: HashFormat) -> Result<Self, HashProblem> {
        let text = format!("{}{text}", format.prefix());
        Stored::parse(&text, HashParameters::default())?;
        Ok(Self(text))
    }

    /// The algorithm, for the audit log and statistics.
    pub fn family(&self) -> &'static str {
        match Stored::parse(&self.0, HashParameters::default()) {
            Ok(Stored::Argon2(_)) => "argon2",
            Ok(Stored::Foreign(known)) => known.family(),
            Err(_) => "unknown",
        }
    }
}

/// A stored hash whose cost is within the limits.
pub(in crate::user) enum Stored {
    Argon2(Argon2Hash),
    Foreign(ForeignHash),
}

/// A hash of the argon2 family, of this or of another system.
pub(in crate::user) struct Argon2Hash {
    pub(in crate::user) algorithm: Algorithm,
    pub(in crate::user) version: Version,
    pub(in crate::user) params: Params,
    pub(in crate::user) salt: Vec<u8>,
    pub(in crate::user) hash: Vec<u8>,
    /// Whether it has the algorithm, version and text format of new hashes.
    pub(in crate::user) is_plain: bool,
}

impl Stored {
    /// Parses a stored hash. The `current` parameters are always accepted; others are limited.
    pub(in crate::user) fn parse(text: &str, current: HashParameters) -> Result<Self, HashProblem> {
        // Django prepends the name of its hasher.
        let phc = text.strip_prefix("argon2$").map(|rest| format!("${rest}"));
        let phc = phc.as_deref().unwrap_or(text);
        if phc.starts_with("$argon2") {
            Argon2Hash::parse(phc, current, phc == text).map(Self::Argon2)
        } else {
            ForeignHash::parse(text).map(Self::Foreign)
        }
    }

    /// Whether a new hash would have the same format and parameters.
    pub(in crate::user) fn is_current_format(&self, current: HashParameters) -> bool {
        match self {
            Self::Argon2(known) => {
                let params = &known.params;
                known.is_plain
                    && (params.m_cost(), params.t_cost(), params.p_cost())
                        == (current.memory_kib, current.iterations, current.parallelism)
            }
            Self::Foreign(_) => false,
        }
    }
}

impl Argon2Hash {
    fn parse(text: &str, current: HashParameters, is_first: bool) -> Result<Self, HashProblem> {
        if text.len() > MAX_HASH_BYTES {
            return Err(HashProblem::Malformed);
        }
        let phc = Phc::new(text).map_err(|_| HashProblem::Malformed)?;
        let algorithm = match phc.algorithm.as_str() {
            "argon2id" => Algorithm::Argon2id,
            "argon2i" => Algorithm::Argon2i,
            "argon2d" => Algorithm::Argon2d,
            _ => return Err(HashProblem::Unknown),
        };
        let version = match phc.version {
            Some(0x13) => Version::V0x13,
            // Hashes of the first version do not contain the version.
            Some(0x10) | None => Version::V0x10,
            Some(_) => return Err(HashProblem::Unknown),
        };
        let number = |name: &str| {
            let value = phc.params.get(name).ok_or(HashProblem::Malformed)?;
            value.decimal().map_err(|_| HashProblem::Malformed)
        };
        let (memory, iterations, lanes) = (number("m")?, number("t")?, number("p")?);
        let is_current = (memory, iterations, lanes)
            == (current.memory_kib, current.iterations, current.parallelism);
        if !is_current
            && (memory > MAX_STORED_MEMORY_KIB
                || iterations > MAX_ITERATIONS
                || lanes > MAX_PARALLELISM
                || u64::from(memory) * u64::from(iterations) > MAX_STORED_WORK)
        {
            return Err(HashProblem::TooCostly);
        }
        let (Some(hash), Some(salt)) = (phc.hash, phc.salt) else {
            return Err(HashProblem::Malformed);
        };
        let (hash, salt) = (hash.as_bytes().to_vec(), salt.as_ref().to_vec());
        let params = Params::new(memory, iterations, lanes, Some(hash.len()))
            .map_err(|_| HashProblem::Malformed)?;
        if !(16..=64).contains(&hash.len()) {
            return Err(HashProblem::Malformed);
        }
        let is_plain = is_first && algorithm == Algorithm::Argon2id && version == Version::V0x13;
        Ok(Self { algorithm, version, params, salt, hash, is_plain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_below_owasps_minimum_are_rejected() {
        assert!(HashParameters::new(19_455, 2, 1).is_err());
        assert!(HashParameters::new(19_456, 1, 1).is_err());
        assert!(HashParameters::new(19_456, 2, 0).is_err());
        assert!(HashParameters::new(2_000_000, 2, 1).is_err());
        assert!(HashParameters::new(47_104, 1, 1).is_ok());
        assert!(HashParameters::new(7_168, 5, 1).is_ok());
    }
}
