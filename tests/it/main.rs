//! Integration tests: real servers on free ports with a real PostgreSQL. Each test has its own database,
//! copied from a template. No test sleeps until something expires: timestamps are changed in SQL.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[expect(dead_code, reason = "some helpers are used only by tests/quiet")]
mod support;

/// The name by which `src/mail/samples.rs` imports it.
mod role {
    pub use frontdesk::role::Role;
}

mod account_lists;
mod account_pages;
mod audit_log;
mod bad_input;
mod barrier;
mod browser;
mod canary;
mod clock;
mod clubhouse;
mod command_line;
mod concurrency;
mod connections;
mod costs;
mod crash_atomicity;
mod crawl;
mod database_changes;
mod database_settings;
mod database_unavailable;
mod deletion;
mod deployment;
mod dev_mailbox;
mod email_change;
mod email_undo;
mod enumeration;
mod erasure;
mod event_deliveries;
mod every_page;
mod export;
#[path = "../golden/fields.rs"]
mod fields;
mod foreign_logins;
mod form_tokens;
#[path = "../golden/mod.rs"]
mod golden;
mod groups;
mod headers;
mod hooks;
mod import;
mod intruder;
mod invitations;
mod late_forms;
mod lifetimes;
mod listening;
mod live;
mod lockout;
mod locks;
mod log;
mod log_lines;
mod mail;
mod mail_failures;
mod mail_limits;
mod mail_refusals;
mod mail_servers;
mod mail_starttls;
mod mailed_links;
mod many_sessions;
mod messages;
mod migrate_move;
mod migrations;
mod new_passwords;
mod new_site;
mod notification_queue;
mod notifications;
mod operator_commands;
mod own_look;
mod private_cluster;
mod promised_output;
mod promised_schema;
mod purge;
mod query_plans;
mod queues;
mod random_walk;
mod rate_limit;
mod reauthentication;
mod recovery;
mod refusals;
mod refused_deletion;
mod registration_cookie;
mod requirements;
mod restore;
mod revocation;
mod revocation_triggers;
mod second_arrival;
mod servers;
mod session_ends;
mod session_engine;
mod session_rules;
mod session_store;
mod sign_in_notices;
mod sign_in_pages;
mod sign_in_races;
mod signing_out;
mod site_policy;
mod site_schemas;
mod sizes;
mod stalled_commits;
mod standby;
mod stopping;
mod template_commands;
mod template_folder;
mod templates;
mod transport;
mod typed_values;
mod upgrade;
mod verification;
mod website;
mod website_groups;
mod website_mail;
mod website_names;
mod website_patterns;
mod website_requests;
mod well_known;
