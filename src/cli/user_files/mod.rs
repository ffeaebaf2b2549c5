//! Files of people: what `frontdesk user import` reads and `frontdesk user export` writes, as CSV or as one JSON object
//! a line. What is wrong with a line is told by its number and a reason: no address, name or hash is ever echoed.

mod columns;
mod csv;
mod export;
mod import;
mod import_row;
mod jsonl;
mod lines;

pub(super) use export::run as export;
pub(super) use import::run as import;
