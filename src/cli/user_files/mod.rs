//! User files, as CSV or JSON Lines: `frontdesk user import` reads them and `frontdesk user export` writes
//! them. A rejected line is reported by its number and a reason, so that no email, name or hash is printed.

mod check;
mod columns;
mod csv;
mod export;
mod import;
mod import_row;
mod jsonl;
mod lines;

pub(super) use export::run as export;
pub(super) use import::run as import;
