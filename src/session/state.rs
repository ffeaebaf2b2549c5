//! What actix-session's map of JSON texts means to the store: the keys that are columns on the row.
//! The only file that spells a key.

use std::collections::HashMap;

use actix_session::Session;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::audit::Origin;
use crate::id::{SessionId, UserId};

/// Where actix-identity keeps the id of who is signed in (its default).
const IDENTITY: &str = "actix_identity.user_id";
/// Out of the store: what the row says of a loaded session.
const CURRENT: &str = "frontdesk.current";
/// Into the store: what the row shall say of a session that begins.
const BIRTH: &str = "frontdesk.birth";

/// How state is written in `sessions.state`; see `sessions.format_version`.
pub(super) const FORMAT_VERSION: i16 = 1;

/// A loaded session as requests see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Current {
    /// Its public id.
    pub id: SessionId,
    /// The cookie outlives the browser.
    pub remembered: bool,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When this person last proved who they are.
    #[serde(with = "time::serde::rfc3339::option")]
    pub authenticated_at: Option<OffsetDateTime>,
    /// Seconds until the absolute timeout, as the database counted when the session was loaded.
    pub absolute_seconds: i64,
    /// Who is signed in.
    pub user: Option<Person>,
}

/// Who is signed in, as loaded with the session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Person {
    /// `users.id`.
    pub id: UserId,
    /// The address as typed.
    pub email: String,
    /// What pages call this person.
    pub display_name: String,
    /// `user` or `admin`.
    pub role: String,
}

/// What a sign-in wants of the session that it begins.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Birth {
    /// The person asked to stay signed in.
    pub remembered: bool,
    /// How they proved who they are (RFC 8176: `pwd`).
    pub auth_methods: Vec<String>,
    /// Where the sign-in came from.
    pub origin: Origin,
    /// `users.password_changed_at` as it was when the password was verified: a sign-in that was
    /// overtaken by a change of password begins nothing.
    #[serde(with = "time::serde::rfc3339::option")]
    pub credential_of: Option<OffsetDateTime>,
}

/// What the store was given to save.
pub(super) struct Incoming {
    pub(super) user: Option<UserId>,
    pub(super) birth: Birth,
    pub(super) rest: Value,
}

impl Current {
    /// What the store knows of the session of this request; `None` for a stranger.
    pub fn of(session: &Session) -> Option<Current> {
        session.get(CURRENT).ok().flatten()
    }

    /// The map for actix-session.
    pub(super) fn into_map(
        self,
        rest: Value,
    ) -> Result<HashMap<String, String>, serde_json::Error> {
        let mut map = match rest {
            Value::Object(rest) => {
                rest.into_iter().map(|(key, value)| (key, value.to_string())).collect()
            }
            _ => HashMap::new(),
        };
        if let Some(user) = &self.user {
            map.insert(IDENTITY.to_owned(), serde_json::to_string(&user.id)?);
        }
        map.insert(CURRENT.to_owned(), serde_json::to_string(&self)?);
        Ok(map)
    }
}

impl Birth {
    /// Empties the session and leaves word for the store: nothing from before a sign-in survives it.
    pub fn announce(&self, session: &Session) -> Result<(), actix_session::SessionInsertError> {
        session.clear();
        session.insert(BIRTH, self)
    }
}

/// Takes apart what actix-session hands over: columns here, the rest for `sessions.state`.
pub(super) fn take_apart(mut map: HashMap<String, String>) -> Result<Incoming, serde_json::Error> {
    map.remove(CURRENT);
    let user = map.remove(IDENTITY).map(|text| serde_json::from_str(&text)).transpose()?;
    let birth = map.remove(BIRTH).map(|text| serde_json::from_str(&text)).transpose()?;
    let rest: Map<String, Value> = map
        .into_iter()
        .map(|(key, text)| Ok((key, serde_json::from_str(&text)?)))
        .collect::<Result<_, serde_json::Error>>()?;
    Ok(Incoming { user, birth: birth.unwrap_or_default(), rest: Value::Object(rest) })
}
