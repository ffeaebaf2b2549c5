//! A history of requests and its check: after a revocation was answered, no request of that session that
//! began later may have been accepted.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A page of a signed-in user.
    Accepted,
    /// Redirected to sign-in.
    Refused,
    /// 503, or no response.
    Unavailable,
    /// The response that confirms the revocation of the session.
    Revoked,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Event {
    pub session: usize,
    pub server: usize,
    pub began: Instant,
    pub ended: Instant,
    pub outcome: Outcome,
}

/// All requests of a test.
#[derive(Default)]
pub struct History(Mutex<Vec<Event>>);

/// The result of [`History::check`].
#[derive(Debug, Default)]
pub struct Report {
    pub sessions: usize,
    pub revocations: usize,
    pub accepted: usize,
    pub refused: usize,
    pub unavailable: usize,
    /// Requests that began after the revocation of their session was answered.
    pub after_revocation: usize,
    pub violations: Vec<String>,
    pub slowest_revocation: Duration,
    pub revocation_p50: Duration,
    pub revocation_p99: Duration,
}

impl History {
    pub fn record(&self, event: Event) {
        self.0.lock().expect("not poisoned").push(event);
    }

    /// How many revocations began in `window` and were answered, and how many later requests of the revoked
    /// sessions each of `servers` servers refused, in the window or after it.
    pub fn during(&self, window: Range<Instant>, servers: usize) -> (usize, Vec<usize>) {
        let events = self.0.lock().expect("not poisoned");
        let revoked_at: HashMap<usize, Instant> = events
            .iter()
            .filter(|event| event.outcome == Outcome::Revoked && window.contains(&event.began))
            .map(|event| (event.session, event.ended))
            .collect();
        let mut refused = vec![0; servers];
        for event in events.iter().filter(|event| event.outcome == Outcome::Refused) {
            let is_after =
                revoked_at.get(&event.session).is_some_and(|revoked_at| event.began > *revoked_at);
            refused[event.server] += usize::from(is_after);
        }
        (revoked_at.len(), refused)
    }

    /// Checks every request against the revocation of its session.
    pub fn check(&self) -> Report {
        let events = self.0.lock().expect("not poisoned");
        let mut revoked_at: HashMap<usize, Instant> = HashMap::new();
        let mut took = Vec::new();
        for event in events.iter().filter(|event| event.outcome == Outcome::Revoked) {
            took.push(event.ended - event.began);
            let first = revoked_at.entry(event.session).or_insert(event.ended);
            *first = event.ended.min(*first);
        }
        took.sort();
        let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied();
        let mut report = Report {
            revocations: took.len(),
            slowest_revocation: took.last().copied().unwrap_or_default(),
            revocation_p50: at(0.5).unwrap_or_default(),
            revocation_p99: at(0.99).unwrap_or_default(),
            ..Report::default()
        };
        let mut sessions: Vec<usize> = events.iter().map(|event| event.session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        report.sessions = sessions.len();
        for event in events.iter() {
            let is_after =
                revoked_at.get(&event.session).is_some_and(|revoked_at| event.began > *revoked_at);
            report.after_revocation += usize::from(is_after);
            match event.outcome {
                Outcome::Accepted => {
                    report.accepted += 1;
                    if is_after {
                        report.violations.push(format!(
                            "session {} was accepted by server {} {:?} after its revocation was answered",
                            event.session,
                            event.server,
                            event.began - revoked_at[&event.session],
                        ));
                    }
                }
                Outcome::Refused => report.refused += 1,
                Outcome::Unavailable => report.unavailable += 1,
                Outcome::Revoked => {}
            }
        }
        report
    }
}
