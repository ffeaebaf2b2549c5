//! A password hash as text: `$argon2id$v=19$m=…,t=…,p=…$salt$hash` (PHC string format) or one of another system that
//! waits for its owner's next sign-in; what it may cost, and which stored ones are believed.

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Params, Version};

use super::bounds::{LONGEST_TEXT, MOST_STORED_MEMORY_KIB};
use super::foreign_hash::{ForeignHash, HashFormat, HashProblem};

/// What OWASP's Password Storage Cheat Sheet asks of argon2id at least, each pair as good as the others:
/// memory in KiB and iterations.
const OWASP_MINIMA: [(u32, u32); 5] =
    [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];
/// KiB × iterations, about a second.
const MOST_STORED_WORK: u64 = 1_048_576;
const MOST_ITERATIONS: u32 = 20;
const MOST_PARALLELISM: u32 = 8;
const MOST_MEMORY_KIB: u32 = 1_048_576;
pub(in crate::user) const OUTPUT_BYTES: usize = 32;
pub(in crate::user) const SALT_BYTES: usize = 16;

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

    pub(in crate::user) fn params(self) -> Params {
        Params::new(self.memory_kib, self.iterations, self.parallelism, Some(OUTPUT_BYTES))
            .expect("parameters above OWASP's minimum and below our caps are argon2's too")
    }
}

/// A PHC string of ours, `$argon2id$v=19$m=…,t=…,p=…$salt$hash`, or one that was adopted.
#[derive(Clone)]
pub struct PasswordHash(pub(in crate::user) String);

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

impl PasswordHash {
    /// Takes over a hash that another system made, if it can be compared here and costs no more than it may.
    pub fn adopt(text: &str, format: HashFormat) -> Result<Self, HashProblem> {
        let text = format!("{}{text}", format.prefix());
        Stored::read(&text, HashParameters::default())?;
        Ok(Self(text))
    }

    /// Which of the families it is of, for the trail and for statistics.
    pub fn family(&self) -> &'static str {
        match Stored::read(&self.0, HashParameters::default()) {
            Ok(Stored::Argon2(_)) => "argon2",
            Ok(Stored::Foreign(ForeignHash::Pbkdf2 { .. })) => "pbkdf2",
            Ok(Stored::Foreign(ForeignHash::Bcrypt { .. })) => "bcrypt",
            Ok(Stored::Foreign(ForeignHash::Scrypt { .. })) => "scrypt",
            Err(_) => "unknown",
        }
    }
}

/// A stored hash, checked before anything is spent on it.
pub(in crate::user) enum Stored {
    Argon2(Argon2Hash),
    Foreign(ForeignHash),
}

/// One of the argon2 family, ours or from elsewhere.
pub(in crate::user) struct Argon2Hash {
    pub(in crate::user) algorithm: Algorithm,
    pub(in crate::user) version: Version,
    pub(in crate::user) params: Params,
    pub(in crate::user) salt: Vec<u8>,
    pub(in crate::user) hash: Vec<u8>,
    /// Made the way we make them, whatever it costs.
    pub(in crate::user) is_plain: bool,
}

impl Stored {
    /// Reads what the database holds. `today` may always be asked for, the rest is capped.
    pub(in crate::user) fn read(text: &str, today: HashParameters) -> Result<Self, HashProblem> {
        // Django writes the name of its class in front.
        let phc = text.strip_prefix("argon2$").map(|rest| format!("${rest}"));
        let phc = phc.as_deref().unwrap_or(text);
        if phc.starts_with("$argon2") {
            Argon2Hash::read(phc, today, phc == text).map(Self::Argon2)
        } else {
            ForeignHash::read(text).map(Self::Foreign)
        }
    }

    /// Whether it is as a new one of today would be.
    pub(in crate::user) fn is_of(&self, today: HashParameters) -> bool {
        match self {
            Self::Argon2(known) => {
                let params = &known.params;
                known.is_plain
                    && (params.m_cost(), params.t_cost(), params.p_cost())
                        == (today.memory_kib, today.iterations, today.parallelism)
            }
            Self::Foreign(_) => false,
        }
    }
}

impl Argon2Hash {
    fn read(text: &str, today: HashParameters, is_first: bool) -> Result<Self, HashProblem> {
        if text.len() > LONGEST_TEXT {
            return Err(HashProblem::Broken);
        }
        let phc = Phc::new(text).map_err(|_| HashProblem::Broken)?;
        let algorithm = match phc.algorithm.as_str() {
            "argon2id" => Algorithm::Argon2id,
            "argon2i" => Algorithm::Argon2i,
            "argon2d" => Algorithm::Argon2d,
            _ => return Err(HashProblem::Unknown),
        };
        let version = match phc.version {
            Some(0x13) => Version::V0x13,
            // The first version did not write its number.
            Some(0x10) | None => Version::V0x10,
            Some(_) => return Err(HashProblem::Unknown),
        };
        let number = |name: &str| {
            let value = phc.params.get(name).ok_or(HashProblem::Broken)?;
            value.decimal().map_err(|_| HashProblem::Broken)
        };
        let (memory, iterations, lanes) = (number("m")?, number("t")?, number("p")?);
        let is_today =
            (memory, iterations, lanes) == (today.memory_kib, today.iterations, today.parallelism);
        if !is_today
            && (memory > MOST_STORED_MEMORY_KIB
                || iterations > MOST_ITERATIONS
                || lanes > MOST_PARALLELISM
                || u64::from(memory) * u64::from(iterations) > MOST_STORED_WORK)
        {
            return Err(HashProblem::TooCostly);
        }
        let (Some(hash), Some(salt)) = (phc.hash, phc.salt) else {
            return Err(HashProblem::Broken);
        };
        let (hash, salt) = (hash.as_bytes().to_vec(), salt.as_ref().to_vec());
        let params = Params::new(memory, iterations, lanes, Some(hash.len()))
            .map_err(|_| HashProblem::Broken)?;
        if !(16..=64).contains(&hash.len()) {
            return Err(HashProblem::Broken);
        }
        let is_plain = is_first && algorithm == Algorithm::Argon2id && version == Version::V0x13;
        Ok(Self { algorithm, version, params, salt, hash, is_plain })
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
