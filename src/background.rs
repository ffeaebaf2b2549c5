//! Background jobs: named tasks that run alongside the server until they are canceled. A job that panics or
//! returns early is restarted with exponential backoff; other jobs are not affected. [`Jobs`] reports which
//! jobs run and how often each was restarted.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The delay before the first of consecutive restarts. It doubles with each further one.
const FIRST_RESTART_DELAY: Duration = Duration::from_secs(1);
const MAX_RESTART_DELAY: Duration = Duration::from_secs(60);
/// If a job ran at least this long before it ended, the delay is reset to [`FIRST_RESTART_DELAY`].
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

/// The names of Frontdesk's jobs. A job of a site has another one.
pub const OWN_JOBS: [&str; 11] = [
    "event_delivery",
    "housekeeping",
    "last_seen",
    "mail_delivery",
    "metrics",
    "recovery_mail",
    "registration_mail",
    "servers",
    "session_notifications",
    "session_purge",
    "session_watch",
];

/// The status of every job of this process. Clones share it.
#[derive(Clone, Default)]
pub struct Jobs(Arc<Mutex<BTreeMap<&'static str, JobStatus>>>);

/// The status of one job.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobStatus {
    /// `false`: the job ended and will be restarted.
    pub is_running: bool,
    /// The number of restarts so far.
    pub restarts: u64,
    restarted_at: Option<Instant>,
}

impl JobStatus {
    fn was_restarted_recently(&self) -> bool {
        self.restarted_at.is_some_and(|at| at.elapsed() < RECOVERED_AFTER)
    }
}

impl Jobs {
    /// Every job, by name.
    pub fn all(&self) -> BTreeMap<&'static str, JobStatus> {
        self.lock().clone()
    }

    /// `ok`, or the names of the jobs that are not running and of those that were restarted within the last
    /// minute.
    pub fn summary(&self) -> String {
        let (mut not_running, mut restarted) = (Vec::new(), Vec::new());
        for (name, job) in self.all() {
            if !job.is_running {
                not_running.push(name);
            } else if job.was_restarted_recently() {
                restarted.push(name);
            }
        }
        let parts: Vec<String> = [("not running", not_running), ("restarted", restarted)]
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(status, names)| format!("{status}: {}", names.join(", ")))
            .collect();
        if parts.is_empty() { "ok".to_owned() } else { parts.join("; ") }
    }

    fn set_started(&self, name: &'static str) {
        self.lock().entry(name).or_default().is_running = true;
    }

    fn set_ended(&self, name: &'static str) {
        self.lock().entry(name).or_default().is_running = false;
    }

    fn set_restarted(&self, name: &'static str) {
        let mut jobs = self.lock();
        let job = jobs.entry(name).or_default();
        job.is_running = true;
        job.restarts += 1;
        job.restarted_at = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, JobStatus>> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs jobs and stops them. Dropping it cancels them without waiting.
pub struct JobRunner {
    cancel: DropGuard,
    tasks: Vec<JoinHandle<()>>,
    jobs: Jobs,
}

impl JobRunner {
    /// A runner without jobs. Their status is kept in `jobs`.
    pub fn new(jobs: Jobs) -> Self {
        Self { cancel: CancellationToken::new().drop_guard(), tasks: Vec::new(), jobs }
    }

    /// Runs the job that `start` returns. The job must return soon after its token is canceled. If it returns
    /// earlier, it is restarted.
    pub fn run<F, R>(&mut self, name: &'static str, start: F)
    where
        F: FnMut(CancellationToken) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.jobs.set_started(name);
        let token = self.cancel.token().clone();
        self.tasks.push(tokio::spawn(keep_running(name, self.jobs.clone(), token, start)));
    }

    /// Runs `round` immediately, then again after each `interval`. Up to a tenth is added at random, so that
    /// servers that were started together do not run it at the same time. [`JobRunner::stop`] waits for the
    /// current round.
    pub fn run_every<F, R>(&mut self, name: &'static str, interval: Duration, round: F)
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.run_every_or_notified(name, interval, Arc::default(), round);
    }

    /// Like [`JobRunner::run_every`], but [`JobRunner::stop`] interrupts the current round at its next await.
    /// For rounds that may take hours and consist of steps that complete on their own (a task, a
    /// transaction).
    pub fn run_every_interruptible<F, R>(
        &mut self,
        name: &'static str,
        interval: Duration,
        round: F,
    ) where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let round = Arc::new(round);
        self.run(name, move |token| {
            let round = Arc::clone(&round);
            async move {
                let rounds = async {
                    loop {
                        round().await;
                        sleep(with_jitter(interval)).await;
                    }
                };
                token.run_until_cancelled(rounds).await;
            }
        });
    }

    /// Like [`JobRunner::run_every`], and runs a round immediately after `notify_one` is called on `notify`.
    pub fn run_every_or_notified<F, R>(
        &mut self,
        name: &'static str,
        interval: Duration,
        notify: Arc<Notify>,
        round: F,
    ) where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let round = Arc::new(round);
        self.run(name, move |token| {
            let (round, notify) = (Arc::clone(&round), Arc::clone(&notify));
            async move {
                loop {
                    round().await;
                    tokio::select! {
                        () = notify.notified() => {}
                        () = sleep(with_jitter(interval)) => {}
                        () = token.cancelled() => return,
                    }
                }
            }
        });
    }

    /// Cancels all jobs and waits until they have returned.
    pub async fn stop(self) {
        drop(self.cancel);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a background job did not stop normally");
            }
        }
    }
}

/// Restarts the job whenever it ends before `token` is canceled. The panic hook logs the panic itself.
async fn keep_running<F, R>(name: &'static str, jobs: Jobs, token: CancellationToken, mut start: F)
where
    F: FnMut(CancellationToken) -> R,
    R: Future<Output = ()>,
{
    let mut last_delay = None;
    loop {
        let started_at = Instant::now();
        let job = async { start(token.clone()).await };
        let has_panicked = AssertUnwindSafe(job).catch_unwind().await.is_err();
        if token.is_cancelled() {
            return;
        }
        jobs.set_ended(name);
        let delay = restart_delay(last_delay, started_at.elapsed());
        let seconds = delay.as_secs();
        tracing::error!(
            job = name,
            has_panicked,
            seconds,
            "a background job ended; it will be restarted"
        );
        if token.run_until_cancelled(sleep(delay)).await.is_none() {
            return;
        }
        last_delay = Some(delay);
        jobs.set_restarted(name);
    }
}

/// The delay before the next restart. `last` is the previous delay, and `ran_for` is how long the job ran
/// after it.
fn restart_delay(last: Option<Duration>, ran_for: Duration) -> Duration {
    match last {
        Some(last) if ran_for < RECOVERED_AFTER => (last * 2).min(MAX_RESTART_DELAY),
        _ => FIRST_RESTART_DELAY,
    }
}

fn with_jitter(interval: Duration) -> Duration {
    interval + interval.mul_f64(jitter() / 10.0)
}

/// A random number from 0 to 1.
pub fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    async fn wait_until(mut condition: impl FnMut() -> bool) {
        let started_at = Instant::now();
        while !condition() {
            assert!(
                started_at.elapsed() < Duration::from_secs(30),
                "the condition was not met within 30 s"
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_job_that_panics_is_restarted_and_the_others_continue() {
        let jobs = Jobs::default();
        let mut runner = JobRunner::new(jobs.clone());
        let (broken, healthy) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&broken);
        runner.run_every("broken", Duration::from_millis(1), move || {
            let round = count.fetch_add(1, Ordering::Relaxed);
            async move { assert_ne!(round, 3, "the fourth round panics") }
        });
        let count = Arc::clone(&healthy);
        runner.run_every_interruptible("healthy", Duration::from_millis(1), move || {
            count.fetch_add(1, Ordering::Relaxed);
            async {}
        });
        assert_eq!(jobs.summary(), "ok");
        wait_until(|| jobs.summary() == "not running: broken").await;
        assert_eq!(broken.load(Ordering::Relaxed), 4);
        let before = healthy.load(Ordering::Relaxed);
        wait_until(|| healthy.load(Ordering::Relaxed) > before + 10).await;
        wait_until(|| jobs.summary() == "restarted: broken").await;
        wait_until(|| broken.load(Ordering::Relaxed) > 10).await;
        assert_eq!((jobs.all()["broken"].restarts, jobs.all()["healthy"].restarts), (1, 0));
        runner.stop().await;
    }

    #[tokio::test]
    async fn every_kind_of_job_is_restarted_after_a_panic() {
        let jobs = Jobs::default();
        let mut runner = JobRunner::new(jobs.clone());
        // Each panics once: while it is started, in its first round, or after an await in it.
        let rounds: [Arc<AtomicU64>; 5] = std::array::from_fn(|_| Arc::default());
        let panics_first = |number: usize| {
            let count = Arc::clone(&rounds[number]);
            move || assert!(count.fetch_add(1, Ordering::Relaxed) > 0, "the first one panics")
        };
        let interval = Duration::from_millis(1);
        let start = panics_first(0);
        runner.run("started", move |token| {
            start();
            async move { token.cancelled().await }
        });
        let job = Arc::new(panics_first(1));
        runner.run("job", move |token| {
            let job = Arc::clone(&job);
            async move {
                tokio::task::yield_now().await;
                job();
                token.cancelled().await;
            }
        });
        let round = Arc::new(panics_first(2));
        runner.run_every("every", interval, move || {
            let round = Arc::clone(&round);
            async move { round() }
        });
        let round = Arc::new(panics_first(3));
        runner.run_every_interruptible("interruptible", interval, move || {
            let round = Arc::clone(&round);
            async move { round() }
        });
        let round = Arc::new(panics_first(4));
        runner.run_every_or_notified("notified", interval, Arc::default(), move || {
            let round = Arc::clone(&round);
            async move { round() }
        });
        wait_until(|| jobs.all().values().all(|job| job.is_running && job.restarts == 1)).await;
        wait_until(|| rounds.iter().all(|count| count.load(Ordering::Relaxed) > 1)).await;
        runner.stop().await;
    }

    #[tokio::test]
    async fn a_job_that_returns_before_it_is_canceled_is_restarted() {
        let jobs = Jobs::default();
        let mut runner = JobRunner::new(jobs.clone());
        let starts = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&starts);
        runner.run("short", move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            async {}
        });
        wait_until(|| jobs.all()["short"].restarts == 1).await;
        wait_until(|| starts.load(Ordering::Relaxed) == 2).await;
        runner.stop().await;
    }

    #[tokio::test]
    async fn a_job_that_waits_for_its_restart_does_not_delay_the_stop() {
        let jobs = Jobs::default();
        let mut runner = JobRunner::new(jobs.clone());
        // The delay before the third restart is four seconds.
        runner.run("broken", |_| async { panic!("always") });
        wait_until(|| jobs.all()["broken"].restarts == 2 && !jobs.all()["broken"].is_running).await;
        let started_at = Instant::now();
        runner.stop().await;
        assert!(started_at.elapsed() < Duration::from_secs(3), "{:?}", started_at.elapsed());
    }

    #[test]
    fn the_restart_delay_doubles_up_to_a_minute_and_is_reset_after_a_minute_of_work() {
        let immediately = Duration::ZERO;
        let mut delays = vec![restart_delay(None, immediately)];
        for _ in 0..7 {
            delays.push(restart_delay(delays.last().copied(), immediately));
        }
        let seconds: Vec<u64> = delays.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(restart_delay(Some(MAX_RESTART_DELAY), RECOVERED_AFTER), FIRST_RESTART_DELAY);
        assert_eq!(restart_delay(None, Duration::from_secs(3_600)), FIRST_RESTART_DELAY);
    }
}
