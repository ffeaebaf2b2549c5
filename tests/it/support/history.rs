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
    LetIn,
    /// Sent to sign in.
    Refused,
    /// 503, or no answer.
    Unavailable,
    /// The answer that says that the session is over.
    Ended,
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
pub struct Verdict {
    pub sessions: usize,
    pub ends: usize,
    pub let_in: usize,
    pub refused: usize,
    pub unavailable: usize,
    /// Requests that began after the end had been answered.
    pub after: usize,
    pub violations: Vec<String>,
    pub slowest_end: Duration,
    pub ends_p50: Duration,
    pub ends_p99: Duration,
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
            .filter(|event| event.outcome == Outcome::Ended && window.contains(&event.began))
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
    pub fn judge(&self) -> Verdict {
        let events = self.0.lock().expect("whole");
        let mut over: HashMap<usize, Instant> = HashMap::new();
        let mut took = Vec::new();
        for event in events.iter().filter(|event| event.outcome == Outcome::Ended) {
            took.push(event.ended - event.began);
            let first = over.entry(event.session).or_insert(event.ended);
            *first = event.ended.min(*first);
        }
        took.sort();
        let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied();
        let mut verdict = Verdict {
            ends: took.len(),
            slowest_end: took.last().copied().unwrap_or_default(),
            ends_p50: at(0.5).unwrap_or_default(),
            ends_p99: at(0.99).unwrap_or_default(),
            ..Verdict::default()
        };
        let mut sessions: Vec<usize> = events.iter().map(|event| event.session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        verdict.sessions = sessions.len();
        for event in events.iter() {
            let is_after = over.get(&event.session).is_some_and(|over| event.began > *over);
            verdict.after += usize::from(is_after);
            match event.outcome {
                Outcome::LetIn => {
                    verdict.let_in += 1;
                    if is_after {
                        verdict.violations.push(format!(
                            "session {} was let in at server {} {:?} after its end was answered",
                            event.session,
                            event.server,
                            event.began - over[&event.session],
                        ));
                    }
                }
                Outcome::Refused => verdict.refused += 1,
                Outcome::Unavailable => verdict.unavailable += 1,
                Outcome::Ended => {}
            }
        }
        verdict
    }
}
