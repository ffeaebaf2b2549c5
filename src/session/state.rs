//! What actix-session's map of JSON texts means to the store: the keys that are columns on the row.
//! The only file that spells a key.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use actix_session::Session;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::cache::clock::MonotonicInstant;
use crate::audit::Origin;
use crate::id::{SessionId, UserId};
use crate::role::Role;

/// Where actix-identity keeps the id of who is signed in (its default).
const IDENTITY: &str = "actix_identity.user_id";
/// Out of the store: what the row says of a loaded session.
const SESSION_INFO: &str = "frontdesk.current";
/// Into the store: what the row shall say of a session that begins.
const NEW_SESSION: &str = "frontdesk.new_session";

/// How state is written in `sessions.state`; see `sessions.format_version`.
pub(super) const FORMAT_VERSION: i16 = 1;

/// A loaded session as requests see it. Its names are short in the text that the cache keeps of each session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Its public id.
    #[serde(rename = "i")]
    pub id: SessionId,
    /// The cookie outlives the browser.
    #[serde(rename = "r")]
    pub remembered: bool,
    /// When it began.
    #[serde(with = "time::serde::timestamp::microseconds")]
    #[serde(rename = "c")]
    pub created_at: OffsetDateTime,
    /// When this person last proved who they are.
    #[serde(with = "time::serde::timestamp::microseconds::option")]
    #[serde(rename = "a")]
    pub authenticated_at: Option<OffsetDateTime>,
    /// Seconds until the absolute timeout, as the database counted when the session was loaded.
    #[serde(rename = "x")]
    pub absolute_seconds: i64,
    /// Who is signed in.
    #[serde(rename = "u")]
    pub user: Option<Arc<Account>>,
    /// How old it was when it was loaded.
    #[serde(default)]
    #[serde(rename = "g")]
    ages: Ages,
    /// A hash of each value as it was loaded: what a request changed is what differs from it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(rename = "b")]
    base: BTreeMap<String, u64>,
}

/// Ages in seconds as the database counted them when a session was loaded, and when that was by this machine's
/// forward clock. A session stays in memory for up to a minute, and nobody's wall clock may matter.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ages {
    #[serde(rename = "s")]
    pub(super) session: f64,
    #[serde(rename = "p")]
    pub(super) proof: Option<f64>,
    #[serde(rename = "l")]
    pub(super) loaded: u64,
}

/// A loaded session as the cache keeps it, small: what the application keeps as JSON texts, what the row says, and that
/// as a text too.
#[derive(Debug)]
pub(super) struct CachedSession {
    state: Box<[(Box<str>, Box<str>)]>,
    current: Arc<SessionInfo>,
    /// `current` under [`SESSION_INFO`].
    text: Box<str>,
}

thread_local! {
    /// What this thread handed to actix-session last: the request that it was for asks for it next, and need
    /// not read it out of its JSON again.
    static LAST_SERVED: RefCell<Option<Arc<CachedSession>>> = const { RefCell::new(None) };
}

/// Who is signed in, as loaded with the session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// `users.id`.
    #[serde(rename = "i")]
    pub id: UserId,
    /// The address as typed.
    #[serde(rename = "e")]
    pub email: String,
    /// What pages call this person.
    #[serde(rename = "n")]
    pub display_name: String,
    /// What the user may do.
    #[serde(rename = "r")]
    pub role: Role,
}

/// What a sign-in wants of the session that it begins.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NewSession {
    /// The person asked to stay signed in.
    pub remembered: bool,
    /// How they proved who they are (RFC 8176: `pwd`).
    pub auth_methods: Vec<String>,
    /// Where the sign-in came from.
    pub origin: Origin,
    /// `users.password_changed_at` as it was when the password was verified: a sign-in that was
    /// overtaken by a change of password begins nothing.
    #[serde(with = "time::serde::rfc3339::option")]
    pub password_changed_at: Option<OffsetDateTime>,
    /// This browser is not known to be theirs: the owner is told by mail, when there was a sign-in before.
    #[serde(default)]
    pub on_new_device: bool,
    /// `users.email` and `users.role` as they were then: a change of address or role overtakes it too. With it,
    /// `password_changed_at: None` means that there was no date, not that it is not compared.
    #[serde(default)]
    pub verified_account: Option<(String, Role)>,
}

/// What the store was given to save as a new session.
#[derive(Clone)]
pub(super) struct Incoming {
    pub(super) user: Option<UserId>,
    pub(super) new_session: NewSession,
    pub(super) rest: Value,
}

/// What a request wants to be different in a session that exists.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// These keys, and no others.
    Keys {
        /// New values.
        set: Map<String, Value>,
        /// Gone.
        removed: Vec<String>,
    },
    /// The request emptied the session first.
    Everything(Map<String, Value>),
}

/// What the row says of a session, besides its state.
pub(super) struct SessionRow {
    pub(super) id: SessionId,
    pub(super) remembered: bool,
    pub(super) created_at: OffsetDateTime,
    pub(super) authenticated_at: Option<OffsetDateTime>,
    pub(super) absolute_seconds: i64,
    pub(super) ages: Ages,
    pub(super) user: Option<Arc<Account>>,
}

impl SessionInfo {
    /// What the store knows of the session of this request; `None` for a stranger.
    pub fn of(session: &Session) -> Option<Arc<SessionInfo>> {
        let entries = session.entries();
        let text = entries.get(SESSION_INFO)?;
        let handed_out = LAST_SERVED.with_borrow(|known| {
            // The same text says the same, whomever it was handed out for.
            let known = known.as_ref().filter(|known| *known.text == **text)?;
            Some(Arc::clone(&known.current))
        });
        handed_out.or_else(|| serde_json::from_str(text).ok().map(Arc::new))
    }

    /// How long ago this person last proved who they are in this session, by the database's clock.
    pub fn authentication_age(&self) -> Option<Duration> {
        self.ages.proof.map(|age| self.grown(age))
    }

    /// How long ago it began, by the database's clock. The same on every server, and a new secret does not change it.
    pub fn age(&self) -> Duration {
        self.grown(self.ages.session)
    }

    fn grown(&self, age: f64) -> Duration {
        Duration::try_from_secs_f64(age).unwrap_or_default()
            + MonotonicInstant(self.ages.loaded).elapsed()
    }
}

impl CachedSession {
    /// What actix-session gets of a session whose row says `facts` and `state`.
    pub(super) fn new(facts: SessionRow, state: Value) -> Result<Arc<Self>, serde_json::Error> {
        let Value::Object(state) = state else {
            return Self::new(facts, Value::Object(Map::new()));
        };
        let state: Box<[(Box<str>, Box<str>)]> =
            state.into_iter().map(|(key, value)| (key.into(), value.to_string().into())).collect();
        let base = state.iter().map(|(key, text)| (key.to_string(), hash(text))).collect();
        let SessionRow {
            id,
            remembered,
            created_at,
            authenticated_at,
            absolute_seconds,
            ages,
            user,
        } = facts;
        let current = SessionInfo {
            id,
            remembered,
            created_at,
            authenticated_at,
            absolute_seconds,
            user,
            ages,
            base,
        };
        let text = serde_json::to_string(&current)?.into();
        Ok(Arc::new(Self { state, current: Arc::new(current), text }))
    }

    /// The pairs as actix-session takes them.
    pub(super) fn to_map(self: &Arc<Self>) -> HashMap<String, String> {
        LAST_SERVED.set(Some(Arc::clone(self)));
        let mut map = HashMap::with_capacity(self.state.len() + 2);
        map.extend(self.state.iter().map(|(key, text)| (key.to_string(), text.to_string())));
        if let Some(user) = &self.current.user {
            map.insert(IDENTITY.to_owned(), format!("\"{}\"", user.id));
        }
        map.insert(SESSION_INFO.to_owned(), self.text.to_string());
        map
    }
}

/// Only ever compared within one process.
fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl NewSession {
    /// Empties the session and leaves word for the store: nothing from before a sign-in survives it.
    pub fn announce(&self, session: &Session) -> Result<(), actix_session::SessionInsertError> {
        session.clear();
        session.insert(NEW_SESSION, self)
    }
}

/// Takes apart what actix-session hands over for a new session: columns here, the rest for
/// `sessions.state`.
pub(super) fn split_columns(
    mut map: HashMap<String, String>,
) -> Result<Incoming, serde_json::Error> {
    let user = map.remove(IDENTITY).map(|text| serde_json::from_str(&text)).transpose()?;
    let new_session =
        map.remove(NEW_SESSION).map(|text| serde_json::from_str(&text)).transpose()?;
    Ok(Incoming {
        user,
        new_session: new_session.unwrap_or_default(),
        rest: Value::Object(parse(map)?),
    })
}

/// Whether the map is of a session that was loaded, and not emptied since.
pub(super) fn is_loaded(map: &HashMap<String, String>) -> bool {
    map.contains_key(SESSION_INFO)
}

/// What of the map that actix-session hands back differs from what it was given: two requests that
/// change different keys must not undo each other.
pub(super) fn difference(mut map: HashMap<String, String>) -> Result<Change, serde_json::Error> {
    map.remove(IDENTITY);
    map.remove(NEW_SESSION);
    let Some(current) = map.remove(SESSION_INFO) else {
        return Ok(Change::Everything(parse(map)?));
    };
    let base = serde_json::from_str::<SessionInfo>(&current)?.base;
    let removed = base.keys().filter(|key| !map.contains_key(*key)).cloned().collect();
    map.retain(|key, text| base.get(key) != Some(&hash(text)));
    Ok(Change::Keys { set: parse(map)?, removed })
}

fn parse(map: HashMap<String, String>) -> Result<Map<String, Value>, serde_json::Error> {
    map.into_iter().map(|(key, text)| Ok((key, serde_json::from_str(&text)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn loaded(state: Value) -> HashMap<String, String> {
        let facts = SessionRow {
            id: SessionId::generate(),
            remembered: false,
            created_at: OffsetDateTime::UNIX_EPOCH,
            authenticated_at: None,
            absolute_seconds: 60,
            ages: Ages::default(),
            user: None,
        };
        CachedSession::new(facts, state).unwrap().to_map()
    }

    #[test]
    fn only_the_keys_that_a_request_changed_are_written() {
        let mut map = loaded(json!({ "a": 1, "b": { "c": [1.50, "é"] }, "d": null }));
        assert_eq!(
            difference(map.clone()).unwrap(),
            Change::Keys { set: Map::new(), removed: vec![] }
        );
        map.insert("a".to_owned(), "2".to_owned());
        map.insert("e".to_owned(), "\"new\"".to_owned());
        map.remove("d");
        let Change::Keys { set, removed } = difference(map).unwrap() else { panic!() };
        assert_eq!(Value::Object(set), json!({ "a": 2, "e": "new" }));
        assert_eq!(removed, ["d"]);
    }

    #[test]
    fn the_age_of_a_proof_goes_on_while_the_session_is_in_memory() {
        let facts = SessionRow {
            id: SessionId::generate(),
            remembered: false,
            // Clocks that are told here do not matter.
            created_at: OffsetDateTime::UNIX_EPOCH,
            authenticated_at: Some(OffsetDateTime::UNIX_EPOCH),
            absolute_seconds: 60,
            ages: Ages {
                session: 1000.0,
                proof: Some(100.0),
                loaded: MonotonicInstant::now().0 - 50_000,
            },
            user: None,
        };
        let pairs = CachedSession::new(facts, json!({})).unwrap().to_map();
        let current: SessionInfo = serde_json::from_str(&pairs[SESSION_INFO]).unwrap();
        assert_eq!(current.authentication_age().unwrap().as_secs(), 150);
        assert_eq!(current.age().as_secs(), 1050);
    }

    #[test]
    fn a_session_that_was_emptied_is_written_whole() {
        let map = HashMap::from([("a".to_owned(), "1".to_owned())]);
        let Change::Everything(all) = difference(map).unwrap() else { panic!() };
        assert_eq!(Value::Object(all), json!({ "a": 1 }));
    }
}
