//! Why a mail could not be sent, and in which stage.

use std::fmt;

use super::severity::Severity;

/// The stage of the SMTP dialogue in which an error happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// DNS, connecting, greeting.
    Connection,
    /// TLS, certificate included.
    Encryption,
    /// AUTH.
    SignIn,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA.
    Content,
}

/// Why a mail could not be sent.
#[derive(Debug)]
pub struct SendError {
    /// Whether a retry can succeed.
    pub severity: Severity,
    /// Where it failed.
    pub stage: Stage,
    /// The server's reply code.
    pub code: Option<u16>,
    /// The server's reply, or a local error. May contain the recipient, so it must not be logged.
    pub message: String,
}

impl fmt::Display for SendError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Connection => "connecting",
            Stage::Encryption => "TLS",
            Stage::SignIn => "signing in",
            Stage::Sender => "sender",
            Stage::Recipient => "recipient",
            Stage::Content => "content",
        };
        write!(out, "{stage}: {}", self.message)
    }
}
