//! What users do with the site.

use frontdesk::testing::{PASSWORD, TestServer};

fn start() -> TestServer {
    TestServer::start(env!("CARGO_BIN_EXE___package__"))
}

#[test]
fn a_user_registers_and_is_welcome() {
    let server = start();
    let ada = server.browser();
    assert!(ada.get("/").text().contains("Create an account"));
    ada.get("/register");
    let fields = [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
    assert_eq!(ada.submit("/register", fields).status(), 303);
    assert!(ada.get("/").text().contains("Welcome back, <bdi>Ada</bdi>."));
}
