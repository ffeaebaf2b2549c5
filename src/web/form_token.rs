//! The hidden field of every form (`templates/components/form.html`, `form.hidden`). It is sealed, and the
//! server stores nothing when a page with a form is shown. It contains:
//!
//! * a one-time secret, which identifies the form: the second arrival of the same form gets the answer of the
//!   first (`auth/second_arrival.rs`);
//! * the account of the page: a form of one account is refused while another one is signed in;
//! * the client that the form was rendered for.
//!
//! A form without the field, or with one that cannot be opened, is processed without these checks: it was
//! sent by a script, rendered by an older version, or its key was removed.

use actix_web::{HttpMessage as _, HttpRequest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::crypto::seal::Sealer;
use crate::crypto::secret::Secret;

/// The name of the field. No other field may have this name.
pub const FIELD: &str = "form_token";
/// Signing out works for every account, and a second sign-out changes nothing: no check applies to it.
pub const SIGN_OUT: &str = "/logout";
/// The purpose that the sealed value is bound to.
const PURPOSE: &str = "form";

/// The client that a form is rendered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// A page that is public and needs no cookie.
    Any,
    /// A browser without a session, by the value of its cookie (`web/cookie_check.rs`).
    Browser(Uuid),
    /// A session.
    Session {
        /// The signed-in account.
        account: Uuid,
        /// The public id of the session.
        session: Uuid,
    },
}

/// The opened field of a submitted form.
#[derive(Debug)]
pub struct FormToken {
    /// Identifies the form. Only the browser that received the form knows it.
    pub secret: Secret,
    /// The client that the form was rendered for.
    pub client: Client,
}

impl FormToken {
    /// A token for a new form of `client`.
    pub fn new(client: Client) -> Self {
        Self { secret: Secret::generate(), client }
    }

    /// The value of the field.
    pub fn seal(&self, sealer: &Sealer) -> String {
        let (kind, first, second) = match self.client {
            Client::Any => (0, Uuid::nil(), Uuid::nil()),
            Client::Browser(id) => (1, id, Uuid::nil()),
            Client::Session { account, session } => (2, account, session),
        };
        let secret = self.secret.reveal();
        let plain = [&[kind][..], first.as_bytes(), second.as_bytes(), secret.as_bytes()].concat();
        URL_SAFE_NO_PAD.encode(sealer.seal(PURPOSE, &plain))
    }

    /// Opens the value of the field. `None` if no key of the site sealed it.
    pub fn open(sealer: &Sealer, text: &str) -> Option<Self> {
        let plain = sealer.open(PURPOSE, &URL_SAFE_NO_PAD.decode(text).ok()?)?;
        let (kind, rest) = plain.split_first()?;
        let (first, rest) = rest.split_first_chunk()?;
        let (second, secret) = rest.split_first_chunk()?;
        let (first, second) = (Uuid::from_bytes(*first), Uuid::from_bytes(*second));
        let client = match kind {
            0 => Client::Any,
            1 => Client::Browser(first),
            2 => Client::Session { account: first, session: second },
            _ => return None,
        };
        Some(Self { secret: Secret::parse(std::str::from_utf8(secret).ok()?)?, client })
    }
}

/// Set on a request whose form had a valid token.
struct HasToken;

/// Records that the form of `request` had a valid token.
pub(super) fn mark_received(request: &HttpRequest) {
    request.extensions_mut().insert(HasToken);
}

/// Whether the forms of the page in response to `request` get a token: not if it answers a form that had
/// none. Responses to scripts are then comparable byte for byte, and scripts get no cookie.
pub(super) fn is_wanted(request: &HttpRequest) -> bool {
    request.method().is_safe() || request.extensions().get::<HasToken>().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretKeys;

    const OLD: &str = "tK8vQ2mZx7Lr4Wc9Ns1Bp6Hd3Yg5Jf0aEuViOoTbXkRlPzM";
    const NEW: &str = "Zp4Jq8Wm1Xc6Vb3Nn7Kt2Lr9Hs5Gf0DyAeUiOoPlQaSwEdRf";

    fn sealer(keys: &str) -> Sealer {
        Sealer::new(SecretKeys::parse(keys).unwrap().as_slice())
    }

    #[test]
    fn a_token_opens_with_every_key_of_the_site_and_with_no_other() {
        let (account, session) = (Uuid::now_v7(), Uuid::now_v7());
        for client in [Client::Any, Client::Browser(session), Client::Session { account, session }]
        {
            let token = FormToken::new(client);
            let text = token.seal(&sealer(OLD));
            for keys in [OLD.to_owned(), format!("{NEW},{OLD}")] {
                let opened = FormToken::open(&sealer(&keys), &text).unwrap();
                assert_eq!(opened.client, client);
                assert_eq!(opened.secret.digest(), token.secret.digest());
            }
            assert!(FormToken::open(&sealer(NEW), &text).is_none());
            assert!(FormToken::open(&sealer(OLD), &text[..text.len() - 2]).is_none());
            assert_ne!(text, token.seal(&sealer(OLD)));
        }
        let other = URL_SAFE_NO_PAD.encode(sealer(OLD).seal("notice", &[0; 76]));
        for text in ["", "not base64!", &other] {
            assert!(FormToken::open(&sealer(OLD), text).is_none());
        }
    }
}
