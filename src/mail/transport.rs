//! Where mail goes: to a mail server, into a folder, or nowhere.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::compose::Composed;
use super::smtp::{Failure, Smtp, Stage};
use crate::config::{Mail, MailTransport};

/// Where mail goes.
pub enum Transport {
    /// Nowhere; the outbox keeps it.
    Kept,
    /// A folder of `.eml` files, readable by us alone: links in them open things.
    Folder(PathBuf),
    /// A mail server.
    Smtp(Smtp),
}

impl Transport {
    /// From the settings; `public_host` is how we greet a server.
    pub fn new(settings: &Mail, public_host: &str) -> anyhow::Result<Self> {
        Ok(match &settings.transport {
            MailTransport::Kept => Transport::Kept,
            MailTransport::Folder(folder) => Transport::Folder(folder.clone()),
            MailTransport::Smtp(url) => {
                let authority = settings.authority.as_deref().map(str::as_bytes);
                Transport::Smtp(Smtp::new(url.reveal(), authority, public_host)?)
            }
        })
    }

    /// Lets `mail` go; `id` is its row.
    pub async fn send(&self, id: Uuid, mail: &Composed) -> Result<(), Failure> {
        match self {
            Transport::Kept => Ok(()),
            Transport::Smtp(smtp) => smtp.send(mail).await,
            Transport::Folder(folder) => {
                write(folder, id, &mail.bytes).await.map_err(|error| Failure {
                    is_permanent: false,
                    stage: Stage::Content,
                    code: None,
                    said: format!("{} cannot be written to ({error})", folder.display()),
                })
            }
        }
    }

    /// Whether mail could go just now; sends none.
    pub async fn probe(&self) -> anyhow::Result<String> {
        match self {
            Transport::Kept => Ok("Kept in the database; nothing is sent.".to_owned()),
            Transport::Folder(folder) => {
                make(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
                let probe = folder.join(format!(".{}", Uuid::new_v4()));
                tokio::fs::write(&probe, b"")
                    .await
                    .with_context(|| format!("{} cannot be written to", folder.display()))?;
                tokio::fs::remove_file(&probe).await.ok();
                Ok(format!("Written to {}, an .eml file each.", folder.display()))
            }
            Transport::Smtp(smtp) => match smtp.probe().await {
                Ok(()) => Ok(format!("The mail server answers ({}).", smtp.described())),
                Err(failure) => {
                    let hint = match failure.stage {
                        Stage::Connection => "Check host and port in FRONTDESK_SMTP_URL",
                        Stage::Encryption => {
                            "Nothing is sent without TLS and a certificate for that name. Use smtps:// where TLS begins at once (port 465), smtp:// for STARTTLS (port 587), FRONTDESK_SMTP_CA_FILE for an authority of your own"
                        }
                        _ => "Check user and password in FRONTDESK_SMTP_URL",
                    };
                    anyhow::bail!(
                        "the mail server ({}) does not take mail: {failure}. {hint}",
                        smtp.described()
                    )
                }
            },
        }
    }
}

/// The same mail has the same name, so that a second attempt leaves no second file; and is there whole or not at all.
async fn write(folder: &Path, id: Uuid, bytes: &[u8]) -> io::Result<()> {
    make(folder)?;
    let unfinished = folder.join(format!(".{id}"));
    let mut options = tokio::fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished).await?;
    file.write_all(bytes).await?;
    file.sync_all().await?;
    tokio::fs::rename(&unfinished, folder.join(format!("{id}.eml"))).await
}

fn make(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
