//! Parses and verifies password hashes of other systems. Cost limits are checked before a hash is computed,
//! so that an altered row cannot exhaust memory or CPU time. These hashes are replaced by argon2id at the
//! next sign-in (`hasher.rs`) and never created.

use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD_NO_PAD};
use pbkdf2::pbkdf2_hmac;
use pbkdf2::sha2::{Digest as _, Sha256, Sha512};
use sha1::Sha1;
use subtle::{Choice, ConstantTimeEq as _};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::bounds::{MAX_HASH_BYTES, MAX_STORED_MEMORY_KIB};
use super::hash_format::{HashFormat, HashProblem};

/// The maximum of rounds × output blocks. Django 5.2 uses 1,000,000 rounds, and a fifth more with every
/// release.
const MAX_ROUNDS: u32 = 4_000_000;
/// The maximum takes about a second. Devise, Laravel and Django use 12.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=14;
/// The maximum of N × r × p: twice OWASP's recommendation.
const MAX_SCRYPT_WORK: u64 = 1 << 21;
/// Lengths of the output in bytes. Shorter ones are too weak; longer ones only cost more.
const OUTPUT_LENGTHS: std::ops::RangeInclusive<usize> = 16..=64;
/// The last character of a bcrypt salt has unused bits, which PHP does not set to zero.
const BCRYPT_BASE64: GeneralPurpose =
    GeneralPurpose::new(&BCRYPT, NO_PAD.with_decode_allow_trailing_bits(true));

/// A hash of another system.
pub(super) enum ForeignHash {
    Pbkdf2 { digest: HashFunction, rounds: u32, salt: Vec<u8>, output: Vec<u8> },
    Bcrypt { is_prehashed: bool, cost: u32, salt: [u8; 16], output: Vec<u8> },
    Scrypt { params: scrypt::Params, is_nfkc: bool, salt: Vec<u8>, output: Vec<u8> },
}

#[derive(Clone, Copy)]
pub(super) enum HashFunction {
    Sha1,
    Sha256,
    Sha512,
}

impl ForeignHash {
    /// Parses a hash from the database or from an import file.
    pub(super) fn parse(text: &str) -> Result<Self, HashProblem> {
        if text.len() > MAX_HASH_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HashProblem::Malformed);
        }
        let rest_after = |prefix: &str| text.strip_prefix(prefix);
        if let Some(rest) = rest_after("pbkdf2_sha256$") {
            django_pbkdf2(HashFunction::Sha256, rest)
        } else if let Some(rest) = rest_after("pbkdf2_sha1$") {
            django_pbkdf2(HashFunction::Sha1, rest)
        } else if let Some(rest) = rest_after("bcrypt_sha256$") {
            bcrypt(true, rest)
        } else if let Some(rest) = rest_after("bcrypt$") {
            bcrypt(false, rest)
        } else if text.starts_with("$2") {
            bcrypt(false, text)
        } else if let Some(rest) = rest_after("scrypt$") {
            let [n, salt, r, p, output] = parts(rest, '$')?;
            parse_scrypt(log2(n)?, r, p, salt.as_bytes(), base64(output)?)
        } else if let Some(rest) = rest_after("$scrypt$") {
            phc_scrypt(rest)
        } else if let Some(rest) = rest_after("$pbkdf2-sha256$") {
            phc_pbkdf2(HashFunction::Sha256, rest)
        } else if let Some(rest) = rest_after("$pbkdf2-sha512$") {
            phc_pbkdf2(HashFunction::Sha512, rest)
        } else if let Some(rest) = rest_after("scrypt:") {
            let [costs, salt, output] = parts(rest, '$')?;
            let [n, r, p] = parts(costs, ':')?;
            parse_scrypt(log2(n)?, r, p, salt.as_bytes(), hex(output)?)
        } else if let Some(rest) = rest_after("pbkdf2:sha256:") {
            let [rounds, salt, output] = parts(rest, '$')?;
            parse_pbkdf2(HashFunction::Sha256, rounds, salt.as_bytes(), hex(output)?)
        } else if let Some(rest) = rest_after(HashFormat::BetterAuth.prefix()) {
            let [salt, output] = parts(rest, ':')?;
            let known = parse_scrypt(14, "16", "1", salt.as_bytes(), hex(output)?)?;
            let Self::Scrypt { params, salt, output, .. } = known else { return Ok(known) };
            Ok(Self::Scrypt { params, is_nfkc: true, salt, output })
        } else if let Some(rest) = rest_after(HashFormat::NodeScrypt.prefix()) {
            let [salt, output] = parts(rest, ':')?;
            parse_scrypt(14, "8", "1", salt.as_bytes(), hex(output)?)
        } else {
            Err(HashProblem::Unknown)
        }
    }

    /// The algorithm, for the audit log and statistics.
    pub(super) fn family(&self) -> &'static str {
        match self {
            Self::Pbkdf2 { .. } => "pbkdf2",
            Self::Bcrypt { .. } => "bcrypt",
            Self::Scrypt { .. } => "scrypt",
        }
    }

    /// Whether this is the hash of `password`, compared in constant time.
    pub(super) fn matches_password(&self, password: &str) -> Choice {
        match self {
            Self::Pbkdf2 { digest, rounds, salt, output } => {
                let mut computed = vec![0; output.len()];
                let derive = match digest {
                    HashFunction::Sha1 => pbkdf2_hmac::<Sha1>,
                    HashFunction::Sha256 => pbkdf2_hmac::<Sha256>,
                    HashFunction::Sha512 => pbkdf2_hmac::<Sha512>,
                };
                derive(password.as_bytes(), salt, *rounds, &mut computed);
                computed.ct_eq(output)
            }
            Self::Bcrypt { is_prehashed, cost, salt, output } => {
                let key = bcrypt_key(password, *is_prehashed);
                let computed = ::bcrypt::bcrypt(*cost, *salt, &key);
                computed[..23].ct_eq(output)
            }
            Self::Scrypt { params, is_nfkc, salt, output } => {
                let password = Zeroizing::new(if *is_nfkc {
                    password.nfkc().collect()
                } else {
                    password.to_owned()
                });
                let mut computed = vec![0; output.len()];
                let done = scrypt::scrypt(password.as_bytes(), salt, params, &mut computed);
                Choice::from(u8::from(done.is_ok())) & computed.ct_eq(output)
            }
        }
    }
}

/// The key as bcrypt defines it: terminated by a NUL and truncated to 72 bytes.
fn bcrypt_key(password: &str, is_prehashed: bool) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(72));
    if is_prehashed {
        let digest = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(password.as_bytes())));
        for byte in digest.iter() {
            key.extend([byte >> 4, byte & 15].map(|half| b"0123456789abcdef"[usize::from(half)]));
        }
    } else {
        key.extend(password.bytes().take(72));
    }
    if key.len() < 72 {
        key.push(0);
    }
    key
}

fn django_pbkdf2(digest: HashFunction, rest: &str) -> Result<ForeignHash, HashProblem> {
    let [rounds, salt, output] = parts(rest, '$')?;
    parse_pbkdf2(digest, rounds, salt.as_bytes(), base64(output)?)
}

/// The PHC string format has `i=…,l=…`, passlib only the number of rounds.
fn phc_pbkdf2(digest: HashFunction, rest: &str) -> Result<ForeignHash, HashProblem> {
    let [costs, salt, output] = parts(rest, '$')?;
    let rounds = costs.split(',').find_map(|cost| cost.strip_prefix("i=")).unwrap_or(costs);
    parse_pbkdf2(digest, rounds, &base64(salt)?, base64(output)?)
}

/// The PHC string format has the logarithm of N, `ln=…`; AdonisJS has N itself, `n=…`.
fn phc_scrypt(rest: &str) -> Result<ForeignHash, HashProblem> {
    let [costs, salt, output] = parts(rest, '$')?;
    let of =
        |name: &str| costs.split(',').find_map(|cost| cost.strip_prefix(name)?.strip_prefix('='));
    let log_n = match (of("ln"), of("n")) {
        (Some(log_n), None) => number(log_n)?,
        (None, Some(n)) => log2(n)?,
        _ => return Err(HashProblem::Malformed),
    };
    let (Some(r), Some(p)) = (of("r"), of("p")) else { return Err(HashProblem::Malformed) };
    parse_scrypt(log_n, r, p, &base64(salt)?, base64(output)?)
}

fn parse_pbkdf2(
    digest: HashFunction,
    rounds: &str,
    salt: &[u8],
    output: Vec<u8>,
) -> Result<ForeignHash, HashProblem> {
    let rounds = number(rounds)?;
    if rounds == 0 || salt.is_empty() || !OUTPUT_LENGTHS.contains(&output.len()) {
        return Err(HashProblem::Malformed);
    }
    let block = match digest {
        HashFunction::Sha1 => 20,
        HashFunction::Sha256 => 32,
        HashFunction::Sha512 => 64,
    };
    let blocks = output.len().div_ceil(block) as u64;
    if u64::from(rounds) * blocks > u64::from(MAX_ROUNDS) {
        return Err(HashProblem::TooCostly);
    }
    Ok(ForeignHash::Pbkdf2 { digest, rounds, salt: salt.to_vec(), output })
}

fn parse_scrypt(
    log_n: u32,
    r: &str,
    p: &str,
    salt: &[u8],
    output: Vec<u8>,
) -> Result<ForeignHash, HashProblem> {
    let (r, p) = (number(r)?, number(p)?);
    if log_n == 0 || r == 0 || p == 0 || salt.is_empty() || !OUTPUT_LENGTHS.contains(&output.len())
    {
        return Err(HashProblem::Malformed);
    }
    if log_n > 24 || r > 64 || p > 64 {
        return Err(HashProblem::TooCostly);
    }
    let memory = u64::from(r) << log_n;
    if memory * 128 > u64::from(MAX_STORED_MEMORY_KIB) * 1024
        || memory * u64::from(p) > MAX_SCRYPT_WORK
    {
        return Err(HashProblem::TooCostly);
    }
    let log_n = u8::try_from(log_n).map_err(|_| HashProblem::TooCostly)?;
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| HashProblem::Malformed)?;
    Ok(ForeignHash::Scrypt { params, is_nfkc: false, salt: salt.to_vec(), output })
}

/// `$2a$`, `$2b$` and `$2y$` are equivalent. `$2x$` marks hashes of a PHP version with a bug; they are not
/// accepted.
fn bcrypt(is_prehashed: bool, text: &str) -> Result<ForeignHash, HashProblem> {
    let [nothing, version, cost, data] = parts(text, '$')?;
    if !nothing.is_empty() || version == "2x" {
        return Err(HashProblem::Unknown);
    }
    if !matches!(version, "2a" | "2b" | "2y") || cost.len() != 2 || data.len() != 53 {
        return Err(HashProblem::Malformed);
    }
    let cost = number(cost)?;
    if cost > *BCRYPT_COSTS.end() {
        return Err(HashProblem::TooCostly);
    }
    let decode = |text: &str| BCRYPT_BASE64.decode(text).map_err(|_| HashProblem::Malformed);
    let salt = decode(&data[..22])?.try_into().map_err(|_| HashProblem::Malformed)?;
    let output = decode(&data[22..])?;
    if !BCRYPT_COSTS.contains(&cost) || output.len() != 23 {
        return Err(HashProblem::Malformed);
    }
    Ok(ForeignHash::Bcrypt { is_prehashed, cost, salt, output })
}

fn parts<const N: usize>(text: &str, separator: char) -> Result<[&str; N], HashProblem> {
    let parts: Vec<&str> = text.split(separator).collect();
    parts.try_into().map_err(|_| HashProblem::Malformed)
}

/// A decimal number without a sign.
fn number(text: &str) -> Result<u32, HashProblem> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HashProblem::Malformed);
    }
    text.parse().map_err(|_| HashProblem::TooCostly)
}

/// The binary logarithm of a power of two.
fn log2(text: &str) -> Result<u32, HashProblem> {
    let n = number(text)?;
    if n.is_power_of_two() { Ok(n.trailing_zeros()) } else { Err(HashProblem::Malformed) }
}

/// Base64 with or without padding; passlib uses a dot instead of the plus.
fn base64(text: &str) -> Result<Vec<u8>, HashProblem> {
    let plain = text.trim_end_matches('=').replace('.', "+");
    STANDARD_NO_PAD.decode(plain).map_err(|_| HashProblem::Malformed)
}

fn hex(text: &str) -> Result<Vec<u8>, HashProblem> {
    hex::decode(text).map_err(|_| HashProblem::Malformed)
}

#[cfg(test)]
mod tests;
