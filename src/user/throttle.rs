//! How often something may be tried: by account, by address, and by the pair of them. Owns the table `throttles`.

use std::net::IpAddr;
use std::time::Duration;

use sqlx::PgPool;

use crate::id::UserId;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A password at the sign-in page.
    SignIn,
    /// A new account.
    Register,
    /// A link for a forgotten password, or another mail that somebody asks for.
    Recover,
    /// A link or a code from a mail.
    Verify,
    /// "Say who you are again", by somebody who is signed in.
    Confirm,
}

/// Who tries it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who<'a> {
    /// Canonical address of the account, whether there is one or not; `None` where it is not about an account.
    pub account: Option<&'a str>,
    /// Where the request comes from.
    pub ip_address: Option<IpAddr>,
    /// The account that this browser has signed in to before.
    pub known_device_of: Option<UserId>,
}

/// Whether it may be done now. Counted before the work, so that many at once are not more than allowed.
#[derive(Debug)]
pub enum Admission {
    /// Go ahead.
    Granted(Granted),
    /// Not yet.
    Refused {
        /// When to come back.
        retry_after: Duration,
    },
}

/// A try that was counted; give it back by [`refund`] when it was a success.
#[derive(Debug)]
pub struct Granted {
    _private: (),
}

/// Counts a try, if it may be done.
pub async fn admit(_pool: &PgPool, _action: Action, _who: Who<'_>) -> sqlx::Result<Admission> {
    Ok(Admission::Granted(Granted { _private: () }))
}

/// It was a success: it does not count against anybody.
pub async fn refund(_pool: &PgPool, _granted: Granted) -> sqlx::Result<()> {
    Ok(())
}
