//! Mail to users. Owns the tables `mail_outbox`, `mail_limits` and `suppressed_recipients`. A message is
//! inserted into the outbox, sealed, in the transaction that it reports on, and a background job delivers it:
//! it is sent if and only if that transaction commits.

pub mod address;
mod attempt;
#[cfg(feature = "smtp")]
mod bounded_stream;
pub mod delivery;
pub mod message;
pub mod mime;
pub mod outbox;
pub mod render;
mod rules;
#[cfg(test)]
mod samples;
pub mod send_error;
pub mod severity;
mod site_mail;
#[cfg(feature = "smtp")]
pub mod smtp;
#[cfg(not(feature = "smtp"))]
#[path = "no_smtp.rs"]
pub mod smtp;
pub mod suppression;
pub mod transport;

pub use delivery::{Counters, Delivery};
pub use message::{Message, Source};
pub use mime::Sender;
pub use render::{MailRenderer, RenderedMail};
pub use site_mail::SiteMail;
pub use transport::Transport;
