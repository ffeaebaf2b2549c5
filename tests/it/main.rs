//! Frontdesk as people, scripts and attackers meet it: real servers on free ports over a real PostgreSQL.
//! One database a test, made from a template. Nothing here waits for time to pass: rows are aged in SQL.

#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

#[expect(dead_code, reason = "the rest of it is for tests/quiet")]
mod support;

mod account_pages;
mod audit_log;
mod bad_input;
mod browser;
mod canary;
mod command_line;
mod concurrency;
mod costs;
mod crash_atomicity;
mod deletion;
mod deployment;
mod dev_mailbox;
mod email_change;
mod email_undo;
mod enumeration;
mod every_page;
mod foreign_logins;
mod headers;
mod import;
mod late_forms;
mod lockout;
mod log;
mod mail;
mod mail_failures;
mod migrations;
mod notification_queue;
mod private_cluster;
mod purge;
mod rate_limit;
mod reauthentication;
mod recovery;
mod registration_cookie;
mod revocation;
mod revocation_triggers;
mod session_ends;
mod session_engine;
mod session_rules;
mod session_store;
mod sign_in_pages;
mod sign_in_races;
mod standby;
mod verification;
