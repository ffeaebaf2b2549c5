//! The sentence after an action ("Signed out of Firefox on Linux."): it travels in a sealed cookie of a
//! minute, so that nothing is stored and nobody else can put words on our pages.

use actix_web::cookie::{Cookie, CookieJar, Key, time::Duration};
use serde::{Deserialize, Serialize};

use super::cookie_guard::own_cookie;

/// What kind of word it is; the page colors it by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It worked.
    Good,
    /// Worth knowing.
    Info,
    /// It did not work.
    Danger,
}

/// A sentence, and its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Decides the color and the icon.
    pub kind: Kind,
    /// The sentence, past tense, specific.
    pub text: String,
}

impl Notice {
    /// It worked.
    pub fn good(text: impl Into<String>) -> Self {
        Self { kind: Kind::Good, text: text.into() }
    }
}

/// Name and seal of the cookie.
#[derive(Clone)]
pub struct Flash {
    name: String,
    secure: bool,
    key: Key,
}

impl Flash {
    /// `__Host-` only where the browser accepts it.
    pub fn new(secure: bool, key: Key) -> Self {
        let name = if secure { "__Host-notice" } else { "notice" };
        Self { name: name.to_owned(), secure, key }
    }

    /// The cookie's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cookie that shows `notice` on the next page.
    pub fn seal(&self, notice: &Notice) -> Cookie<'static> {
        let text = serde_json::to_string(notice).unwrap_or_default();
        let mut jar = CookieJar::new();
        jar.private_mut(&self.key).add(self.cookie(text));
        let mut sealed = jar.get(&self.name).cloned().unwrap_or_else(|| self.cookie(String::new()));
        sealed.set_max_age(Duration::minutes(1));
        sealed
    }

    /// What the cookie says; `None` for what we did not write.
    pub fn open(&self, cookie: &Cookie<'static>) -> Option<Notice> {
        let mut jar = CookieJar::new();
        jar.add_original(cookie.clone());
        let opened = jar.private(&self.key).get(&self.name)?;
        serde_json::from_str(opened.value()).ok()
    }

    /// The cookie that takes it away again.
    pub fn removal(&self) -> Cookie<'static> {
        let mut cookie = self.cookie(String::new());
        cookie.make_removal();
        cookie
    }

    fn cookie(&self, value: String) -> Cookie<'static> {
        own_cookie(self.name.clone(), value, self.secure)
    }
}
