//! Restarts a server that ended unexpectedly, for example killed for its memory or by a full disk.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::Instant;

use super::error::ClusterError;
use super::place::Place;
use super::running::Running;

/// How soon the end of the server is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The pause before the second restart in a row. The first follows immediately; the pause doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A server that ran for so long is healthy: when it ends, pauses begin with the shortest.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// From the first of several failures in a row until no other restart is tried.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5 * 60);

impl Running {
    /// Restarts the server whenever it ends. Returns why, when restarts have failed for some minutes.
    pub(super) async fn supervise(&self, place: &Place) -> ClusterError {
        let mut restarts = Restarts::default();
        let mut began = Instant::now();
        loop {
            let mut cause = self.end(place).await;
            let mut ran_for = began.elapsed();
            loop {
                let why = chain(&cause);
                let Some(pause) = restarts.next(Instant::now(), ran_for) else {
                    tracing::error!(why, "the private PostgreSQL cannot be restarted");
                    return ClusterError::RestartsFailed {
                        tried_for: GIVE_UP_AFTER,
                        cause: Box::new(cause),
                    };
                };
                tracing::error!(
                    why,
                    ?pause,
                    "the private PostgreSQL is down; it will be restarted"
                );
                tokio::time::sleep(pause).await;
                match self.restart(place).await {
                    Ok(()) => break,
                    Err(error) => (cause, ran_for) = (error, Duration::ZERO),
                }
            }
            began = Instant::now();
            tracing::info!("the private PostgreSQL is running again");
        }
    }

    /// Waits until the server has ended.
    async fn end(&self, place: &Place) -> ClusterError {
        loop {
            match self.has_ended(place) {
                Ok(None) => tokio::time::sleep(LOOK_EVERY).await,
                Ok(Some(status)) => {
                    let log_start = self.server().take().map_or(0, |server| server.log_start);
                    let words = place.last_words(log_start);
                    return ClusterError::Ended { how: how(status), words };
                }
                Err(error) => return error,
            }
        }
    }

    async fn restart(&self, place: &Place) -> Result<(), ClusterError> {
        self.server().take();
        self.end_former(place).await?;
        self.start(place).await
    }
}

/// How the server ended, by how its shell ended.
fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) if code > 128 => format!("signal {}", code - 128),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("the shell that runs it got signal {signal}"),
        (None, None) => "for an unknown reason".to_owned(),
    }
}

/// An error and its sources.
fn chain(error: &ClusterError) -> String {
    let sources = std::iter::successors(Some(error as &dyn std::error::Error), |it| it.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// When a server that ended is restarted.
#[derive(Debug, Default)]
struct Restarts {
    /// The first of several failures in a row.
    failing_since: Option<Instant>,
    count: u32,
}

impl Restarts {
    /// The pause before the next restart; `None` when no other is to be tried. `ran_for`: how long the server had
    /// accepted connections, zero after a restart that failed.
    fn next(&mut self, now: Instant, ran_for: Duration) -> Option<Duration> {
        if ran_for >= HEALTHY_AFTER {
            *self = Self::default();
        }
        let since = *self.failing_since.get_or_insert(now);
        if now - since >= GIVE_UP_AFTER {
            return None;
        }
        let doubled = self.count.checked_sub(1).map(|times| FIRST_PAUSE * 2_u32.pow(times.min(8)));
        self.count += 1;
        Some(doubled.unwrap_or_default().min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_begin_immediately_get_rarer_and_end_after_minutes() {
        let (mut restarts, mut now) = (Restarts::default(), Instant::now());
        let began = now;
        let mut pauses = Vec::new();
        while let Some(pause) = restarts.next(now, Duration::ZERO) {
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses[..8], [0, 1, 2, 4, 8, 16, 30, 30]);
        let tried_for = now - began;
        assert!(
            (GIVE_UP_AFTER..GIVE_UP_AFTER + LONGEST_PAUSE).contains(&tried_for),
            "{tried_for:?}"
        );
    }

    #[test]
    fn a_server_that_ran_well_is_restarted_immediately_and_one_that_keeps_ending_is_given_up() {
        let (mut restarts, mut now) = (Restarts::default(), Instant::now());
        for _ in 0..100 {
            now += HEALTHY_AFTER;
            assert_eq!(restarts.next(now, HEALTHY_AFTER), Some(Duration::ZERO));
        }
        let ran_for = Duration::from_secs(10);
        let mut given_up_after = ran_for;
        while restarts.next(now + given_up_after, ran_for).is_some() {
            given_up_after += ran_for;
        }
        assert_eq!(given_up_after, GIVE_UP_AFTER);
    }
}
