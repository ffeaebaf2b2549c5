//! The calendar for other programs (iCalendar, RFC 5545). Calendar programs have no session.

use frontdesk::actix_web::HttpResponse;
use frontdesk::actix_web::http::header::CACHE_CONTROL;
use frontdesk::{Data, Error, Pool};
use icalendar::{Calendar, Component as _, Event, EventLike as _};

use crate::{Settings, calendar};

pub async fn feed(pool: Pool, settings: Data<Settings>) -> Result<HttpResponse, Error> {
    let mut feed = Calendar::new();
    feed.name("The Lake Club");
    for event in calendar::upcoming(&pool, &settings, 100).await? {
        feed.push(
            Event::new()
                .uid(&format!("event-{}@lake-club", event.id))
                .summary(&event.title)
                .location(&event.place)
                .add_property("DTSTART", &event.starts_utc)
                .add_property("DTSTAMP", &event.starts_utc)
                .done(),
        );
    }
    Ok(HttpResponse::Ok()
        .content_type("text/calendar; charset=utf-8")
        .insert_header((CACHE_CONTROL, "public, max-age=300"))
        .body(feed.done().to_string()))
}
