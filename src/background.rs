//! Background jobs: named tasks that run beside the server until they receive a stop signal. A job that panics, or ends
//! before the signal, is restarted after a pause that grows; the other jobs are not affected. [`Jobs`] reports which jobs
//! run and how often each was restarted.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The pause before a restart doubles from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A job that ran this long since it was started has recovered: the next pause is the first again.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

/// The status of every job of this process. Clones share it.
#[derive(Clone, Default)]
pub struct Jobs(Arc<Mutex<BTreeMap<&'static str, JobStatus>>>);

/// The status of one job.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobStatus {
    /// `false`: it waits to be restarted.
    pub is_running: bool,
    /// How often it was restarted.
    pub restarts: u64,
    restarted_at: Option<Instant>,
}

impl JobStatus {
    fn was_restarted_lately(&self) -> bool {
        self.restarted_at.is_some_and(|at| at.elapsed() < RECOVERED_AFTER)
    }
}

impl Jobs {
    /// Every job, by name.
    pub fn all(&self) -> BTreeMap<&'static str, JobStatus> {
        self.lock().clone()
    }

    /// `ok`, or the names of the jobs that do not run, and of those that were restarted within the last minute.
    pub fn summary(&self) -> String {
        let (mut not_running, mut restarted) = (Vec::new(), Vec::new());
        for (name, job) in self.all() {
            if !job.is_running {
                not_running.push(name);
            } else if job.was_restarted_lately() {
                restarted.push(name);
            }
        }
        let parts: Vec<String> = [("not running", not_running), ("restarted", restarted)]
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        if parts.is_empty() { "ok".to_owned() } else { parts.join("; ") }
    }

    fn started(&self, name: &'static str) {
        self.lock().entry(name).or_default().is_running = true;
    }

    fn ended(&self, name: &'static str) {
        self.lock().entry(name).or_default().is_running = false;
    }

    fn restarted(&self, name: &'static str) {
        let mut jobs = self.lock();
        let job = jobs.entry(name).or_default();
        job.is_running = true;
        job.restarts += 1;
        job.restarted_at = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, JobStatus>> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a job to stop.
#[derive(Clone)]
pub struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// Returns once the job has to stop; also when [`Loops`] is dropped.
    pub async fn received(&mut self) {
        self.0.wait_for(|stop| *stop).await.ok();
    }

    fn is_received(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// Runs jobs, and stops them.
pub struct Loops {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    jobs: Jobs,
}

impl Loops {
    /// Without jobs so far. Their status is kept in `jobs`.
    pub fn new(jobs: Jobs) -> Self {
        Self { stop: watch::channel(false).0, tasks: Vec::new(), jobs }
    }

    /// Runs the job that `start` returns. The job ends when it receives the signal; when it ends before, it is restarted.
    pub fn run<F, R>(&mut self, name: &'static str, start: F)
    where
        F: FnMut(StopSignal) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.jobs.started(name);
        let job = keep_running(name, self.jobs.clone(), StopSignal(self.stop.subscribe()), start);
        self.tasks.push(tokio::spawn(job));
    }

    /// Runs `round` at once, and again `every` (up to a tenth more, so that servers that were started
    /// together drift apart).
    pub fn spawn<F, R>(&mut self, name: &'static str, every: Duration, round: F)
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.spawn_woken(name, every, Arc::default(), round);
    }

    /// The same for a round of many steps, each of them whole by itself (a task, a transaction): at a stop the round is
    /// left where it is, for it may have hours to go.
    pub fn spawn_in_steps<F, R>(&mut self, name: &'static str, every: Duration, round: F)
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let round = Arc::new(round);
        self.run(name, move |mut stop| {
            let round = Arc::clone(&round);
            async move {
                let rounds = async {
                    loop {
                        round().await;
                        sleep(drifting(every)).await;
                    }
                };
                tokio::select! {
                    () = rounds => {}
                    () = stop.received() => {}
                }
            }
        });
    }

    /// Like [`Loops::spawn`], and a round at once whenever somebody calls `notify_one` on `bell`.
    pub fn spawn_woken<F, R>(
        &mut self,
        name: &'static str,
        every: Duration,
        bell: Arc<Notify>,
        round: F,
    ) where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let round = Arc::new(round);
        self.run(name, move |mut stop| {
            let (round, bell) = (Arc::clone(&round), Arc::clone(&bell));
            async move {
                loop {
                    round().await;
                    tokio::select! {
                        () = bell.notified() => {}
                        () = sleep(drifting(every)) => {}
                        () = stop.received() => return,
                    }
                }
            }
        });
    }

    /// Lets each loop end its round, but for those in steps, then returns.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a background job could not be stopped in order");
            }
        }
    }
}

/// Restarts the job whenever it ends before the stop signal. The panic hook logs the panic itself.
async fn keep_running<F, R>(name: &'static str, jobs: Jobs, mut stop: StopSignal, mut start: F)
where
    F: FnMut(StopSignal) -> R,
    R: Future<Output = ()>,
{
    let mut pause = None;
    loop {
        let began = Instant::now();
        let job = async { start(stop.clone()).await };
        let has_panicked = AssertUnwindSafe(job).catch_unwind().await.is_err();
        if stop.is_received() {
            return;
        }
        jobs.ended(name);
        let wait = next_pause(pause, began.elapsed());
        let seconds = wait.as_secs();
        tracing::error!(
            job = name,
            has_panicked,
            seconds,
            "a background job ended; it is restarted"
        );
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.received() => return,
        }
        pause = Some(wait);
        jobs.restarted(name);
    }
}

/// The pause before the next restart of a job that `ran` since the `last` pause.
fn next_pause(last: Option<Duration>, ran: Duration) -> Duration {
    match last {
        Some(last) if ran < RECOVERED_AFTER => (last * 2).min(PAUSES.1),
        _ => PAUSES.0,
    }
}

/// `every`, and up to a tenth more.
fn drifting(every: Duration) -> Duration {
    every + every.mul_f64(jitter() / 10.0)
}

/// Between 0 and 1, by chance.
pub fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    async fn until(mut is_so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < Duration::from_secs(30), "it did not happen within 30 s");
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_job_that_panics_is_restarted_and_the_others_go_on() {
        let jobs = Jobs::default();
        let mut loops = Loops::new(jobs.clone());
        let (broken, healthy) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&broken);
        loops.spawn("broken", Duration::from_millis(1), move || {
            let round = count.fetch_add(1, Ordering::Relaxed);
            async move { assert_ne!(round, 3, "the fourth round panics") }
        });
        let count = Arc::clone(&healthy);
        loops.spawn_in_steps("healthy", Duration::from_millis(1), move || {
            count.fetch_add(1, Ordering::Relaxed);
            async {}
        });
        assert_eq!(jobs.summary(), "ok");
        until(|| jobs.summary() == "not running: broken").await;
        assert_eq!(broken.load(Ordering::Relaxed), 4);
        let before = healthy.load(Ordering::Relaxed);
        until(|| healthy.load(Ordering::Relaxed) > before + 10).await;
        until(|| jobs.summary() == "restarted: broken").await;
        until(|| broken.load(Ordering::Relaxed) > 10).await;
        assert_eq!((jobs.all()["broken"].restarts, jobs.all()["healthy"].restarts), (1, 0));
        loops.stop().await;
    }

    #[tokio::test]
    async fn a_job_that_ends_before_the_stop_signal_is_restarted() {
        let jobs = Jobs::default();
        let mut loops = Loops::new(jobs.clone());
        let starts = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&starts);
        loops.run("short", move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            async {}
        });
        until(|| jobs.all()["short"].restarts == 1).await;
        until(|| starts.load(Ordering::Relaxed) == 2).await;
        loops.stop().await;
    }

    #[tokio::test]
    async fn a_job_that_waits_for_its_restart_does_not_delay_the_stop() {
        let jobs = Jobs::default();
        let mut loops = Loops::new(jobs.clone());
        // The pause before the third restart is four seconds.
        loops.run("broken", |_| async { panic!("always") });
        until(|| jobs.all()["broken"].restarts == 2 && !jobs.all()["broken"].is_running).await;
        let began = Instant::now();
        loops.stop().await;
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }

    #[test]
    fn the_pause_doubles_to_a_minute_and_is_a_second_again_after_a_minute_of_work() {
        let at_once = Duration::ZERO;
        let mut pauses = vec![next_pause(None, at_once)];
        for _ in 0..7 {
            pauses.push(next_pause(pauses.last().copied(), at_once));
        }
        let seconds: Vec<u64> = pauses.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(next_pause(Some(PAUSES.1), RECOVERED_AFTER), PAUSES.0);
        assert_eq!(next_pause(None, Duration::from_secs(3_600)), PAUSES.0);
    }
}
