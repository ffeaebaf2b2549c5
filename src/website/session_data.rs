//! What a site remembers for a session.

use std::future::{Ready, ready};

use actix_session::Session;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::current_user::CurrentUser;
use super::error::Error;

/// The keys of the site. Frontdesk has others.
const PREFIX: &str = "website.";
/// In bytes: all keys and values of the site in one session.
const MAX_SIZE: usize = 4096;

/// Values that the site keeps with the session of the signed-in user, for example the steps of a form that are
/// already filled in. They end with the session. All of them together have at most 4 KiB.
///
/// A handler that takes it runs only for signed-in users, as with [`CurrentUser`].
///
/// ```
/// use frontdesk::{Error, Page, PageResult, SessionData};
/// use serde_json::json;
///
/// async fn count(page: Page, session: SessionData) -> PageResult {
///     let visits: u32 = session.get("visits")?.unwrap_or(0) + 1;
///     session.insert("visits", &visits)?;
///     page.render("count.html", &json!({ "visits": visits }))
/// }
/// ```
pub struct SessionData(Session);

impl SessionData {
    /// The value of `key`; `None` if there is none. An error if it is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        match self.0.entries().get(&full(key)) {
            Some(text) => Ok(Some(serde_json::from_str(text)?)),
            None => Ok(None),
        }
    }

    /// Sets the value of `key`. It is written after the handler has returned. An error if the values of the session
    /// would have more than 4 KiB.
    pub fn insert(&self, key: &str, value: &impl Serialize) -> Result<(), Error> {
        let (key, value) = (full(key), serde_json::to_value(value)?);
        let others: usize = {
            let entries = self.0.entries();
            let others =
                entries.iter().filter(|(name, _)| name.starts_with(PREFIX) && **name != key);
            others.map(|(name, text)| name.len() + text.len()).sum()
        };
        if others + key.len() + value.to_string().len() > MAX_SIZE {
            return Err(Error::internal(
                "the values of SessionData would have more than 4 KiB; keep them in a table of the site",
            ));
        }
        Ok(self.0.insert(key, value)?)
    }

    /// Removes the value of `key`, and returns whether there was one.
    pub fn remove(&self, key: &str) -> bool {
        self.0.remove(&full(key)).is_some()
    }
}

fn full(key: &str) -> String {
    format!("{PREFIX}{key}")
}

impl FromRequest for SessionData {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let user = CurrentUser::from_request(request, payload).into_inner();
        let session = request.extensions().get::<Session>().cloned();
        ready(user.and_then(|_| {
            let missing = || Error::internal("SessionData needs the session of the request");
            session.map(Self).ok_or_else(missing)
        }))
    }
}

impl std::fmt::Debug for SessionData {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SessionData").finish_non_exhaustive()
    }
}
