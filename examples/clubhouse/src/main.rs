//! The Lake Club: a members' site with a public calendar, a guest list with limited places, a directory of members with
//! pictures, a live list of guests, and reminders by mail.

mod calendar;
mod calendar_feed;
mod directory;
mod guest_list;
mod guests;
mod new_event;
mod reminders;

use std::process::ExitCode;
use std::time::Duration;

use frontdesk::{Limits, Routes, Website};
use serde::Deserialize;

/// The settings `CLUBHOUSE_…`.
#[derive(Deserialize)]
pub struct Settings {
    /// In which the times of events are entered and shown: a name of the IANA time zone database.
    #[serde(default = "default_time_zone")]
    time_zone: String,
}

fn default_time_zone() -> String {
    "Europe/Zurich".to_owned()
}

fn routes(routes: &mut Routes) {
    routes.get("/", calendar::start).get("/calendar", calendar::list);
    routes.without_session(|routes| {
        routes.get("/calendar.ics", calendar_feed::feed);
    });
    routes.get("/events/new", new_event::form).post("/events/new", new_event::add);
    routes.get("/events/{id}", guests::event);
    routes.post("/events/{id}/sign-up", guests::sign_up).post("/events/{id}/leave", guests::leave);
    routes.get("/events/{id}/guests", guest_list::stream);
    routes.get("/members", directory::list).get("/members/{id}/picture", directory::picture);
    let upload = Limits { body: directory::MAX_UPLOAD, deadline: Duration::from_secs(60) };
    routes.limits(upload, |routes| {
        routes.post("/members/picture", directory::upload);
    });
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn main() -> ExitCode {
    Website::new(frontdesk::embed!())
        .name("The Lake Club")
        .settings::<Settings>("CLUBHOUSE_")
        .data(guest_list::Changes::default())
        .routes(routes)
        .navigation("Calendar", "/calendar")
        .navigation("Members", "/members")
        .content_security_policy(|policy| policy.script_self().connect_self())
        .on_export("events", guests::export)
        .on_export("picture", directory::export)
        .job("reminders", DAY, reminders::send)
        .command("sample-events", "Add three events to the calendar", new_event::add_samples)
        .main()
}
