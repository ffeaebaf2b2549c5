//! Computes password hashes: argon2id on dedicated threads, one per core, each with its own reused memory.
//! This bounds memory and CPU use, also when clients disconnect while their password is hashed, and keeps
//! hashing off the HTTP worker threads.
//!
//! A correct password, a wrong one and an unknown account take the same time, to prevent user enumeration by
//! timing. A hash of another system takes longer, until the first sign-in replaces it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::Salt;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::{Choice, ConstantTimeEq as _};
use tokio::sync::oneshot;

pub use super::hash_format::HashFormat;
pub use super::hash_format::HashProblem;
pub use super::phc::HashParameters;
pub use super::phc::PasswordHash;
use super::phc::{Argon2Hash, OUTPUT_BYTES, SALT_BYTES, Stored};
use super::policy::Password;

/// Queued jobs for each thread. At about 25 ms for a hash, the last job waits less than a second.
const QUEUE_PER_THREAD: usize = 32;
/// The result of comparing a password with a stored hash.
#[derive(Debug)]
pub enum Verdict {
    /// The password is correct.
    Match {
        /// A hash with the current parameters, to replace a stored one with others.
        rehash: Option<PasswordHash>,
    },
    /// The password is wrong.
    NoMatch,
}

/// Why hashing failed.
#[derive(Debug, thiserror::Error)]
pub enum HasherError {
    /// The queue is full.
    #[error("the queue for password hashes is full")]
    Busy {
        /// How long to wait before retrying.
        retry_after: Duration,
    },
    /// An unexpected error.
    #[error("a password could not be hashed")]
    Internal(#[source] anyhow::Error),
}

/// The hashing threads and their queue. Clones share them; the threads stop when the last clone is dropped.
#[derive(Clone)]
pub struct Hasher {
    queue: SyncSender<Job>,
    runs: Arc<AtomicU64>,
}

struct Job {
    password: Password,
    task: Task,
    reply: oneshot::Sender<Result<JobOutput, anyhow::Error>>,
}

enum Task {
    Hash,
    Verify(Option<String>),
    #[cfg(test)]
    Panic,
}

enum JobOutput {
    Hash(PasswordHash),
    Verdict(Verdict),
}

impl Hasher {
    /// One thread per core, with a queue of 32 for each.
    pub fn new(parameters: HashParameters) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_limits(parameters, threads, QUEUE_PER_THREAD * threads)
    }

    /// With the given number of threads and length of the queue.
    pub fn with_limits(parameters: HashParameters, threads: usize, queue: usize) -> Self {
        let (sender, receiver) = sync_channel::<Job>(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        let runs = Arc::new(AtomicU64::new(0));
        for number in 0..threads {
            let (receiver, runs) = (Arc::clone(&receiver), Arc::clone(&runs));
            std::thread::Builder::new()
                .name(format!("hasher-{number}"))
                .spawn(move || {
                    // A panic fails only the job that caused it: the thread continues with new memory.
                    let work = || Worker::new(parameters, Arc::clone(&runs)).work(&receiver);
                    while catch_unwind(AssertUnwindSafe(work)).is_err() {}
                })
                .expect("the hashing threads can be started");
        }
        Self { queue: sender, runs }
    }

    /// Hashes a new password.
    pub async fn hash(&self, password: &Password) -> Result<PasswordHash, HasherError> {
        match self.submit(password, Task::Hash).await? {
            JobOutput::Hash(hash) => Ok(hash),
            JobOutput::Verdict(_) => Err(unexpected_output()),
        }
    }

    /// Compares a password with a stored hash. `None` (no such account, or one without a password) takes the
    /// same time.
    pub async fn verify(
        &self,
        password: &Password,
        stored: Option<&str>,
    ) -> Result<Verdict, HasherError> {
        match self.submit(password, Task::Verify(stored.map(str::to_owned))).await? {
            JobOutput::Verdict(verdict) => Ok(verdict),
            JobOutput::Hash(_) => Err(unexpected_output()),
        }
    }

    /// How many hashes were computed since the process started.
    pub fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    async fn submit(&self, password: &Password, task: Task) -> Result<JobOutput, HasherError> {
        let (reply, reply_receiver) = oneshot::channel();
        let job = Job { password: password.clone(), task, reply };
        match self.queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(HasherError::Busy { retry_after: Duration::from_secs(2) });
            }
            Err(TrySendError::Disconnected(_)) => {
                return Err(HasherError::Internal(anyhow::anyhow!(
                    "all hashing threads have stopped"
                )));
            }
        }
        reply_receiver
            .await
            .map_err(|_| HasherError::Internal(anyhow::anyhow!("a hashing thread panicked")))?
            .map_err(HasherError::Internal)
    }
}

fn unexpected_output() -> HasherError {
    HasherError::Internal(anyhow::anyhow!("a hashing thread returned the wrong kind of result"))
}

struct Worker {
    parameters: HashParameters,
    /// For the hash that is computed for accounts that do not exist.
    dummy_salt: [u8; SALT_BYTES],
    memory: Vec<Block>,
    runs: Arc<AtomicU64>,
}

impl Worker {
    fn new(parameters: HashParameters, runs: Arc<AtomicU64>) -> Self {
        let memory = vec![Block::default(); parameters.params().block_count()];
        Self { parameters, dummy_salt: [7; SALT_BYTES], memory, runs }
    }

    fn work(mut self, receiver: &Mutex<Receiver<Job>>) {
        loop {
            // The lock is held while waiting: one thread waits for the next job, the others for the lock.
            let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = next else { return };
            // The client has disconnected, so its hash is not needed.
            if job.reply.is_closed() {
                continue;
            }
            let done = self.run_task(&job);
            job.reply.send(done).ok();
        }
    }

    fn run_task(&mut self, job: &Job) -> anyhow::Result<JobOutput> {
        match &job.task {
            #[cfg(test)]
            Task::Panic => panic!("for a test"),
            Task::Hash => self.hash(&job.password).map(JobOutput::Hash),
            Task::Verify(stored) => {
                self.verify(&job.password, stored.as_deref()).map(JobOutput::Verdict)
            }
        }
    }

    fn hash(&mut self, password: &Password) -> anyhow::Result<PasswordHash> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt)
            .map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
        let output = self.run_current(password.reveal(), &salt)?;
        let params = self.parameters.params();
        let salt = Salt::new(&salt).map_err(|error| anyhow::anyhow!("no salt: {error}"))?;
        let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
        let encoded =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, &output);
        Ok(PasswordHash(format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${encoded}")))
    }

    fn verify(&mut self, password: &Password, stored: Option<&str>) -> anyhow::Result<Verdict> {
        let known = match stored.map(|text| Stored::parse(text, self.parameters)) {
            Some(Ok(known)) => known,
            nothing => {
                if let Some(Err(problem)) = nothing {
                    tracing::error!(%problem, "a stored password hash cannot be verified");
                }
                for _ in password.forms() {
                    self.compute_dummy_hash(password)?;
                }
                return Ok(Verdict::NoMatch);
            }
        };
        // Every form is compared, even if the first matches, so that the time depends only on the client's
        // input.
        let mut is_match = Choice::from(0);
        let mut is_normalized_match = Choice::from(0);
        for form in password.forms() {
            let is_this = match &known {
                Stored::Argon2(known) => self.run(known, form)?,
                Stored::Foreign(known) => known.matches_password(form),
            };
            is_match |= is_this;
            is_normalized_match |= is_this & Choice::from(u8::from(form == password.reveal()));
        }
        let is_match = bool::from(is_match);
        if known.is_current_format(self.parameters) {
            if is_match && !bool::from(is_normalized_match) {
                return Ok(Verdict::Match { rehash: Some(self.hash(password)?) });
            }
            return Ok(if is_match { Verdict::Match { rehash: None } } else { Verdict::NoMatch });
        }
        // A hash with other parameters costs one more hash with the current ones, whether the password is
        // correct or not.
        if is_match {
            return Ok(Verdict::Match { rehash: Some(self.hash(password)?) });
        }
        self.compute_dummy_hash(password)?;
        Ok(Verdict::NoMatch)
    }

    /// Computes a hash and discards it.
    fn compute_dummy_hash(&mut self, password: &Password) -> anyhow::Result<()> {
        let salt = self.dummy_salt;
        self.run_current(password.reveal(), &salt).map(|_| ())
    }

    fn run_current(&mut self, password: &str, salt: &[u8]) -> anyhow::Result<Vec<u8>> {
        let params = self.parameters.params();
        self.fill(Algorithm::Argon2id, Version::V0x13, &params, password, salt, OUTPUT_BYTES)
    }

    fn run(&mut self, known: &Argon2Hash, password: &str) -> anyhow::Result<Choice> {
        let Argon2Hash { algorithm, version, params, salt, hash, .. } = known;
        let computed = self.fill(*algorithm, *version, params, password, salt, hash.len())?;
        Ok(computed.ct_eq(hash))
    }

    fn fill(
        &mut self,
        algorithm: Algorithm,
        version: Version,
        params: &Params,
        password: &str,
        salt: &[u8],
        length: usize,
    ) -> anyhow::Result<Vec<u8>> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let default_blocks = self.parameters.params().block_count();
        let required_blocks = params.block_count();
        if self.memory.len() < required_blocks {
            self.memory.resize(required_blocks, Block::default());
        }
        let mut output = vec![0; length];
        let argon2 = Argon2::new(algorithm, version, params.clone());
        let done = argon2.hash_password_into_with_memory(
            password.as_bytes(),
            salt,
            &mut output,
            &mut self.memory[..required_blocks],
        );
        if self.memory.len() > default_blocks {
            self.memory.truncate(default_blocks);
            self.memory.shrink_to_fit();
        }
        done.map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    #[tokio::test]
    async fn only_the_correct_password_matches() {
        let hasher = Hasher::with_limits(HashParameters::default(), 1, 4);
        let hash = hasher.hash(&password("a long passphrase")).await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.as_str());
        let right =
            hasher.verify(&password("a long passphrase"), Some(hash.as_str())).await.unwrap();
        assert!(matches!(right, Verdict::Match { rehash: None }));
        for wrong in ["a long passphras", "a long passphrase ", "A long passphrase"] {
            let verdict = hasher.verify(&password(wrong), Some(hash.as_str())).await.unwrap();
            assert!(matches!(verdict, Verdict::NoMatch));
        }
    }

    #[tokio::test]
    async fn unknown_wrong_and_right_cost_the_same_number_of_hashes() {
        let hasher = Hasher::with_limits(HashParameters::default(), 1, 4);
        let hash = hasher.hash(&password("a long passphrase")).await.unwrap();
        let mut spent = Vec::new();
        for (typed, stored) in [
            ("a long passphrase", Some(hash.as_str())),
            ("something else", Some(hash.as_str())),
            ("a long passphrase", None),
            ("a long passphrase", Some("no hash at all")),
        ] {
            let before = hasher.runs();
            hasher.verify(&password(typed), stored).await.unwrap();
            spent.push(hasher.runs() - before);
        }
        assert_eq!(spent, [1, 1, 1, 1]);
    }

    #[tokio::test]
    async fn changed_parameters_give_a_new_hash() {
        let old = Hasher::with_limits(HashParameters::new(12_288, 3, 1).unwrap(), 1, 4);
        let new = Hasher::with_limits(HashParameters::default(), 1, 4);
        let hash = old.hash(&password("a long passphrase")).await.unwrap();
        let verdict =
            new.verify(&password("a long passphrase"), Some(hash.as_str())).await.unwrap();
        let Verdict::Match { rehash: Some(rehash) } = verdict else { panic!("{verdict:?}") };
        assert!(rehash.as_str().contains("m=19456,t=2,p=1"));
    }

    #[tokio::test]
    async fn an_altered_hash_cannot_exhaust_memory_or_time() {
        let hasher = Hasher::with_limits(HashParameters::default(), 1, 4);
        for bomb in [
            "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$3zp2DpWvDTOmK5ZWM6yBPnMQhP1MfNnKSnAFhdOYUY0",
            "$argon2id$v=19$m=19456,t=4000000,p=1$c29tZXNhbHRzb21lc2FsdA$3zp2DpWvDTOmK5ZWM6yBPnMQhP1MfNnKSnAFhdOYUY0",
            "$argon2id$v=19$m=131072,t=9,p=1$c29tZXNhbHRzb21lc2FsdA$3zp2DpWvDTOmK5ZWM6yBPnMQhP1MfNnKSnAFhdOYUY0",
            "$argon2x$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$3zp2DpWvDTOmK5ZWM6yBPnMQhP1MfNnKSnAFhdOYUY0",
        ] {
            let verdict = hasher.verify(&password("a long passphrase"), Some(bomb)).await.unwrap();
            assert!(matches!(verdict, Verdict::NoMatch));
        }
    }

    #[tokio::test]
    async fn a_panic_fails_one_job_and_stops_no_thread() {
        let hasher = Hasher::with_limits(HashParameters::default(), 2, 16);
        let typed = password("a long passphrase");
        for _ in 0..8 {
            let failed = hasher.submit(&typed, Task::Panic).await;
            assert!(matches!(failed, Err(HasherError::Internal(_))));
        }
        let jobs = (0..8).map(|_| {
            let (hasher, typed) = (hasher.clone(), typed.clone());
            tokio::spawn(async move { hasher.verify(&typed, None).await })
        });
        for job in jobs.collect::<Vec<_>>() {
            assert!(matches!(job.await.unwrap(), Ok(Verdict::NoMatch)));
        }
        // Each thread holds two references (its closure and its worker), and the hasher one.
        assert_eq!(Arc::strong_count(&hasher.runs) - 1, 2 * 2, "both threads work");
    }

    #[tokio::test]
    async fn a_full_queue_is_reported_immediately() {
        let hasher = Hasher::with_limits(HashParameters::default(), 1, 1);
        let jobs = (0..8).map(|_| {
            let hasher = hasher.clone();
            tokio::spawn(async move { hasher.verify(&password("a long passphrase"), None).await })
        });
        let mut busy = 0;
        for job in jobs.collect::<Vec<_>>() {
            if matches!(job.await.unwrap(), Err(HasherError::Busy { .. })) {
                busy += 1;
            }
        }
        assert!((5..=7).contains(&busy), "{busy}");
    }
}
