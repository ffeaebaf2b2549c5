//! The notice after an action ("Signed out of Firefox on Linux."). It is stored in a sealed cookie with a
//! lifetime of one minute, so that the server stores nothing and no one else can inject text into a page.

use actix_web::cookie::{Cookie, CookieJar, Key, time::Duration};
use serde::{Deserialize, Serialize};

use super::cookie_guard::own_cookie;

use crate::language::Text;

/// The kind of a notice, which decides its color and icon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Success.
    Good,
    /// Information.
    Info,
    /// Failure.
    Danger,
}

/// A notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its kind.
    pub kind: Kind,
    /// One sentence in the past tense that names the object of the action; up to `subject` if that is set.
    pub text: String,
    /// A name or an email that a user chose, or empty. The page isolates it (`<bdi>`), because it may be
    /// written from right to left.
    #[serde(default)]
    pub subject: String,
    /// The sentence after `subject`.
    #[serde(default)]
    pub rest: String,
}

impl Notice {
    /// A notice of success.
    pub fn good(text: impl Into<Text>) -> Self {
        Self::new(Kind::Good, &text.into())
    }

    /// A notice of success whose variable `name` is `subject`, a name or an email that a user chose.
    pub fn good_about(text: Text, name: &'static str, subject: &str) -> Self {
        match text.around(name, subject) {
            Some((before, rest)) => {
                Self { subject: subject.to_owned(), rest, ..Self::good(before) }
            }
            None => Self::good(text),
        }
    }

    /// The notice after `email` was verified. `is_new`: it replaced the email of the account.
    pub fn email_confirmed(email: &str, is_new: bool) -> Self {
        let text = if is_new {
            Text::key("email-changed-notice")
        } else {
            Text::key("email-confirmed-notice")
        };
        Self::good_about(text, "email", email)
    }

    /// The same notice with another sentence at its end.
    pub fn followed_by(mut self, sentence: &Text) -> Self {
        let end = if self.subject.is_empty() { &mut self.text } else { &mut self.rest };
        end.push(' ');
        end.push_str(&sentence.to_string());
        self
    }

    /// A notice of information.
    pub fn info(text: impl Into<Text>) -> Self {
        Self::new(Kind::Info, &text.into())
    }

    /// A notice of a failure.
    pub fn danger(text: impl Into<Text>) -> Self {
        Self::new(Kind::Danger, &text.into())
    }

    fn new(kind: Kind, text: &Text) -> Self {
        Self { kind, text: text.to_string(), subject: String::new(), rest: String::new() }
    }
}

/// Name and key of the cookie.
#[derive(Clone)]
pub struct Flash {
    name: String,
    secure: bool,
    key: Key,
}

impl Flash {
    /// `secure`: the site is served over https, so the name gets the prefix `__Host-`.
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

    /// The notice in the value of the cookie; `None` if this site did not seal it.
    pub fn open(&self, sealed: &str) -> Option<Notice> {
        let mut jar = CookieJar::new();
        jar.add_original(Cookie::new(self.name.clone(), sealed.to_owned()));
        let opened = jar.private(&self.key).get(&self.name)?;
        serde_json::from_str(opened.value()).ok()
    }

    /// A cookie that removes the notice from the browser.
    pub fn removal(&self) -> Cookie<'static> {
        let mut cookie = self.cookie(String::new());
        cookie.make_removal();
        cookie
    }

    fn cookie(&self, value: String) -> Cookie<'static> {
        own_cookie(self.name.clone(), value, self.secure)
    }
}
