//! `frontdesk user import --check`: verifies hashes of the file against a known password. A hash whose salt or
//! parameters are misread looks valid, and its user could not sign in.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::json;
use zeroize::Zeroizing;

use super::columns::Record;
use super::import_row::{self, Rules};
use crate::app::hash_parameters;
use crate::cli::exit::ExitStatus;
use crate::cli::{out, prompt};
use crate::config::Config;
use crate::user::password::hasher::{HashFormat, Hasher, PasswordHash, Verdict};
use crate::user::password::policy::Password;

/// The maximum number of hashes of one format that are tried, about ten seconds.
const MAX_TRIED: u64 = 100;

/// The hashes of one format.
#[derive(Default)]
struct Format {
    tried: u64,
    /// The line of the hash that matches.
    line: Option<u64>,
    /// The line of a hash of Node that would match if its salt were decoded.
    decoded_line: Option<u64>,
}

/// Compares the password in `password_file` (`-`: standard input) with the hashes of the records that `next`
/// returns, until one of each format matches. Writes nothing.
pub(super) async fn run(
    config: &Config,
    rules: &Rules,
    mut next: impl FnMut() -> io::Result<Option<Record>>,
    password_file: &Path,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let Some(typed) = password_of(password_file)? else {
        return Ok(ExitStatus::InvalidUsage);
    };
    let password = Password::parse(&typed)?;
    let hasher = Hasher::with_limits(hash_parameters(config)?, 1, 1);
    let is_match = async |hash: &PasswordHash| -> anyhow::Result<bool> {
        Ok(matches!(hasher.verify(&password, Some(hash.as_str())).await?, Verdict::Match { .. }))
    };
    let mut formats: BTreeMap<String, Format> = BTreeMap::new();
    let mut rejected = 0_u64;
    while let Some(Record { line, fields }) = next().context("the file cannot be read")? {
        let row = match fields.and_then(|one| import_row::read(&one, rules).map_err(str::to_owned))
        {
            Ok(row) => row,
            Err(reason) => {
                rejected += 1;
                out::problem(&format!("Line {line}: {reason}."));
                continue;
            }
        };
        let Some(hash) = row.password_hash else { continue };
        let format = formats.entry(name(&hash)).or_default();
        if format.line.is_some() || format.tried == MAX_TRIED {
            continue;
        }
        format.tried += 1;
        if is_match(&hash).await? {
            format.line = Some(line);
            continue;
        }
        for decoded in with_decoded_salt(&hash) {
            if is_match(&decoded).await? {
                format.decoded_line = Some(line);
            }
        }
    }
    report(&formats, json)?;
    let all_match = formats.values().all(|format| format.line.is_some());
    Ok(match (rejected, formats.is_empty(), all_match) {
        (1.., ..) | (_, _, false) => ExitStatus::Failed,
        (0, true, _) => ExitStatus::NothingFound,
        (0, false, true) => ExitStatus::Done,
    })
}

fn report(formats: &BTreeMap<String, Format>, json: bool) -> anyhow::Result<()> {
    if json {
        let list = formats.iter().map(|(name, format)| {
            json!({ "format": name, "tried": format.tried, "matching_line": format.line })
        });
        return out::json(&list.collect::<Vec<_>>());
    }
    if formats.is_empty() {
        out::line("The file has no password hash.");
    }
    for (name, format) in formats {
        match format {
            Format { line: Some(line), .. } => {
                out::line(&format!("{name}: the password matches the hash on line {line}."));
            }
            Format { decoded_line: Some(line), .. } => out::line(&format!(
                "{name}: the password does not match. The salt on line {line} is bytes in hex or base64, not text: write the hash as $scrypt$ln=14,r=8,p=1$salt$key in base64."
            )),
            Format { tried, .. } => out::line(&format!(
                "{name}: the password matches none of the {tried} hashes that were tried. Either it is the password of none of these accounts, or the hashes are misread and their users could not sign in."
            )),
        }
    }
    Ok(())
}

/// The beginning of a stored hash, which says its format: `pbkdf2_sha256`, `2y`, `node_scrypt`.
fn name(hash: &PasswordHash) -> String {
    let text = hash.as_str().trim_start_matches('$');
    text.split(['$', ':']).next().unwrap_or_default().to_owned()
}

/// The hash of Node with its salt decoded, in each encoding in which the salt could be written.
fn with_decoded_salt(hash: &PasswordHash) -> Vec<PasswordHash> {
    let parts = hash.as_str().strip_prefix("node_scrypt$").and_then(|rest| rest.split_once(':'));
    let Some((salt, key)) = parts else { return Vec::new() };
    let Ok(key) = hex::decode(key) else { return Vec::new() };
    let key = STANDARD_NO_PAD.encode(key);
    let salts =
        [hex::decode(salt).ok(), STANDARD.decode(salt).ok(), STANDARD_NO_PAD.decode(salt).ok()];
    let hashes = salts.into_iter().flatten().map(|salt| {
        let text = format!("$scrypt$ln=14,r=8,p=1${}${key}", STANDARD_NO_PAD.encode(salt));
        PasswordHash::adopt(&text, HashFormat::Named)
    });
    hashes.flatten().collect()
}

/// The password in the first line of `path`, or of standard input for `-`. `None` if it is missing or not UTF-8; then
/// the reason is printed.
fn password_of(path: &Path) -> anyhow::Result<Option<Zeroizing<String>>> {
    let line = if path.as_os_str() == "-" {
        prompt::first_line(false)?
    } else {
        let file = File::open(path).context("the file with the password cannot be opened")?;
        prompt::read_line(BufReader::new(file), false)?
    };
    let line = line.filter(|line| !line.is_empty());
    if line.is_none() {
        out::problem("There is no password as UTF-8 text in the first line.");
    }
    Ok(line)
}
