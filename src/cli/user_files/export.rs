//! `frontdesk user export`: writes all users in the format that `user import` reads. Password hashes are
//! included only on request, because anyone who has the file can attack them offline.

use std::fs::{File, OpenOptions, remove_file};
use std::io::{self, BufWriter, IsTerminal as _, Write, stdout};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value};
use sqlx::PgPool;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

use super::columns::{COLUMNS, Column};
use super::csv;
use crate::cli::arguments::{Export, FileFormat};
use crate::cli::exit::ExitStatus;
use crate::cli::out;
use crate::durable;
use crate::id::UserId;
use crate::user::{User, users};

/// Users per query.
const PAGE_SIZE: i64 = 1_000;

pub(in crate::cli) async fn run(pool: &PgPool, arguments: Export) -> anyhow::Result<ExitStatus> {
    let path = arguments.file.as_deref().filter(|path| path.as_os_str() != "-");
    let format = arguments.format.unwrap_or_else(|| {
        let extension = path.and_then(|path| path.extension()?.to_str());
        match extension {
            Some("jsonl" | "ndjson" | "json") => FileFormat::Jsonl,
            _ => FileFormat::Csv,
        }
    });
    let count = match path {
        Some(path) => to_file(pool, path, format, arguments.with_hashes).await?,
        None => to_stdout(pool, format, arguments.with_hashes).await?,
    };
    Ok(if count == Some(0) { ExitStatus::NothingFound } else { ExitStatus::Done })
}

/// Returns the number of users; `None` if the reader closed the pipe (`| head`).
async fn to_stdout(
    pool: &PgPool,
    format: FileFormat,
    with_hashes: bool,
) -> anyhow::Result<Option<u64>> {
    if with_hashes && stdout().is_terminal() {
        out::problem(
            "Warning: this prints password hashes, and your terminal may keep them in its scrollback.",
        );
    }
    match write(pool, stdout().lock(), format, with_hashes).await {
        Err(error) if is_broken_pipe(&error) => Ok(None),
        count => count.map(Some),
    }
}

/// Returns the number of users.
async fn to_file(
    pool: &PgPool,
    path: &Path,
    format: FileFormat,
    with_hashes: bool,
) -> anyhow::Result<Option<u64>> {
    // Never replaces an existing file. Readable only by its owner.
    let created: io::Result<File> =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = created.context("the file cannot be created")?;
    let written = match write(pool, &file, format, with_hashes).await {
        Ok(count) => sync(&file, path).map(|()| count),
        Err(error) => Err(error),
    };
    if written.is_err() {
        remove_file(path).ok();
    }
    let count = written?;
    let hashes = if with_hashes { "with" } else { "without" };
    out::line(&format!("Wrote {count} account(s), {hashes} password hashes."));
    Ok(Some(count))
}

/// Syncs the file and its folder. A full disk or quota may be reported only when the file is synced.
fn sync(file: &File, path: &Path) -> anyhow::Result<()> {
    file.sync_all()?;
    Ok(durable::sync_folder(durable::parent(path))?)
}

async fn write(
    pool: &PgPool,
    output: impl Write,
    format: FileFormat,
    with_hashes: bool,
) -> anyhow::Result<u64> {
    let mut output = BufWriter::new(output);
    let columns: Vec<(Column, &str)> = COLUMNS
        .into_iter()
        .filter(|(column, _)| match column {
            Column::PasswordHash => with_hashes,
            Column::HashFormat => false,
            _ => true,
        })
        .collect();
    if format == FileFormat::Csv {
        let names: Vec<&str> = columns.iter().map(|(_, name)| *name).collect();
        writeln!(output, "{}", names.join(","))?;
    }
    let (mut after, mut count) = (UserId::from(Uuid::nil()), 0);
    loop {
        let users = users::list_after(pool, after, PAGE_SIZE).await?;
        for user in &users {
            let values =
                columns.iter().map(|(column, name)| (*column, *name, value(user, *column)));
            match format {
                FileFormat::Csv => {
                    let cells: Vec<String> = values
                        .map(|(column, _, value)| {
                            csv::encode(column, value.as_deref().unwrap_or_default())
                        })
                        .collect();
                    writeln!(output, "{}", cells.join(","))?;
                }
                FileFormat::Jsonl => {
                    let object: Map<String, Value> = values
                        .filter_map(|(_, name, value)| Some((name.to_owned(), value?.into())))
                        .collect();
                    writeln!(output, "{}", Value::Object(object))?;
                }
            }
        }
        count += users.len() as u64;
        match users.last() {
            Some(last) => after = last.id,
            None => break,
        }
    }
    output.flush()?;
    Ok(count)
}

fn value(user: &User, column: Column) -> Option<String> {
    match column {
        Column::Email => Some(user.email.clone()),
        Column::DisplayName => Some(user.display_name.clone()),
        Column::Role => Some(user.role.as_str().to_owned()),
        Column::EmailVerified => user.email_verified_at.map(exact),
        Column::CreatedAt => Some(exact(user.created_at)),
        Column::Disabled => user.disabled_at.map(exact),
        Column::DeletionDueAt => user.deletion_due_at.map(exact),
        Column::PasswordChangedAt => user.password_changed_at.map(exact),
        Column::PasswordHash => user.password_hash.clone(),
        Column::HashFormat => None,
    }
}

/// RFC 3339 with microseconds, the resolution of the database.
fn exact(then: OffsetDateTime) -> String {
    then.to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
