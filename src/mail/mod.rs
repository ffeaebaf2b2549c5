//! What we write to people. Owns the table `mail_outbox`. A message is put there in the transaction that gives rise to
//! it, sealed, and delivered by a loop: it is sent if and only if what it tells of happened.

pub mod delivery;
pub mod message;
pub mod mime;
pub mod outbox;
pub mod render;
#[cfg(test)]
mod samples;
pub mod smtp;
pub mod transport;

pub use delivery::{Counters, Delivery};
pub use message::{Message, Source};
pub use render::{MailRenderer, RenderedMail};
pub use transport::Transport;
