//! In place of the SMTP client, in a program without the feature `smtp`: the settings of a mail server are refused, so
//! there is none.

use super::mime::ComposedMail;
use super::send_error::SendError;
use crate::config::MissingFeature;

/// A mail server, which cannot exist.
pub enum Smtp {}

impl Smtp {
    /// Always an error.
    pub fn new(_: &str, _: Option<&[u8]>, _: &str) -> anyhow::Result<Self> {
        Err(MissingFeature { needed_by: "FRONTDESK_SMTP_URL", feature: "smtp" }.into())
    }

    /// Never called.
    pub fn description(&self) -> String {
        match *self {}
    }

    /// Never called.
    pub async fn send(&self, _: &ComposedMail) -> Result<(), SendError> {
        match *self {}
    }

    /// Never called.
    pub async fn probe(&self) -> Result<(), SendError> {
        match *self {}
    }
}
