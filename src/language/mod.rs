//! The sentences of pages and mails, by key (`locales/en/*.ftl`, in the syntax of Fluent). A site and an operator replace
//! single messages. Templates use the functions `t` and `t_html`, Rust uses [`Text`].
//!
//! There is one language, English. The functions that render a page or a mail [`enter`] its catalog; another language
//! is then another catalog.

mod catalog;
mod checks;
mod content;
mod current;
mod elements;
mod layers;
mod text;

pub use catalog::{Argument, Catalog, ENGLISH, MessageError};
pub use checks::problems;
pub(crate) use current::with_current;
pub use current::{InLanguage, enter, set_default};
pub(crate) use elements::escape;
pub use text::{Text, TextValue};

#[cfg(test)]
mod tests;
