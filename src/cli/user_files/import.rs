//! `frontdesk user import`: reads a file line by line and makes accounts, a batch in one transaction. Interrupted at
//! any moment, the same command goes on: who is there already is left alone.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead, BufReader, BufWriter, IsTerminal as _, Write as _, stderr, stdin};

use anyhow::{Context as _, bail};
use serde_json::json;
use sqlx::PgPool;
use time::OffsetDateTime;

use super::columns::Record;
use super::csv::Csv;
use super::import_row::{self, Rules};
use super::jsonl::Jsonl;
use super::lines::Lines;
use crate::audit::Origin;
use crate::cli::arguments::{FileFormat, Import};
use crate::cli::exit::ExitStatus;
use crate::cli::out;
use crate::user::import::{ImportRow, emails_exist, insert_many};

/// Accounts of one transaction: many for a round trip, few for a lock.
const BATCH: usize = 500;
/// Addresses that are remembered to tell a repeated line from somebody who is there already: some 16 MiB.
const MOST_REMEMBERED: usize = 1_000_000;
/// Rejected lines on standard error when a file has all of them.
const MOST_SHOWN: u64 = 10;

#[derive(Default)]
struct Counts {
    made: u64,
    with_password: u64,
    there: u64,
}

struct Waiting {
    line: u64,
    is_repeated: bool,
    newcomer: ImportRow,
}

enum Reader {
    Csv(Box<Csv<Box<dyn BufRead>>>),
    Jsonl(Jsonl<Box<dyn BufRead>>),
}

pub(in crate::cli) async fn run(pool: &PgPool, asked: Import) -> anyhow::Result<ExitStatus> {
    let is_standard = asked.file.as_os_str() == "-";
    let open = || File::open(&asked.file).context("the file cannot be opened");
    let total = if stderr().is_terminal() && !is_standard { lines_of(open()?)? } else { 0 };
    let input: Box<dyn BufRead> = if is_standard {
        Box::new(BufReader::with_capacity(65_536, stdin()))
    } else {
        Box::new(BufReader::with_capacity(65_536, open()?))
    };
    let mut reader = reader(input, asked.format)?;
    let mut rejects = Rejects::new(asked.rejects.as_deref())?;
    let rules = Rules {
        allow_admins: asked.allow_admins,
        hash_format: asked.hash_format.map_or_else(Default::default, Into::into),
        now: OffsetDateTime::now_utc(),
    };
    let mut counts = Counts::default();
    let mut seen = HashSet::new();
    let keys = RandomState::new();
    let mut batch = Vec::with_capacity(BATCH);
    let progress = out::Progress::new(total);
    loop {
        let record = reader.next().context("the file cannot be read")?;
        let is_end = record.is_none();
        if let Some(Record { line, fields }) = record {
            match fields.and_then(|one| import_row::read(&one, &rules).map_err(str::to_owned)) {
                Ok(newcomer) => {
                    let key = keys.hash_one(newcomer.email.canonical());
                    let is_repeated = seen.contains(&key);
                    if !is_repeated && seen.len() < MOST_REMEMBERED {
                        seen.insert(key);
                    }
                    batch.push(Waiting { line, is_repeated, newcomer });
                }
                Err(reason) => rejects.say(line, &reason)?,
            }
            progress.at_times(line);
        }
        if batch.len() == BATCH || (is_end && !batch.is_empty()) {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            store(pool, full, asked.dry_run, &mut counts, &mut rejects)
                .await
                .context("the import stopped halfway; run the same command again to continue")?;
        }
        if is_end {
            break;
        }
    }
    progress.end();
    let rejected = rejects.end()?;
    tell(&asked, &counts, rejected)?;
    Ok(match (rejected, counts.made) {
        (1.., _) => ExitStatus::Failed,
        (0, 0) => ExitStatus::NothingFound,
        (0, 1..) => ExitStatus::Done,
    })
}

async fn store(
    pool: &PgPool,
    batch: Vec<Waiting>,
    is_dry: bool,
    counts: &mut Counts,
    rejects: &mut Rejects,
) -> anyhow::Result<()> {
    let facts: Vec<(u64, bool, bool)> = batch
        .iter()
        .map(|one| (one.line, one.is_repeated, one.newcomer.password_hash.is_some()))
        .collect();
    let made = if is_dry {
        let emails: Vec<_> = batch.iter().map(|one| &one.newcomer.email).collect();
        let there = emails_exist(pool, &emails).await?;
        let repeated = batch.iter().map(|one| one.is_repeated);
        there.into_iter().zip(repeated).map(|(there, repeated)| !there && !repeated).collect()
    } else {
        let newcomers = batch.into_iter().map(|one| one.newcomer).collect();
        insert_many(pool, newcomers, Origin::operator()).await?
    };
    for ((line, is_repeated, has_password), made) in facts.into_iter().zip(made) {
        match (made, is_repeated) {
            (true, _) => {
                counts.made += 1;
                counts.with_password += u64::from(has_password);
            }
            (false, true) => rejects.say(line, "the email is the same as on an earlier line")?,
            (false, false) => counts.there += 1,
        }
    }
    Ok(())
}

fn tell(asked: &Import, counts: &Counts, rejected: u64) -> anyhow::Result<()> {
    let Counts { made, with_password, there } = *counts;
    if asked.json {
        return out::json(&json!({
            "made": made,
            "with_password": with_password,
            "already_there": there,
            "rejected": rejected,
            "dry_run": asked.dry_run,
        }));
    }
    let word = if asked.dry_run { "Would create" } else { "Created" };
    out::line(&format!(
        "{word} {made} account(s), {with_password} of them with a password; {there} already existed, {rejected} line(s) rejected."
    ));
    Ok(())
}

/// What the first bytes say, unless it was said.
fn reader(mut input: Box<dyn BufRead>, format: Option<FileFormat>) -> anyhow::Result<Reader> {
    let first = input.fill_buf().context("the file cannot be read")?;
    if first.starts_with(b"\xFF\xFE") || first.starts_with(b"\xFE\xFF") {
        bail!("the file is UTF-16; save it as UTF-8");
    }
    let text = first.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(first).trim_ascii_start();
    let format = format.unwrap_or(match text.first() {
        Some(b'{') => FileFormat::Jsonl,
        _ => FileFormat::Csv,
    });
    match format {
        FileFormat::Jsonl => Ok(Reader::Jsonl(Jsonl::new(Lines::new(input)))),
        FileFormat::Csv => {
            let csv = Csv::new(Lines::new(input)).context("the file cannot be read")?;
            let csv = csv.map_err(anyhow::Error::msg)?;
            let unknown = csv.unknown();
            if !unknown.is_empty() {
                out::problem(&format!("Ignored unknown column(s): {}.", unknown.join(", ")));
            }
            Ok(Reader::Csv(Box::new(csv)))
        }
    }
}

impl Reader {
    fn next(&mut self) -> std::io::Result<Option<Record>> {
        match self {
            Self::Csv(csv) => csv.next(),
            Self::Jsonl(jsonl) => jsonl.next(),
        }
    }
}

fn lines_of(file: File) -> anyhow::Result<u64> {
    if !file.metadata()?.is_file() {
        return Ok(0);
    }
    let mut input = BufReader::with_capacity(65_536, file);
    let mut lines = 0;
    loop {
        let there = input.fill_buf()?;
        if there.is_empty() {
            return Ok(lines);
        }
        lines += there.iter().filter(|byte| **byte == b'\n').count() as u64;
        let used = there.len();
        input.consume(used);
    }
}

/// Lines that were not taken, each with its reason, and nothing of what stands in it.
struct Rejects {
    file: Option<BufWriter<File>>,
    count: u64,
}

impl Rejects {
    fn new(path: Option<&std::path::Path>) -> anyhow::Result<Self> {
        let create =
            |path| File::create_new(path).context("the file for rejected lines cannot be created");
        let mut file = path.map(create).transpose()?.map(BufWriter::new);
        if let Some(file) = &mut file {
            writeln!(file, "line,reason")?;
        }
        Ok(Self { file, count: 0 })
    }

    fn say(&mut self, line: u64, reason: &str) -> anyhow::Result<()> {
        self.count += 1;
        if let Some(file) = &mut self.file {
            writeln!(file, "{line},{reason}")?;
        }
        if self.file.is_none() || self.count <= MOST_SHOWN {
            out::problem(&format!("Line {line}: {reason}."));
        }
        Ok(())
    }

    fn end(self) -> anyhow::Result<u64> {
        if let Some(mut file) = self.file {
            // A full disk or quota may be reported only when the file is synced.
            file.flush().and_then(|()| file.get_ref().sync_all())?;
            if self.count > MOST_SHOWN {
                out::problem(&format!("And {} more.", self.count - MOST_SHOWN));
            }
        }
        Ok(self.count)
    }
}
