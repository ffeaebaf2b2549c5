//! The destination of mail: a mail server, a folder, or none.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::Context as _;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::mime::ComposedMail;
use super::send_error::{SendError, Stage};
use super::severity::Severity;
use super::smtp::Smtp;
use crate::config::{Mail, MailTransport};
use crate::durable;

/// Size of the file that [`Transport::probe`] writes, in bytes. Mails are smaller.
const PROBE_LENGTH: usize = 64 * 1024;

/// The destination of mail.
pub enum Transport {
    /// None: the outbox keeps the mail.
    OutboxOnly,
    /// A folder of `.eml` files. Only this process's user can read them, because they contain tokens.
    Folder(PathBuf),
    /// A mail server.
    Smtp(Smtp),
}

impl Transport {
    /// Reads the settings. `public_host` is the name in EHLO.
    pub fn new(settings: &Mail, public_host: &str) -> anyhow::Result<Self> {
        Ok(match &settings.transport {
            MailTransport::OutboxOnly => Transport::OutboxOnly,
            MailTransport::Folder(folder) => Transport::Folder(folder.clone()),
            MailTransport::Smtp(url) => {
                let authority = settings.ca_certificates.as_deref().map(str::as_bytes);
                Transport::Smtp(Smtp::new(url.reveal(), authority, public_host)?)
            }
        })
    }

    /// Sends `mail`, which is outbox row `id`.
    pub async fn send(&self, id: Uuid, mail: &ComposedMail) -> Result<(), SendError> {
        match self {
            Transport::OutboxOnly => Ok(()),
            Transport::Smtp(smtp) => smtp.send(mail).await,
            Transport::Folder(folder) => {
                write(folder, id, &mail.bytes).await.map_err(|error| SendError {
                    severity: Severity::Transient,
                    stage: Stage::Content,
                    code: None,
                    message: format!("{} cannot be written to ({error})", folder.display()),
                })
            }
        }
    }

    /// The folder of [`Transport::Folder`], if it is missing. Sending the first mail creates it.
    pub fn missing_folder(&self) -> Option<&Path> {
        match self {
            Transport::Folder(folder) if !folder.exists() => Some(folder),
            _ => None,
        }
    }

    /// Checks whether mail can be sent, without sending any. Returns a description of the destination.
    pub async fn probe(&self) -> anyhow::Result<String> {
        match self {
            Transport::OutboxOnly => Ok("Kept in the database; nothing is sent.".to_owned()),
            Transport::Folder(folder) => {
                probe(folder)
                    .await
                    .with_context(|| format!("{} cannot be written to", folder.display()))?;
                Ok(format!("Written to {}, one .eml file per mail.", folder.display()))
            }
            Transport::Smtp(smtp) => match smtp.probe().await {
                Ok(()) => Ok(format!("The mail server is reachable ({}).", smtp.description())),
                Err(failure) => {
                    let hint = match failure.stage {
                        Stage::Connection => "Check host and port in FRONTDESK_SMTP_URL",
                        Stage::Encryption => {
                            "Mail is sent only over TLS with a valid certificate for that host. Use smtps:// for implicit TLS (port 465), smtp:// for STARTTLS (port 587), and FRONTDESK_SMTP_CA_FILE for a private certificate authority"
                        }
                        _ => "Check user and password in FRONTDESK_SMTP_URL",
                    };
                    anyhow::bail!(
                        "the mail server ({}) does not accept mail: {failure}. {hint}",
                        smtp.description()
                    )
                }
            },
        }
    }
}

/// Returns once the mail survives a power failure. The name depends only on the id, so that a second attempt
/// replaces the file of the first. The unfinished file has its own name for each attempt, because another
/// server may write the same mail after the lease has expired.
async fn write(folder: &Path, id: Uuid, bytes: &[u8]) -> io::Result<()> {
    let (folder, bytes) = (folder.to_owned(), bytes.to_owned());
    blocking(move || {
        durable::create_folder(&folder, 0o700)?;
        let unfinished = folder.join(format!(".{id}.{}", Uuid::new_v4()));
        durable::replace(&folder.join(format!("{id}.eml")), &unfinished, 0o600, &bytes)
    })
    .await
}

/// Writes and removes a file that is as large as a mail, so that a full disk is noticed.
async fn probe(folder: &Path) -> io::Result<()> {
    let folder = folder.to_owned();
    blocking(move || {
        durable::create_folder(&folder, 0o700)?;
        let path = folder.join(format!(".{}", Uuid::new_v4()));
        durable::create(&path, 0o600, &vec![b'.'; PROBE_LENGTH])?;
        fs::remove_file(&path)?;
        durable::sync_folder(&folder)
    })
    .await
}

/// Runs file operations on a thread that may block. tokio's own `File` reports an error of a write only to
/// the next operation and not to `sync_all`, so that a failed last write would be lost.
async fn blocking<F>(work: F) -> io::Result<()>
where
    F: FnOnce() -> io::Result<()> + Send + 'static,
{
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
