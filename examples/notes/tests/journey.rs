//! What users do with the site, from the first page to the deletion of a note.

use frontdesk::testing::{PASSWORD, TestServer};

fn start() -> TestServer {
    TestServer::start(env!("CARGO_BIN_EXE_notes"))
}

#[test]
fn a_user_registers_writes_notes_exports_and_deletes_them() {
    let server = start();
    let ada = server.browser();
    assert!(ada.get("/").text().contains("Create an account"));
    ada.get("/register");
    let fields = [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
    assert_eq!(ada.submit("/register", fields).status(), 303);

    let notes = ada.get("/notes");
    assert!(notes.text().contains("Welcome!"), "{}", notes.text());
    let notes = ada.follow(ada.submit("/notes", [("body", "Buy <milk>")]));
    assert!(notes.text().contains("Note added."));
    assert!(notes.text().contains("<bdi>Buy &lt;milk&gt;</bdi>"));
    let refused = ada.submit("/notes", [("body", " ")]);
    assert_eq!(refused.status(), 422);
    assert!(refused.text().contains("Write 1 to 2,000 characters."));

    ada.get("/account/export");
    let export = ada.submit("/account/export", []);
    assert!(export.text().contains("Buy <milk>"), "{}", export.text());

    assert_eq!(ada.post("/notes/2/delete", []).status(), 303);
    assert!(!ada.get("/notes").text().contains("milk"));
}

#[test]
fn a_note_is_visible_to_its_owner_only() {
    let server = start();
    let (ada, bob) =
        (server.browser().sign_in("ada@example.com"), server.browser().sign_in("bob@example.com"));
    assert_eq!(ada.post("/notes", [("body", "Milk")]).status(), 303);
    assert!(ada.get("/notes").text().contains("Milk"));
    assert!(!bob.get("/notes").text().contains("Milk"));
    assert_eq!(bob.post("/notes/1/delete", []).status(), 404);
    assert!(ada.get("/notes").text().contains("Milk"));
}

#[test]
fn notes_need_a_signed_in_user() {
    let server = start();
    let answer = server.browser().get("/notes");
    assert_eq!(answer.status(), 303);
    assert!(answer.location().starts_with("/login"), "{}", answer.location());
}
