//! What we write to people. Owns the table `mail_outbox`. A message is put there in the transaction that gives rise to
//! it, sealed, and delivered by a loop: it is sent if and only if what it tells of happened.

pub mod message;
pub mod outbox;

pub use message::Message;
