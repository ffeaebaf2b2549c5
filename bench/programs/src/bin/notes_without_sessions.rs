//! The start page of `examples/notes`, whose folder is in SITE, in the real program of a site, but outside of the session
//! middleware: what a request without a session pays for sessions. With the memory allocator of the site.

use std::process::ExitCode;

use frontdesk::{Routes, Website};

fn routes(routes: &mut Routes) {
    routes.without_session(|routes| {
        routes.template("/", "start.html");
    });
}

fn main() -> anyhow::Result<ExitCode> {
    let (_, site) = frontdesk_bench::notes()?;
    Ok(Website::new(site.embedded)
        .name("Notes")
        .routes(routes)
        .navigation("Notes", "/notes")
        .main())
}
