//! `/dev/mailbox` exists only on a development machine.

use crate::mail::{TOKEN, changed, mailing, reset};
use crate::support::smtp::{Smtp, Tls, until};
use crate::support::{Database, Server, site};

#[test]
fn the_dev_mailbox_shows_mail_with_clickable_links_without_a_mail_server() {
    let (server, database) = site();
    let mut browser = server.browser();
    assert!(browser.get("/dev/mailbox").body.contains("No emails yet"));
    database.db_enqueue("ada@example.com", &reset("<b>Ada</b> {{7*7}}"));
    database.db_enqueue("bob@example.com", &changed("Bob"));
    let list = browser.get("/dev/mailbox").body;
    assert!(
        list.contains("Reset your Frontdesk password")
            && list.contains("to <bdi>bob@example.com</bdi>"),
        "{list}"
    );
    until("mail is kept", || database.db_mails("kept") == 2);
    let id = database
        .db_texts("SELECT id::text FROM mail_outbox WHERE recipient = 'ada@example.com'")
        .remove(0);
    let shown = browser.get(&format!("/dev/mailbox/{id}"));
    assert_eq!(shown.status, 200);
    let link =
        format!("<a href=\"http:&#x2F;&#x2F;127.0.0.1:8080&#x2F;reset-password&#x2F;{TOKEN}\">");
    let plain = link.replace("&#x2F;", "/");
    assert!(shown.body.contains(&link) || shown.body.contains(&plain), "{}", shown.body);
    assert!(!shown.body.contains("<b>") && shown.body.contains("{{7*7}}"), "{}", shown.body);
    assert_eq!(browser.get(&format!("/dev/mailbox/{}", "0".repeat(32))).status, 404);
    assert_eq!(browser.get("/dev/mailbox/nonsense").status, 404);
    assert_eq!(browser.post("/dev/mailbox", &[]).status, 405);
    let sealed = "SELECT count(*) FROM mail_outbox WHERE sealed IS NOT NULL";
    assert_eq!(database.db_count(sealed), 2);
    assert!(!server.log().contains(TOKEN));
}

#[test]
fn the_dev_mailbox_does_not_exist_with_a_mail_server_or_a_public_url() {
    let database = Database::new();
    let smtp = Smtp::start(Tls::Upgraded);
    let nowhere = Server::start(&database, &[]).browser().get("/nowhere");
    for server in [
        mailing(&database, &smtp, &[]),
        Server::start(&database, &[("FRONTDESK_PUBLIC_URL", "https://desk.example.com")]),
    ] {
        for path in ["/dev/mailbox", "/dev/mailbox/01a20ac9-362c-7088-badc-46d695f6783a"] {
            let answer = server.browser().get(path);
            assert_eq!(answer.status, nowhere.status, "{path}");
            assert_eq!(server.browser().post(path, &[]).status, 404, "{path}");
        }
    }
}

#[test]
fn dns_rebinding_does_not_reach_the_dev_mailbox() {
    let (server, _database) = site();
    for (host, status) in
        [("evil.example", 404), ("127.0.0.1.evil.example:8080", 404), ("localhost:8080", 200)]
    {
        let head =
            format!("GET /dev/mailbox HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = crate::support::raw(&server.addr, head.as_bytes()).unwrap();
        assert_eq!(answer.status, status, "{host}");
    }
}
