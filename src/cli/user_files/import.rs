//! `frontdesk user import`: reads a file line by line and creates accounts, one transaction per batch. After
//! an interruption the same command can be run again: existing accounts are left unchanged.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead, BufReader, BufWriter, IsTerminal as _, Write as _, stderr, stdin};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::json;
use sqlx::PgPool;
use time::OffsetDateTime;

use super::check;
use super::columns::Record;
use super::csv::{Csv, quote};
use super::import_row::{self, Rules};
use super::jsonl::Jsonl;
use super::lines::Lines;
use crate::cli::arguments::{FileFormat, Import};
use crate::cli::exit::ExitStatus;
use crate::cli::operator::operator;
use crate::cli::out;
use crate::config::Config;
use crate::db;
use crate::events::Hooks;
use crate::user::import::{ImportRow, emails_exist, insert_many};

/// Accounts per transaction: enough to save round trips, few enough to hold locks only briefly.
const BATCH_SIZE: usize = 500;
/// The maximum number of emails that are remembered, to distinguish a repeated line from an existing account:
/// about 16 MiB.
const MAX_REMEMBERED: usize = 1_000_000;
/// The maximum number of rejected lines printed to standard error if `--rejects` writes all of them to a
/// file.
const MAX_PRINTED: u64 = 10;

#[derive(Default)]
struct Counts {
    created: u64,
    with_password: u64,
    existing: u64,
}

/// A valid line whose account is not yet inserted.
struct PendingRow {
    line: u64,
    is_repeated: bool,
    row: ImportRow,
}

enum RowReader {
    Csv(Box<Csv<Box<dyn BufRead>>>),
    Jsonl(Jsonl<Box<dyn BufRead>>),
}

/// Hashes of the emails of earlier lines.
#[derive(Default)]
struct SeenEmails {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl SeenEmails {
    /// Returns whether an earlier line has the same email, and remembers `canonical_email`.
    fn is_repeated(&mut self, canonical_email: &str) -> bool {
        let hash = self.hasher.hash_one(canonical_email);
        let is_repeated = self.hashes.contains(&hash);
        if !is_repeated && self.hashes.len() < MAX_REMEMBERED {
            self.hashes.insert(hash);
        }
        is_repeated
    }
}

pub(in crate::cli) async fn run(
    config: &Config,
    pool: &PgPool,
    hooks: &Hooks,
    arguments: Import,
) -> anyhow::Result<ExitStatus> {
    let is_stdin = |path: &Path| path.as_os_str() == "-";
    if is_stdin(&arguments.file) && arguments.check.as_deref().is_some_and(is_stdin) {
        out::problem("Standard input cannot be both the file and the password.");
        return Ok(ExitStatus::InvalidUsage);
    }
    let (input, total) = open(&arguments.file)?;
    let mut reader = match reader(input, &arguments)? {
        Ok(reader) => reader,
        Err(reason) => {
            out::problem(&out::sentence(&anyhow::Error::msg(reason)));
            return Ok(ExitStatus::InvalidUsage);
        }
    };
    let rules = Rules {
        allow_admins: arguments.allow_admins,
        hash_format: arguments.hash_format.map_or_else(Default::default, Into::into),
        now: OffsetDateTime::now_utc(),
    };
    if let Some(password_file) = &arguments.check {
        return check::run(config, &rules, || reader.next(), password_file, arguments.json).await;
    }
    let mut rejects = Rejects::new(arguments.rejects.as_deref())?;
    let mut counts = Counts::default();
    let mut seen = SeenEmails::default();
    let mut batch = Vec::with_capacity(BATCH_SIZE);
    let progress = out::Progress::new(total);
    loop {
        let record = reader.next().context("the file cannot be read")?;
        let is_end = record.is_none();
        if let Some(Record { line, fields }) = record {
            match fields.and_then(|one| import_row::read(&one, &rules).map_err(str::to_owned)) {
                Ok(row) => {
                    let is_repeated = seen.is_repeated(row.email.canonical());
                    batch.push(PendingRow { line, is_repeated, row });
                }
                Err(reason) => rejects.add(line, &reason)?,
            }
            if line.is_multiple_of(250) {
                progress.show(line);
            }
        }
        if batch.len() == BATCH_SIZE || (is_end && !batch.is_empty()) {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_SIZE));
            let results = store(pool, hooks, full, arguments.dry_run, &mut counts, &mut rejects);
            results
                .await
                .context("the import stopped halfway; run the same command again to continue")?;
        }
        if is_end {
            break;
        }
    }
    progress.end();
    let rejected = rejects.finish()?;
    report(&arguments, &counts, rejected)?;
    Ok(match (rejected, counts.created) {
        (1.., _) => ExitStatus::Failed,
        (0, 0) => ExitStatus::NothingFound,
        (0, 1..) => ExitStatus::Done,
    })
}

/// Opens the file, or standard input for `-`. Counts its lines if a progress bar is shown; otherwise returns
/// zero.
fn open(path: &Path) -> anyhow::Result<(Box<dyn BufRead>, u64)> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(BufReader::with_capacity(65_536, stdin())), 0));
    }
    let open = || File::open(path).context("the file cannot be opened");
    let total = if stderr().is_terminal() { count_lines(open()?)? } else { 0 };
    Ok((Box::new(BufReader::with_capacity(65_536, open()?)), total))
}

/// Writes a batch, or with `is_dry_run` only checks which of its accounts exist, and counts the results.
async fn store(
    pool: &PgPool,
    hooks: &Hooks,
    batch: Vec<PendingRow>,
    is_dry_run: bool,
    counts: &mut Counts,
    rejects: &mut Rejects,
) -> anyhow::Result<()> {
    let pending: Vec<(u64, bool, bool)> = batch
        .iter()
        .map(|one| (one.line, one.is_repeated, one.row.password_hash.is_some()))
        .collect();
    let created = if is_dry_run {
        let emails: Vec<_> = batch.iter().map(|one| &one.row.email).collect();
        let existing = emails_exist(pool, &emails).await?;
        let repeated = batch.iter().map(|one| one.is_repeated);
        let checked = existing.into_iter().zip(repeated);
        checked.map(|(exists, repeated)| Ok(!exists && !repeated)).collect()
    } else {
        insert(pool, hooks, batch.into_iter().map(|one| one.row).collect()).await?
    };
    for ((line, is_repeated, has_password), created) in pending.into_iter().zip(created) {
        match (created, is_repeated) {
            (Ok(true), _) => {
                counts.created += 1;
                counts.with_password += u64::from(has_password);
            }
            (Ok(false), true) => {
                rejects.add(line, "the email is the same as on an earlier line")?;
            }
            (Ok(false), false) => counts.existing += 1,
            (Err(reason), _) => rejects.add(line, &reason)?,
        }
    }
    Ok(())
}

/// Inserts the rows of a batch and returns for each whether its account was created, or why it cannot be. If the
/// database or a hook of the site refuses the batch, for example because of a trigger, the rows are inserted one by one.
async fn insert(
    pool: &PgPool,
    hooks: &Hooks,
    rows: Vec<ImportRow>,
) -> sqlx::Result<Vec<Result<bool, String>>> {
    match insert_many(pool, hooks, rows.clone(), operator()).await {
        Ok(created) => return Ok(created.into_iter().map(Ok).collect()),
        Err(error) if db::is_unavailable(&error) => return Err(error),
        Err(_) => {}
    }
    let mut results = Vec::with_capacity(rows.len());
    for row in rows {
        results.push(match insert_many(pool, hooks, vec![row], operator()).await {
            Ok(created) => Ok(created == [true]),
            Err(error) if db::is_unavailable(&error) => return Err(error),
            Err(error) if db::is_hook_failure(&error) => Err(db::explain(&error.into())),
            Err(error) => Err(format!("the database refuses it: {}", db::explain(&error.into()))),
        });
    }
    Ok(results)
}

fn report(arguments: &Import, counts: &Counts, rejected: u64) -> anyhow::Result<()> {
    let Counts { created, with_password, existing } = *counts;
    if arguments.json {
        return out::json(&json!({
            "made": created,
            "with_password": with_password,
            "already_there": existing,
            "rejected": rejected,
            "dry_run": arguments.dry_run,
        }));
    }
    let verb = if arguments.dry_run { "Would create" } else { "Created" };
    out::line(&format!(
        "{verb} {created} account(s), {with_password} of them with a password; {existing} already existed, {rejected} line(s) rejected."
    ));
    Ok(())
}

/// A reader for the format of `arguments`, or for the format that the first bytes indicate. The inner `Err`
/// says why the columns of the file are refused.
fn reader(
    mut input: Box<dyn BufRead>,
    arguments: &Import,
) -> anyhow::Result<Result<RowReader, String>> {
    let first = input.fill_buf().context("the file cannot be read")?;
    if first.starts_with(b"\xFF\xFE") || first.starts_with(b"\xFE\xFF") {
        bail!("the file is UTF-16; save it as UTF-8");
    }
    let text = first.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(first).trim_ascii_start();
    let format = arguments.format.unwrap_or(match text.first() {
        Some(b'{') => FileFormat::Jsonl,
        _ => FileFormat::Csv,
    });
    match format {
        FileFormat::Jsonl => {
            Ok(Ok(RowReader::Jsonl(Jsonl::new(Lines::new(input), &arguments.ignore))))
        }
        FileFormat::Csv => {
            let csv = Csv::new(Lines::new(input), &arguments.ignore)
                .context("the file cannot be read")?;
            let csv = match csv {
                Ok(csv) => csv,
                Err(reason) => return Ok(Err(reason)),
            };
            let unknown = csv.unknown_columns();
            if !unknown.is_empty() {
                out::problem(&format!("Ignored unknown column(s): {}.", unknown.join(", ")));
            }
            Ok(Ok(RowReader::Csv(Box::new(csv))))
        }
    }
}

impl RowReader {
    fn next(&mut self) -> std::io::Result<Option<Record>> {
        match self {
            Self::Csv(csv) => csv.next(),
            Self::Jsonl(jsonl) => jsonl.next(),
        }
    }
}

fn count_lines(file: File) -> anyhow::Result<u64> {
    if !file.metadata()?.is_file() {
        return Ok(0);
    }
    let mut input = BufReader::with_capacity(65_536, file);
    let mut lines = 0;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(lines);
        }
        lines += buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
        let used = buffer.len();
        input.consume(used);
    }
}

/// Reports rejected lines by number and reason, without their content.
struct Rejects {
    file: Option<BufWriter<File>>,
    count: u64,
}

impl Rejects {
    fn new(path: Option<&Path>) -> anyhow::Result<Self> {
        let create =
            |path| File::create_new(path).context("the file for rejected lines cannot be created");
        let mut file = path.map(create).transpose()?.map(BufWriter::new);
        if let Some(file) = &mut file {
            writeln!(file, "line,reason")?;
        }
        Ok(Self { file, count: 0 })
    }

    fn add(&mut self, line: u64, reason: &str) -> anyhow::Result<()> {
        self.count += 1;
        if let Some(file) = &mut self.file {
            writeln!(file, "{line},{}", quote(reason.to_owned()))?;
        }
        if self.file.is_none() || self.count <= MAX_PRINTED {
            out::problem(&format!("Line {line}: {reason}."));
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<u64> {
        if let Some(mut file) = self.file {
            // A full disk or quota may be reported only when the file is synced.
            file.flush().and_then(|()| file.get_ref().sync_all())?;
            if self.count > MAX_PRINTED {
                out::problem(&format!("And {} more.", self.count - MAX_PRINTED));
            }
        }
        Ok(self.count)
    }
}
