//! The runs of the jobs of a website, counted.

use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::site::Site;

/// In seconds: the upper bounds of the histogram of durations.
const DURATIONS: [f64; 7] = [0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0];
/// The values of the label `result`.
const RESULTS: [&str; 3] = ["ok", "error", "panic"];

type Label = (&'static str, &'static str);

/// The runs of the jobs on this server. Clones share them.
#[derive(Clone)]
pub struct JobMetrics {
    runs: Family<[Label; 2], Counter>,
    seconds: Family<[Label; 1], Histogram, fn() -> Histogram>,
}

impl JobMetrics {
    /// For the jobs of `website`; `None` if it has none.
    pub(in crate::server) fn of(website: &Site) -> Option<Self> {
        let metrics = Self {
            runs: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
        };
        for job in &website.jobs {
            for result in RESULTS {
                drop(metrics.runs.get_or_create(&[("job", job.name), ("result", result)]));
            }
        }
        (!website.jobs.is_empty()).then_some(metrics)
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Runs of the site's jobs on this server";
        registry.register("job_runs", help, self.runs.clone());
        let help = "Durations of these runs";
        registry.register_with_unit("job", help, Unit::Seconds, self.seconds.clone());
    }

    pub(in crate::server) fn count(
        &self,
        job: &'static str,
        result: &'static str,
        started_at: Instant,
    ) {
        self.runs.get_or_create(&[("job", job), ("result", result)]).inc();
        self.seconds.get_or_create(&[("job", job)]).observe(started_at.elapsed().as_secs_f64());
    }
}
