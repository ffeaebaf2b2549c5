//! What we write to people. Owns the table `mail_outbox`. A message is put there in the transaction that gives rise to
//! it, sealed, and delivered by a loop: it is sent if and only if what it tells of happened.

pub mod compose;
pub mod deliver;
pub mod letter;
pub mod message;
pub mod outbox;
#[cfg(test)]
mod samples;
pub mod smtp;
pub mod transport;

pub use deliver::{Delivery, Tally};
pub use letter::{Letter, Writer};
pub use message::{Message, Source};
pub use transport::Transport;
