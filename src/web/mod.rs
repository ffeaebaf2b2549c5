//! HTTP code that all pages share. Independent of pages, tables and users.

pub mod assets;
pub mod caller;
pub mod client;
pub mod connection;
pub mod content_coding;
pub mod cookie_check;
pub mod cookie_guard;
mod cookie_header;
pub mod cross_site;
pub mod error;
pub mod flash;
pub mod form;
pub mod form_token;
pub mod headers;
mod html_check;
pub mod limits;
pub mod number;
pub mod outer;
pub mod page;
pub mod page_templates;
pub mod relative_time;
pub mod request_data;
pub mod resumed_form;
pub mod return_to;
pub mod site_cookies;
pub mod site_policy;
pub mod template_check;
