//! The keys that seal cookies. The first key encrypts and all keys decrypt, so that keys can be rotated
//! without signing users out.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::crypto::secret::{Secret, SecretText};
use crate::durable;

/// Minimum length of a key: 32 characters of base64 carry 192 bits.
const MIN_LENGTH: usize = 32;
/// Minimum number of different characters: "aaaa…" is long but guessable.
const MIN_DISTINCT: usize = 12;
const FILE_NAME: &str = "secret-keys";

/// One or more keys.
#[derive(Clone)]
pub struct SecretKeys(Vec<SecretText>);

/// Why keys are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    /// A key is too short.
    #[error(
        "has a key shorter than {MIN_LENGTH} characters. Generate one with: openssl rand -base64 48"
    )]
    Short,
    /// A key is guessable: few distinct characters, or a placeholder.
    #[error("has a key that is easy to guess. Generate one with: openssl rand -base64 48")]
    Guessable,
    /// A key is listed twice.
    #[error("contains the same key twice. The first key encrypts, all of them decrypt")]
    Duplicate,
}

impl SecretKeys {
    /// Parses keys that are separated by commas.
    pub fn parse(text: &str) -> Result<Self, WeakKey> {
        let keys: Vec<&str> = text.split(',').map(str::trim).collect();
        for key in &keys {
            let distinct: HashSet<char> = key.chars().collect();
            if key.len() < MIN_LENGTH {
                return Err(WeakKey::Short);
            }
            if distinct.len() < MIN_DISTINCT || key.to_lowercase().contains("changeme") {
                return Err(WeakKey::Guessable);
            }
        }
        if keys.iter().collect::<HashSet<_>>().len() < keys.len() {
            return Err(WeakKey::Duplicate);
        }
        Ok(Self(keys.into_iter().map(SecretText::new).collect()))
    }

    /// The file of the keys in the data folder.
    pub fn file(data_dir: &Path) -> PathBuf {
        data_dir.join(FILE_NAME)
    }

    /// Reads the keys of the data folder. Generates a key if there is none.
    ///
    /// # Errors
    ///
    /// Fails if the file is readable by other users, cannot be read or created, or contains a weak key.
    pub fn load_or_create(data_dir: &Path) -> anyhow::Result<Self> {
        let path = Self::file(data_dir);
        // A symbolic link, as of a mounted secret, must not belong to another user either.
        let owners = [fs::symlink_metadata(&path), fs::metadata(&path)];
        let current_user = rustix::process::geteuid().as_raw();
        let is_own = |owner: u32| owner == current_user || owner == 0;
        if let Some(owner) =
            owners.iter().flatten().map(MetadataExt::uid).find(|owner| !is_own(*owner))
        {
            bail!(
                "{0} belongs to another user (with the ID {owner}), who may know or choose the keys. If the keys are yours, run: chown {current_user} {0}",
                path.display()
            );
        }
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

    /// All keys. The first one encrypts.
    pub fn as_slice(&self) -> &[SecretText] {
        &self.0
    }
}

/// Writes a temporary file, then links it to `path`: a partially written file is never visible, and two
/// processes that start at the same time use the same key, the one that was linked first. Synced, because
/// losing the key signs all users out.
fn create(data_dir: &Path, path: &Path) -> io::Result<()> {
    durable::create_folder(data_dir, 0o700)?;
    let temporary = data_dir.join(format!("{FILE_NAME}.{}", uuid::Uuid::new_v4()));
    let key = format!("{}{}\n", Secret::generate().reveal(), Secret::generate().reveal());
    durable::create(&temporary, 0o600, key.as_bytes())?;
    let linked = match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    fs::remove_file(&temporary)?;
    linked?;
    durable::sync_folder(data_dir)
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} key(s)", self.0.len())
    }
}
