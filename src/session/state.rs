//! Converts between actix-session's map of JSON texts and the row: some keys are stored as columns. The only
//! file that contains the names of these keys.

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

/// The key in which actix-identity stores the id of the user (its default).
const IDENTITY: &str = "actix_identity.user_id";
/// Set by the store: a loaded session, as [`SessionInfo`].
const SESSION_INFO: &str = "frontdesk.current";
/// Read by the store: a session to create, as [`NewSession`].
const NEW_SESSION: &str = "frontdesk.new_session";

/// The format of `sessions.state`, stored in `sessions.format_version`.
pub(super) const FORMAT_VERSION: i16 = 1;

/// A loaded session. The serialized names are short because the cache keeps the JSON text of each session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The public id.
    #[serde(rename = "i")]
    pub id: SessionId,
    /// The cookie is kept when the browser is closed ("Keep me signed in").
    #[serde(rename = "r")]
    pub remembered: bool,
    /// When the session was created.
    #[serde(with = "time::serde::timestamp::microseconds")]
    #[serde(rename = "c")]
    pub created_at: OffsetDateTime,
    /// When the user last authenticated in this session.
    #[serde(with = "time::serde::timestamp::microseconds::option")]
    #[serde(rename = "a")]
    pub authenticated_at: Option<OffsetDateTime>,
    /// Seconds until the absolute timeout, as computed by the database when the session was loaded.
    #[serde(rename = "x")]
    pub absolute_seconds: i64,
    /// The signed-in user.
    #[serde(rename = "u")]
    pub user: Option<Arc<Account>>,
    /// Ages at the time of loading.
    #[serde(default)]
    #[serde(rename = "g")]
    ages: Ages,
    /// A hash of each loaded value, by key. Used to find the values that a request changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(rename = "b")]
    loaded_hashes: BTreeMap<String, u64>,
}

/// Ages in seconds, as computed by the database when the session was loaded, and the time of loading by this
/// machine's monotonic clock. Computed from these two, ages stay correct while a session is cached, and do
/// not depend on the servers' wall clocks.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ages {
    /// Since the session was created.
    #[serde(rename = "s")]
    pub(super) session: f64,
    /// Since the user last authenticated.
    #[serde(rename = "p")]
    pub(super) authentication: Option<f64>,
    /// Milliseconds of [`MonotonicInstant`].
    #[serde(rename = "l")]
    pub(super) loaded: u64,
}

/// A loaded session as the cache keeps it, in a compact form.
#[derive(Debug)]
pub(super) struct CachedSession {
    /// The application's keys and JSON texts.
    state: Box<[(Box<str>, Box<str>)]>,
    info: Arc<SessionInfo>,
    /// `info` as JSON: the value of [`SESSION_INFO`].
    info_text: Box<str>,
}

thread_local! {
    /// The session that this thread passed to actix-session last. The handler of that request usually needs
    /// it next, and then does not have to parse its JSON.
    static LAST_SERVED: RefCell<Option<Arc<CachedSession>>> = const { RefCell::new(None) };
}

/// The signed-in user, as loaded with the session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// `users.id`.
    #[serde(rename = "i")]
    pub id: UserId,
    /// The email as the user typed it.
    #[serde(rename = "e")]
    pub email: String,
    /// The user has proven that they read this email.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[serde(rename = "v")]
    pub email_is_verified: bool,
    /// The name on pages and in mails.
    #[serde(rename = "n")]
    pub display_name: String,
    /// The role of the user.
    #[serde(rename = "r")]
    pub role: Role,
    /// The names of the groups that the user is a member of, in the order of their bytes.
    #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
    #[serde(rename = "g")]
    pub groups: Box<[String]>,
}

/// The properties of a session that a sign-in creates.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NewSession {
    /// The user chose to stay signed in.
    pub remembered: bool,
    /// The authentication methods (RFC 8176: `pwd`).
    pub auth_methods: Vec<String>,
    /// The source of the sign-in.
    pub origin: Origin,
    /// `users.password_changed_at` when the password was verified. If the password was changed since, no
    /// session is created.
    #[serde(with = "time::serde::rfc3339::option")]
    pub password_changed_at: Option<OffsetDateTime>,
    /// The browser is not a known device of the user: the user is notified by mail, except at their first
    /// sign-in.
    #[serde(default)]
    pub on_new_device: bool,
    /// `users.email` and `users.role` when the password was verified. If one of them was changed since, no
    /// session is created. If this is set, `password_changed_at: None` means that there was no date;
    /// otherwise, that the date is not compared.
    #[serde(default)]
    pub verified_account: Option<(String, Role)>,
}

/// A session to insert.
#[derive(Clone)]
pub(super) struct SessionToInsert {
    pub(super) user: Option<UserId>,
    pub(super) new_session: NewSession,
    /// `sessions.state`.
    pub(super) state: Value,
}

/// A change of the state of an existing session.
#[derive(Debug, PartialEq)]
pub(super) enum StateChange {
    /// Only these keys change.
    Keys {
        /// New or changed values.
        set: Map<String, Value>,
        /// Removed keys.
        removed: Vec<String>,
    },
    /// The request cleared the session: the whole state is replaced.
    Everything(Map<String, Value>),
}

/// The columns of a loaded session, without its state.
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
    /// The loaded session of the request; `None` if it has none.
    pub fn of(session: &Session) -> Option<Arc<SessionInfo>> {
        let entries = session.entries();
        let text = entries.get(SESSION_INFO)?;
        let last_served = LAST_SERVED.with_borrow(|served| {
            // Equal texts have equal values, even if another request was served in between.
            let served = served.as_ref().filter(|served| *served.info_text == **text)?;
            Some(Arc::clone(&served.info))
        });
        last_served.or_else(|| serde_json::from_str(text).ok().map(Arc::new))
    }

    /// The time since the user last authenticated in this session, by the database's clock.
    pub fn authentication_age(&self) -> Option<Duration> {
        self.ages.authentication.map(|age| self.age_now(age))
    }

    /// The time since the session was created, by the database's clock. It is the same on every server, and a
    /// rotation of the secret does not change it.
    pub fn age(&self) -> Duration {
        self.age_now(self.ages.session)
    }

    fn age_now(&self, loaded_age: f64) -> Duration {
        Duration::try_from_secs_f64(loaded_age).unwrap_or_default()
            + MonotonicInstant(self.ages.loaded).elapsed()
    }
}

impl CachedSession {
    /// A session with the columns of `row` and the JSON object `state`. Any other JSON value is treated as an
    /// empty object.
    pub(super) fn new(row: SessionRow, state: Value) -> Result<Arc<Self>, serde_json::Error> {
        let Value::Object(state) = state else {
            return Self::new(row, Value::Object(Map::new()));
        };
        let state: Box<[(Box<str>, Box<str>)]> =
            state.into_iter().map(|(key, value)| (key.into(), value.to_string().into())).collect();
        let loaded_hashes = state.iter().map(|(key, text)| (key.to_string(), hash(text))).collect();
        let SessionRow {
            id,
            remembered,
            created_at,
            authenticated_at,
            absolute_seconds,
            ages,
            user,
        } = row;
        let info = SessionInfo {
            id,
            remembered,
            created_at,
            authenticated_at,
            absolute_seconds,
            user,
            ages,
            loaded_hashes,
        };
        let info_text = serde_json::to_string(&info)?.into();
        Ok(Arc::new(Self { state, info: Arc::new(info), info_text }))
    }

    /// The keys and JSON texts for actix-session.
    pub(super) fn to_map(self: &Arc<Self>) -> HashMap<String, String> {
        LAST_SERVED.set(Some(Arc::clone(self)));
        let mut map = HashMap::with_capacity(self.state.len() + 2);
        map.extend(self.state.iter().map(|(key, text)| (key.to_string(), text.to_string())));
        if let Some(user) = &self.info.user {
            map.insert(IDENTITY.to_owned(), format!("\"{}\"", user.id));
        }
        map.insert(SESSION_INFO.to_owned(), self.info_text.to_string());
        map
    }
}

/// Hashes are compared only within one process.
fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl NewSession {
    /// Clears the session, so that no data from before the sign-in remains, and stores `self` in it for
    /// [`PgSessionStore`](super::PgSessionStore).
    pub fn insert_into(&self, session: &Session) -> Result<(), actix_session::SessionInsertError> {
        session.clear();
        session.insert(NEW_SESSION, self)
    }
}

/// Splits the map that actix-session saves as a new session into columns and `sessions.state`.
pub(super) fn split_columns(
    mut map: HashMap<String, String>,
) -> Result<SessionToInsert, serde_json::Error> {
    let user = map.remove(IDENTITY).map(|text| serde_json::from_str(&text)).transpose()?;
    let new_session =
        map.remove(NEW_SESSION).map(|text| serde_json::from_str(&text)).transpose()?;
    Ok(SessionToInsert {
        user,
        new_session: new_session.unwrap_or_default(),
        state: Value::Object(parse(map)?),
    })
}

/// Whether the map is of a session that was loaded and not cleared since.
pub(super) fn is_loaded(map: &HashMap<String, String>) -> bool {
    map.contains_key(SESSION_INFO)
}

/// The difference between the map that actix-session saves and the one that it loaded. Only the difference is
/// written, so that two requests that change different keys do not overwrite each other's changes.
pub(super) fn difference(
    mut map: HashMap<String, String>,
) -> Result<StateChange, serde_json::Error> {
    map.remove(IDENTITY);
    map.remove(NEW_SESSION);
    let Some(info) = map.remove(SESSION_INFO) else {
        return Ok(StateChange::Everything(parse(map)?));
    };
    let hashes = serde_json::from_str::<SessionInfo>(&info)?.loaded_hashes;
    let removed = hashes.keys().filter(|key| !map.contains_key(*key)).cloned().collect();
    map.retain(|key, text| hashes.get(key) != Some(&hash(text)));
    Ok(StateChange::Keys { set: parse(map)?, removed })
}

fn parse(map: HashMap<String, String>) -> Result<Map<String, Value>, serde_json::Error> {
    map.into_iter().map(|(key, text)| Ok((key, serde_json::from_str(&text)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn loaded(state: Value) -> HashMap<String, String> {
        let row = SessionRow {
            id: SessionId::generate(),
            remembered: false,
            created_at: OffsetDateTime::UNIX_EPOCH,
            authenticated_at: None,
            absolute_seconds: 60,
            ages: Ages::default(),
            user: None,
        };
        CachedSession::new(row, state).unwrap().to_map()
    }

    #[test]
    fn only_the_keys_that_a_request_changed_are_written() {
        let mut map = loaded(json!({ "a": 1, "b": { "c": [1.50, "é"] }, "d": null }));
        assert_eq!(
            difference(map.clone()).unwrap(),
            StateChange::Keys { set: Map::new(), removed: vec![] }
        );
        map.insert("a".to_owned(), "2".to_owned());
        map.insert("e".to_owned(), "\"new\"".to_owned());
        map.remove("d");
        let StateChange::Keys { set, removed } = difference(map).unwrap() else { panic!() };
        assert_eq!(Value::Object(set), json!({ "a": 2, "e": "new" }));
        assert_eq!(removed, ["d"]);
    }

    #[test]
    fn the_authentication_age_grows_while_the_session_is_cached() {
        let row = SessionRow {
            id: SessionId::generate(),
            remembered: false,
            // Wall-clock times do not matter.
            created_at: OffsetDateTime::UNIX_EPOCH,
            authenticated_at: Some(OffsetDateTime::UNIX_EPOCH),
            absolute_seconds: 60,
            ages: Ages {
                session: 1000.0,
                authentication: Some(100.0),
                loaded: MonotonicInstant::now().0 - 50_000,
            },
            user: None,
        };
        let map = CachedSession::new(row, json!({})).unwrap().to_map();
        let info: SessionInfo = serde_json::from_str(&map[SESSION_INFO]).unwrap();
        assert_eq!(info.authentication_age().unwrap().as_secs(), 150);
        assert_eq!(info.age().as_secs(), 1050);
    }

    #[test]
    fn the_whole_state_of_a_cleared_session_is_written() {
        let map = HashMap::from([("a".to_owned(), "1".to_owned())]);
        let StateChange::Everything(all) = difference(map).unwrap() else { panic!() };
        assert_eq!(Value::Object(all), json!({ "a": 1 }));
    }
}
