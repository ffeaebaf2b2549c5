//! New events, by administrators.

use std::ffi::OsString;
use std::process::ExitCode;

use frontdesk::{
    Admin, BoxError, CommandContext, Data, Form, FormView, Notice, Page, PageResult, Pool,
};
use serde::Deserialize;
use serde_json::json;
use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::Settings;

#[derive(Deserialize)]
pub struct NewEvent {
    title: String,
    place: String,
    /// Local time, as `<input type="datetime-local">` sends it.
    starts: String,
    capacity: i32,
}

pub async fn form(_: Admin, page: Page) -> PageResult {
    page.render_form("new_event.html", &FormView::default(), &json!({}))
}

pub async fn add(
    _: Admin,
    page: Page,
    pool: Pool,
    settings: Data<Settings>,
    form: Form<NewEvent>,
) -> PageResult {
    let checked = form.check(|event, errors| {
        for (name, text) in [("title", &event.title), ("place", &event.place)] {
            if !(1..=120).contains(&text.trim().chars().count()) {
                errors.add(name, "Enter 1 to 120 characters.");
            }
        }
        if local_time(&event.starts).is_none() {
            errors.add("starts", "Enter a date and a time, such as 2027-05-01T18:30.");
        }
        if !(1..=1000).contains(&event.capacity) {
            errors.add("capacity", "Enter a number from 1 to 1,000.");
        }
    });
    let event = match checked {
        Ok(event) => event,
        Err(form) => return page.render_form("new_event.html", &form, &json!({})),
    };
    let insert = sqlx::query(
        "INSERT INTO club_events (title, place, starts_at, capacity)
         VALUES ($1, $2, $3 AT TIME ZONE $4, $5)",
    );
    let insert = insert.bind(event.title.trim()).bind(event.place.trim());
    let insert = insert.bind(local_time(&event.starts));
    insert.bind(&settings.time_zone).bind(event.capacity).execute(&*pool).await?;
    Ok(page.redirect_with("/calendar", Notice::success("Event added.")))
}

fn local_time(text: &str) -> Option<PrimitiveDateTime> {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]");
    PrimitiveDateTime::parse(text, format).ok().filter(|time| time.year() > 0)
}

/// The command `sample-events`.
pub async fn add_samples(command: CommandContext, _: Vec<OsString>) -> Result<ExitCode, BoxError> {
    let insert = sqlx::query(
        "INSERT INTO club_events (title, place, starts_at, capacity)
         VALUES ('First row of the year', 'Boathouse', date_trunc('day', now()) + interval '1 day 18 hours', 8),
             ('Summer regatta', 'North shore', date_trunc('day', now()) + interval '30 days 9 hours', 40),
             ('Annual meeting', 'Club room', date_trunc('day', now()) + interval '60 days 19 hours', 100)",
    );
    insert.execute(&**command.pool()).await?;
    println!("Added 3 events.");
    Ok(ExitCode::SUCCESS)
}
