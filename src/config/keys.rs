//! The keys that seal cookies: the first seals, all open, so that a key can be changed without signing
//! anybody out.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::crypto::secret::{Secret, SecretText};
use crate::durable;

/// Characters of a key at least: 32 of base64 carry 192 bits.
const SHORTEST: usize = 32;
/// Different characters of a key at least: "aaaa…" is long and no key.
const FEWEST_DIFFERENT: usize = 12;
const FILE: &str = "secret-keys";

/// At least one key.
#[derive(Clone)]
pub struct SecretKeys(Vec<SecretText>);

/// Why a key is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    /// Too short.
    #[error(
        "has a key shorter than {SHORTEST} characters. Generate one with: openssl rand -base64 48"
    )]
    Short,
    /// Too regular.
    #[error("has a key that is easy to guess. Generate one with: openssl rand -base64 48")]
    Regular,
    /// The same twice.
    #[error("contains the same key twice. The first key encrypts, all of them decrypt")]
    Twice,
}

impl SecretKeys {
    /// Reads keys that are separated by commas.
    pub fn parse(text: &str) -> Result<Self, WeakKey> {
        let keys: Vec<&str> = text.split(',').map(str::trim).collect();
        for key in &keys {
            let different: HashSet<char> = key.chars().collect();
            if key.len() < SHORTEST {
                return Err(WeakKey::Short);
            }
            if different.len() < FEWEST_DIFFERENT || key.to_lowercase().contains("changeme") {
                return Err(WeakKey::Regular);
            }
        }
        if keys.iter().collect::<HashSet<_>>().len() < keys.len() {
            return Err(WeakKey::Twice);
        }
        Ok(Self(keys.into_iter().map(SecretText::new).collect()))
    }

    /// The keys of the data folder; made there, once, when there are none.
    pub fn load_or_create(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(FILE);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                bail!(
                    "{} is readable by other users. Run: chmod 600 {}",
                    path.display(),
                    path.display()
                )
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(data_dir, &path)
                .with_context(|| format!("the key cannot be written to {}", path.display()))?,
            Err(error) => return Err(error).context(format!("{} cannot be read", path.display())),
        }
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        Self::parse(text.trim()).map_err(|weak| anyhow::anyhow!("{} {weak}", path.display()))
    }

    /// The keys. The first one encrypts.
    pub fn as_slice(&self) -> &[SecretText] {
        &self.0
    }
}

/// Whole or not at all: written beside, then linked, so that two starts at once agree on one key. Synced, because
/// the key signs users out when it is lost.
fn create(data_dir: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let beside = data_dir.join(format!("{FILE}.{}", uuid::Uuid::new_v4()));
    let key = format!("{}{}\n", Secret::generate().reveal(), Secret::generate().reveal());
    durable::create(&beside, 0o600, key.as_bytes())?;
    let linked = match fs::hard_link(&beside, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    fs::remove_file(&beside)?;
    linked?;
    durable::sync_folder(data_dir)
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} key(s)", self.0.len())
    }
}
