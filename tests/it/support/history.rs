//! What happened, request by request, and a judge of it: once somebody was told that a session is over, no
//! request that began later may have been let in.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The page of somebody who is signed in.
    Accepted,
    /// Sent to sign in.
    Refused,
    /// 503, or no answer.
    Unavailable,
    /// The answer that says that the session is over.
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

/// All of them.
#[derive(Default)]
pub struct History(Mutex<Vec<Event>>);

/// What the judge found.
#[derive(Debug, Default)]
pub struct Report {
    pub sessions: usize,
    pub revocations: usize,
    pub accepted: usize,
    pub refused: usize,
    pub unavailable: usize,
    /// Requests that began after the end had been answered.
    pub after_revocation: usize,
    pub violations: Vec<String>,
    pub slowest_revocation: Duration,
    pub revocation_p50: Duration,
    pub revocation_p99: Duration,
}

impl History {
    pub fn record(&self, event: Event) {
        self.0.lock().expect("whole").push(event);
    }

    /// How many ends began in `window` and were answered, and how often whoever had been ended was then refused by each
    /// of so many servers, before it was over or after.
    pub fn during(&self, window: Range<Instant>, servers: usize) -> (usize, Vec<usize>) {
        let events = self.0.lock().expect("whole");
        let over: HashMap<usize, Instant> = events
            .iter()
            .filter(|event| event.outcome == Outcome::Revoked && window.contains(&event.began))
            .map(|event| (event.session, event.ended))
            .collect();
        let mut refused = vec![0; servers];
        for event in events.iter().filter(|event| event.outcome == Outcome::Refused) {
            let is_after = over.get(&event.session).is_some_and(|over| event.began > *over);
            refused[event.server] += usize::from(is_after);
        }
        (over.len(), refused)
    }

    /// Judges.
    pub fn check(&self) -> Report {
        let events = self.0.lock().expect("whole");
        let mut over: HashMap<usize, Instant> = HashMap::new();
        let mut took = Vec::new();
        for event in events.iter().filter(|event| event.outcome == Outcome::Revoked) {
            took.push(event.ended - event.began);
            let first = over.entry(event.session).or_insert(event.ended);
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
            let is_after = over.get(&event.session).is_some_and(|over| event.began > *over);
            report.after_revocation += usize::from(is_after);
            match event.outcome {
                Outcome::Accepted => {
                    report.accepted += 1;
                    if is_after {
                        report.violations.push(format!(
                            "session {} was let in at server {} {:?} after its end was answered",
                            event.session,
                            event.server,
                            event.began - over[&event.session],
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
