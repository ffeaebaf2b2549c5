//! `GET /account/activity`: lists the user's audit events, newest first. Shows no events of other users and
//! no secrets. Attempts that follow each other are one entry, whatever their kinds are, so that an attack does not
//! hide what came before it.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::event_words;
use crate::app::App;
use crate::audit::{self, StoredEvent};
use crate::auth::CurrentUser;
use crate::id::{SessionId, UserId};
use crate::language::Text;
use crate::session::user_agent;
use crate::web::error::HttpError;
use crate::web::number;
use crate::web::page::Page;
use crate::web::relative_time::Time;

/// Entries per page.
const PAGE_SIZE: usize = 30;
/// Events per statement, and statements per page. Their product is the maximum number of events on a page.
const BATCH_SIZE: i64 = 100;
const MAX_BATCHES: usize = 20;

#[derive(Serialize)]
struct Data {
    events: Vec<EventView>,
    /// The id after which the next page starts; `None` on the last page.
    older: Option<i64>,
    is_first_page: bool,
}

#[derive(Serialize)]
struct EventView {
    description: Text,
    is_suspicious: bool,
    /// How often, if it is more than once: "12 times".
    times: Option<Text>,
    /// The kinds of several attempts, if there is more than one, each with how often.
    kinds: Vec<Text>,
    at: Time,
    /// When the first of several happened.
    since: Option<Time>,
    /// Browser, IP address, and who did it if not the user. Of several events, those of the newest.
    source: Vec<Text>,
    /// The event concerns the current session.
    is_this_session: bool,
}

/// Events that are shown as one.
struct Group {
    newest: StoredEvent,
    oldest: StoredEvent,
    count: usize,
    /// Each description, and how often.
    kinds: Vec<(Text, usize)>,
    has_other_sources: bool,
    /// There may be older ones, which were not read.
    is_cut: bool,
}

impl Group {
    fn new(event: StoredEvent) -> Self {
        Self {
            kinds: vec![(event_words::describe(&event).0, 1)],
            oldest: event.clone(),
            newest: event,
            count: 1,
            has_other_sources: false,
            is_cut: false,
        }
    }

    /// Adds `event`, the next older one, if both are attempts. Otherwise returns it.
    fn add(&mut self, event: StoredEvent) -> Option<StoredEvent> {
        let newest = &self.newest;
        let belong_together = event_words::is_attempt(&event.event)
            && event_words::is_attempt(&newest.event)
            && event.actor == newest.actor;
        if !belong_together {
            return Some(event);
        }
        let (description, _) = event_words::describe(&event);
        match self.kinds.iter_mut().find(|(kind, _)| *kind == description) {
            Some((_, count)) => *count += 1,
            None => self.kinds.push((description, 1)),
        }
        self.has_other_sources |=
            (&event.ip_address, &event.user_agent) != (&newest.ip_address, &newest.user_agent);
        self.count += 1;
        self.oldest = event;
        None
    }
}

/// The query string.
#[derive(serde::Deserialize)]
pub struct Query {
    before: Option<String>,
}

/// `GET /account/activity`.
#[tracing::instrument(name = "activity_page", level = "debug", skip_all, fields(user = %user.account.id))]
pub async fn show(
    app: web::Data<App>,
    page: Page,
    user: CurrentUser,
    query: Option<web::Query<Query>>,
) -> Result<HttpResponse, HttpError> {
    let before = query.and_then(|query| query.into_inner().before);
    let before = before.and_then(|text| text.parse::<i64>().ok());
    let (groups, has_more) = groups(&app, user.account.id, before).await?;
    let data = Data {
        older: groups.last().filter(|_| has_more).map(|last| last.oldest.id),
        is_first_page: before.is_none(),
        events: groups.into_iter().map(|group| view(group, user.session.id)).collect(),
    };
    page.show("account/activity.html", &data)
}

/// The entries of a page, and whether there are older events.
async fn groups(
    app: &App,
    user: UserId,
    mut before: Option<i64>,
) -> Result<(Vec<Group>, bool), HttpError> {
    let mut groups: Vec<Group> = Vec::new();
    for _ in 0..MAX_BATCHES {
        let events = audit::list_for_user(&app.pool, user, before, BATCH_SIZE).await?;
        let is_last = (events.len() as i64) < BATCH_SIZE;
        before = events.last().map(|event| event.id);
        for event in events {
            let next = match groups.last_mut() {
                Some(group) => group.add(event),
                None => Some(event),
            };
            if let Some(next) = next {
                if groups.len() == PAGE_SIZE {
                    return Ok((groups, true));
                }
                groups.push(Group::new(next));
            }
        }
        if is_last {
            return Ok((groups, false));
        }
    }
    if let Some(last) = groups.last_mut() {
        last.is_cut = event_words::is_attempt(&last.oldest.event);
    }
    Ok((groups, true))
}

fn view(group: Group, current: SessionId) -> EventView {
    let Group { newest: event, oldest, count, kinds, has_other_sources, is_cut } = group;
    let (description, is_suspicious) = match kinds.as_slice() {
        [_] => event_words::describe(&event),
        _ => (Text::key("event-attempts"), true),
    };
    let times = |count: usize| Text::key("event-times").with("number", number::grouped(count));
    let kinds = match kinds.as_slice() {
        [_] => Vec::new(),
        several => several
            .iter()
            .map(|(kind, count)| match count {
                1 => kind.clone(),
                count => {
                    Text::key("event-kind").with("event", kind.clone()).with("times", times(*count))
                }
            })
            .collect(),
    };
    let device = event.user_agent.as_deref().map(|agent| user_agent::describe(Some(agent)).title);
    let by = match event.actor.as_str() {
        "operator" => Some("source-operator"),
        "system" => Some("source-system"),
        "database" => Some("source-database"),
        _ => None,
    };
    let others = has_other_sources.then_some("source-others");
    let ip_address = event.ip_address.map(Text::from);
    let source = [device, ip_address, by.map(Text::key), others.map(Text::key)];
    EventView {
        description,
        is_suspicious,
        times: match (count, is_cut) {
            (1, _) => None,
            (_, false) => Some(times(count)),
            (_, true) => Some(Text::key("event-at-least").with("times", times(count))),
        },
        kinds,
        at: Time::new(event.occurred_at, event.now),
        since: (count > 1 && !is_cut).then(|| Time::new(oldest.occurred_at, event.now)),
        source: source.into_iter().flatten().collect(),
        is_this_session: event.session_id == Some(current),
    }
}
