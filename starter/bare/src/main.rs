//! A site with accounts on Frontdesk.

use std::process::ExitCode;

use frontdesk::{Routes, Website};

const NAME: &str = "__site_name__";

fn routes(routes: &mut Routes) {
    routes.template("/", "start.html");
}

fn main() -> ExitCode {
    Website::new(frontdesk::embed!()).name(NAME).routes(routes).main()
}
