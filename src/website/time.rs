//! A time on a page of a site.

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use crate::web::relative_time;

/// A time for the component `ui.time` of a template, which shows it relative to now ("2 hours ago") and exactly, in UTC.
///
/// ```
/// use frontdesk::sqlx::{self, types::time::OffsetDateTime};
/// use frontdesk::{Page, PageResult, Pool, Time};
/// use serde_json::json;
///
/// // In the template: {{ <ui.time time={newest} /> }}
/// async fn newest(page: Page, pool: Pool) -> PageResult {
///     let newest: OffsetDateTime =
///         sqlx::query_scalar("SELECT max(created_at) FROM notes").fetch_one(&*pool).await?;
///     page.render("newest.html", &json!({ "newest": Time::from(newest) }))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(OffsetDateTime);

impl From<OffsetDateTime> for Time {
    fn from(time: OffsetDateTime) -> Self {
        Self(time)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        relative_time::Time::new(self.0, OffsetDateTime::now_utc()).serialize(serializer)
    }
}
