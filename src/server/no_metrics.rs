//! In place of the metrics, in a program without the feature `metrics`: nothing is counted for them, and the setting of
//! their listener is refused.

use std::time::Instant;

use actix_web::web;

use crate::app::App;
use crate::background::JobRunner;
use crate::config::MissingFeature;
use crate::site::Site;

/// The runs of the jobs of a website, which are not counted.
#[derive(Clone)]
pub struct JobMetrics;

impl JobMetrics {
    /// For the jobs of `website`; `None` if it has none.
    pub(super) fn of(website: &Site) -> Option<Self> {
        (!website.jobs.is_empty()).then_some(Self)
    }

    pub(super) fn count(&self, _: &'static str, _: &'static str, _: Instant) {}
}

/// Starts nothing.
pub fn start(app: web::Data<App>, _: Option<JobMetrics>) -> anyhow::Result<JobRunner> {
    if app.config.metrics_bind.is_some() {
        let (needed_by, feature) = ("FRONTDESK_METRICS_BIND", "metrics");
        return Err(MissingFeature { needed_by, feature }.into());
    }
    Ok(JobRunner::new(app.jobs.clone()))
}
